package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// beforeAHeartbeat is less than the time after which a sign of life could push
// on what something has held back.
const beforeAHeartbeat = 10 * time.Second

// listener reads a bill's events as a browser's EventSource does.
type listener struct {
	*http.Response

	lines *bufio.Reader
	last  string // id of the last event
}

// listen connects to the events of a bill, after the one it knows.
func (w *world) listen(id, last string, header ...string) (*listener, error) {
	req := w.request("GET", "/qlink/bills/"+id+"/events", "", header...)
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := w.client.Do(req) //nolint:bodyclose // whoever listens closes it
	if err != nil {
		return nil, err
	}
	return &listener{Response: resp, lines: bufio.NewReader(resp.Body), last: last}, nil
}

// next returns the data of the next event; io.EOF at the stream's end.
func (l *listener) next() (data string, err error) {
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case line == "\n" && data != "":
			return data, nil
		case name == "id":
			l.last = value
		case name == "data":
			data = value
		}
	}
}

// mustListen is listen where nothing may fail.
func (w *world) mustListen(id string, header ...string) *listener {
	w.t.Helper()
	l, err := w.listen(id, "", header...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Body.Close() })
	if l.StatusCode != http.StatusOK {
		w.t.Fatalf("events: %s", l.Status)
	}
	return l
}

// hear returns the next bill of a stream that stays open, and fails the test
// where it comes too late to have come at once.
func (w *world) hear(l *listener) billJSON {
	w.t.Helper()
	late := time.AfterFunc(beforeAHeartbeat, func() { _ = l.Body.Close() })
	defer late.Stop()
	data, err := l.next()
	if err != nil {
		w.t.Fatalf("no event came at once: %v", err)
	}
	return decode[billJSON](w.t, []byte(data))
}

// story 40
func TestAStreamBehindEncodeTellsEachChangeTheMomentItHappens(t *testing.T) {
	for name, encode := range map[string]string{
		"as most write it": "encode gzip zstd",
		"for all that is":  "encode gzip {\n\t\tminimum_length 1\n\t\tmatch {\n\t\t\tstatus 2xx\n\t\t}\n\t}",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "\t"+encode+"\n"+plainSite)
			w.control("POST", "/faults", `{"operation":"apply","fault":"status","status":503,"body":"down"}`)
			b := w.checkout(order("O-1", "15000"), 202)
			if a := w.must("GET", "/qlink/bills/"+b.ID, "", "Accept-Encoding", "gzip"); a.Header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("nothing is encoded here: %v", a.Header)
			}
			l := w.mustListen(b.ID, "Accept-Encoding", "gzip, zstd")
			if coding := l.Header.Get("Content-Encoding"); coding != "" {
				t.Errorf("the stream is encoded: %s", coding)
			}
			if got := w.hear(l); got != b {
				t.Errorf("now: %+v, want %+v", got, b)
			}
			waits := w.awaitStatus(b.ID, "WAIT")
			if got := w.hear(l); got != waits {
				t.Errorf("then: %+v, want %+v", got, waits)
			}
			w.control("POST", "/payments/"+b.ID+"/pay", "")
			if got := w.hear(l); got.Status != "SUCCESS" {
				t.Errorf("paid: %+v", got)
			}
			if _, err := l.next(); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
			w.awaitNoStream()
		})
	}
}

// awaitNoStream waits until no goroutine serves or feeds a stream.
func (w *world) awaitNoStream() {
	w.t.Helper()
	for _, function := range []string{"handlers.(*Handler).events(", "payment.(*follower).run("} {
		w.await("the end of "+function, func() bool { return w.running(function) == 0 })
	}
}

// watch follows a bill as a browser does, which comes back whenever its stream
// ends, until it is told not to.
func (w *world) watch(id string) (seen []billJSON, err error) {
	last := ""
	for begun := time.Now(); time.Since(begun) < startWithin; {
		l, err := w.listen(id, last)
		if err != nil {
			continue // see insist
		}
		if l.StatusCode == http.StatusNoContent {
			_ = l.Body.Close()
			return seen, nil
		}
		for {
			data, err := l.next()
			if err != nil {
				break
			}
			b := decode[billJSON](w.t, []byte(data))
			if n := len(seen); n > 0 && b.Version <= seen[n-1].Version {
				return seen, fmt.Errorf("version %d came after %d", b.Version, seen[n-1].Version)
			}
			seen = append(seen, b)
		}
		last = l.last
		_ = l.Body.Close()
	}
	return seen, errors.New("the bill did not end")
}

// story 18, story 19, story 41: payments come while one configuration gives way
// to another, again and again, and every browser sees each version once.
func TestAStreamGoesOnOverReloadsAndNoVersionIsLostOrDoubled(t *testing.T) {
	const browsers, reloads = 12, 3
	w := newWorld(t, plainSite)
	var all sync.WaitGroup
	ids := make([]string, browsers)
	for i := range ids {
		b := w.checkout(order(fmt.Sprint("O-", i), "15000"), 201)
		ids[i] = b.ID
		all.Go(func() {
			seen, err := w.watch(b.ID)
			if err != nil || len(seen) != 2 || seen[0] != b || seen[1].Status != "SUCCESS" || seen[1].Version != b.Version+1 {
				t.Errorf("seen: %+v, %v", seen, err)
			}
		})
	}
	w.await("the streams", func() bool { return w.running("handlers.(*Handler).events(") == browsers })
	for round := range reloads {
		var paying sync.WaitGroup
		paying.Go(func() {
			for i := round; i < browsers; i += reloads {
				pay := "http://" + w.gateway + "/sandbox/control/payments/" + ids[i] + "/pay"
				w.insist(func() *http.Request { return w.request("POST", pay, "") })
			}
		})
		begun := time.Now()
		if err := w.reload(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > beforeAHeartbeat {
			t.Errorf("the reload took %v", took)
		}
		paying.Wait()
	}
	all.Wait()
	w.awaitNoStream()
}

// story 41
func TestAnExitWithAnOpenStreamEndsWithinASecond(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-X", "15000"), 201)
	l := w.mustListen(b.ID)
	if got := w.hear(l); got != b {
		t.Errorf("now: %+v", got)
	}
	if took := w.stop(syscall.SIGTERM); took > time.Second {
		t.Errorf("the exit took %v\n%s", took, w.log.Tail())
	}
	if _, err := l.next(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream was cut: %v", err)
	}
}
