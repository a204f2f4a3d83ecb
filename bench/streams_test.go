package bench

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	caddyserver "github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// hold is a handler that answers with headers, and then blocks: the least that
// an open stream can cost.
type hold struct{}

func init() {
	caddyserver.RegisterModule(hold{})
	httpcaddyfile.RegisterHandlerDirective("bench_hold", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return hold{}, nil })
	httpcaddyfile.RegisterDirectiveOrder("bench_hold", httpcaddyfile.Before, "respond")
}

// CaddyModule names it.
func (hold) CaddyModule() caddyserver.ModuleInfo {
	return caddyserver.ModuleInfo{ID: "http.handlers.bench_hold", New: func() caddyserver.Module { return hold{} }}
}

// UnmarshalCaddyfile takes no options.
func (hold) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (hold) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Content-Type", "text/event-stream")
	if err := http.NewResponseController(w).Flush(); err != nil {
		return err
	}
	<-r.Context().Done()
	return nil
}

func TestStreams(t *testing.T) {
	around := startPeers(t)
	count := *benchStreams
	s := openShop(t, population{bills: count + 100, open: count}, around, hour)
	bills := s.list(bill.Wait, count)
	bare := launchCaddy(t, t.TempDir(), []string{playing + "=" + playCaddy}, players, "{\n"+plainOptions+"}\nhttp://{{site}} {\n\tbench_hold\n}\n", nil)

	memory := func(c *caddy, path func(row) string) (perStream float64, streams []*stream) {
		openStream(t, c, path(bills[0])).close() // what the first one costs alone
		before := c.collected()
		for _, b := range bills {
			streams = append(streams, openStream(t, c, path(b)))
		}
		return float64(c.collected()-before) / float64(count), streams
	}
	bareEach, held := memory(bare, func(row) string { return "/" })
	for _, h := range held {
		h.close()
	}
	ourEach, streams := memory(s.caddy, func(b row) string { return "/qlink/bills/" + b.ID + "/events" })
	book.enter(t, claim{What: thousands(count) + " open event streams: memory of each", Against: "a bare Caddy handler that blocks", AtMost: true, Goal: 15, margin: 60, Unit: " KB more", Why: "What is left is the request with what Caddy knows of it, the bill as its watchers know it, the ticker that keeps the connection alive, and, with few streams, what the store holds of their bills."},
		[]float64{(ourEach - bareEach) / 1e3}, "%.1f KB; the bare handler %.1f KB", ourEach/1e3, bareEach/1e3)

	late := tell(t, s, bills, streams)
	slices.Sort(late)
	book.enter(t, claim{What: "a change reaches its watcher, p99", Against: fmt.Sprintf("%d open streams, %s changes a second", count, thousands(*benchChanges)), AtMost: true, Goal: 50, margin: 2000, Unit: " ms", Why: "A thousand webhooks a second are half of what the measured core carries; compactions, and the collector among so many streams, take the other half for moments, and whoever reads ten thousand streams has but one core. " + noisy},
		[]float64{float64(late[len(late)*99/100].Microseconds()) / 1e3}, "from sending the webhook to reading the event; p50 %s, most %s; %d changes", rounded(late[len(late)/2].Seconds()), rounded(late[len(late)-1].Seconds()), len(late))
}

// tell sends a webhook for each bill, so many a second, and returns how long
// each took to reach the bill's stream.
func tell(t *testing.T, s *shop, bills []row, streams []*stream) []time.Duration {
	t.Helper()
	var sent, came = make([]time.Time, len(bills)), make([]time.Time, len(bills))
	var reading sync.WaitGroup
	for i, st := range streams {
		reading.Go(func() {
			if err := st.await(`"status":"SUCCESS"`); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
			came[i] = time.Now()
		})
	}
	tick := time.NewTicker(time.Second / time.Duration(*benchChanges))
	defer tick.Stop()
	sendEach(t, s.site, 32, s.notifications(bills), func(i int) {
		<-tick.C
		sent[i] = time.Now()
	})
	reading.Wait()
	if t.Failed() {
		t.FailNow()
	}
	took := make([]time.Duration, len(bills))
	for i := range took {
		took[i] = came[i].Sub(sent[i])
	}
	return took
}

// stream is an open answer of events.
type stream struct {
	conn net.Conn
	in   *bufio.Reader
}

// openStream returns once the first of the answer has come.
func openStream(t *testing.T, c *caddy, path string) *stream {
	t.Helper()
	conn, err := net.Dial("tcp", c.site)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{conn, bufio.NewReaderSize(conn, 512)}
	t.Cleanup(s.close)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", path, c.site); err != nil {
		t.Fatal(err)
	}
	line, err := s.in.ReadString('\n')
	if err != nil || !strings.Contains(line, " 200 ") {
		t.Fatalf("%q, %v", line, err)
	}
	return s
}

func (s *stream) close() { _ = s.conn.Close() }

// await reads until a line that contains the text.
func (s *stream) await(text string) error {
	if err := s.conn.SetReadDeadline(time.Now().Add(startWithin)); err != nil {
		return err
	}
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.Contains(line, text) {
			return nil
		}
	}
}
