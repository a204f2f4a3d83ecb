package handlers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

const eventsPath = billPath + "/events"

// Watch returns a bill that never changes.
func (e *engine) Watch(ctx context.Context, s payment.Scope, id string) (payment.Watching, error) {
	b, err := e.Bill(ctx, s, id)
	return payment.Watching{Bill: b, Stop: func() {}}, err
}

// live is an engine whose bills change while they are watched, as a test says.
type live struct {
	*engine

	begun   chan chan *bill.Bill // where each watch takes its changes from
	stopped chan struct{}        // one for each watch that was stopped
}

func (l *live) Watch(ctx context.Context, s payment.Scope, id string) (payment.Watching, error) {
	w, err := l.engine.Watch(ctx, s, id)
	if err != nil {
		return w, err
	}
	changes := make(chan *bill.Bill)
	l.begun <- changes
	w.Changes, w.Stop = changes, func() { l.stopped <- struct{}{} }
	return w, nil
}

// liveSite has a bill that is watched, and no heartbeat within a test.
func liveSite(t *testing.T, changes ...func(*handlers.API)) (*site, *live) {
	t.Helper()
	s := newSite(t, append([]func(*handlers.API){func(a *handlers.API) { a.Heartbeat = time.Hour }}, changes...)...)
	l := &live{engine: s.engine, begun: make(chan chan *bill.Bill, 8), stopped: make(chan struct{}, 8)}
	s.Payments = l
	return s, l
}

// subscriber reads a stream as it comes.
type subscriber struct {
	*http.Response

	t     *testing.T
	lines *bufio.Reader
	leave func()
}

// subscribe asks for a stream and waits for the headers, for a generous time.
func subscribe(t *testing.T, client *http.Client, url string, header ...string) *subscriber {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &subscriber{Response: resp, t: t, lines: bufio.NewReader(resp.Body), leave: cancel}
}

// want reads what comes next, up to an empty line.
func (s *subscriber) want(text string) {
	s.t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), "\n\n") {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream broke off: %v; so far %q, wanted %q", err, got.String(), text)
		}
		got.WriteString(line)
	}
	if got.String() != text+"\n\n" {
		s.t.Fatalf("came %q, want %q", got.String(), text)
	}
}

func (s *subscriber) wantEnd() {
	s.t.Helper()
	if rest, err := io.ReadAll(s.lines); err != nil || len(rest) > 0 {
		s.t.Errorf("at the end came %q, %v", rest, err)
	}
}

func (s *subscriber) wantBill(b bill.Bill) {
	s.t.Helper()
	s.want(eventOf(s.t, b))
}

// eventOf is a bill as a stream tells it.
func eventOf(t *testing.T, b bill.Bill) string {
	t.Helper()
	still := newSite(t)
	still.engine.bills[billID] = b
	return fmt.Sprintf("id: %d\nevent: bill\ndata: %s", b.Version, still.do(get(billPath)).Body)
}

func version(b bill.Bill, status bill.Status, version uint64) bill.Bill {
	b.Status, b.Version = status, version
	return b
}

const hint = "retry: 2000"

// story 18
func TestAStreamTellsTheBillNowAndAtEachChangeUntilItHasEnded(t *testing.T) {
	for _, major := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", major), func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			s, l := liveSite(t)
			server, client := s.serve(t), &http.Client{Transport: new(http.Transport)}
			if major == 2 {
				client = speakHTTP2(t)
			}
			defer server.Close()
			defer client.CloseIdleConnections()
			for _, way := range [][]string{{eventsPath}, {billPath, "Accept", "text/event-stream"}} {
				stream := subscribe(t, client, server.URL+way[0], way[1:]...)
				if stream.StatusCode != http.StatusOK || stream.ProtoMajor != major || stream.ContentLength != -1 {
					t.Errorf("%s %d, length %d", stream.Proto, stream.StatusCode, stream.ContentLength)
				}
				wantHeader(t, stream.Header, "Content-Type", "text/event-stream")
				wantHeader(t, stream.Header, "Cache-Control", "no-store, no-transform")
				wantHeader(t, stream.Header, "X-Accel-Buffering", "no")
				stream.want(hint)
				stream.wantBill(waitingBill())
				changes := <-l.begun
				for v := uint64(4); v < 7; v++ {
					next := version(waitingBill(), bill.Wait, v)
					changes <- &next
					stream.wantBill(next)
				}
				paid := version(waitingBill(), bill.Success, 7)
				changes <- &paid
				stream.wantBill(paid)
				stream.wantEnd()
				<-l.stopped
			}
		})
	}
}

// story 18, story 19: who comes back is told what it has missed, and nothing
// twice.
func TestAStreamGoesOnAfterWhatTheClientHasSeen(t *testing.T) {
	s, l := liveSite(t)
	base := s.serve(t).URL
	next := version(waitingBill(), bill.Wait, 4)
	for _, c := range []struct {
		last  string
		knows bool
	}{{"3", true}, {"2", false}, {"1", false}, {"9", false}, {"", false}, {"x", false}, {"-3", false}, {"+3", false}, {"3.0", false}, {"99999999999999999999", false}} {
		stream := subscribe(t, http.DefaultClient, base+eventsPath, "Last-Event-ID", c.last)
		stream.want(hint)
		if !c.knows {
			stream.wantBill(waitingBill())
		}
		changes := <-l.begun
		changes <- &next
		stream.wantBill(next)
		stream.leave()
		<-l.stopped
	}
}

func TestAStreamOfABillThatHasEndedTellsTheEndOnce(t *testing.T) {
	for _, status := range []bill.Status{bill.Success, bill.Fail, bill.Canceled, bill.Expired} {
		s, l := liveSite(t)
		s.engine.bills[billID] = billIn(status)
		base := s.serve(t).URL
		for _, last := range []string{"", "2"} {
			stream := subscribe(t, http.DefaultClient, base+eventsPath, "Last-Event-ID", last)
			stream.want(hint)
			stream.wantBill(billIn(status))
			stream.wantEnd()
			<-l.stopped
		}
		known := subscribe(t, http.DefaultClient, base+eventsPath, "Last-Event-ID", "3")
		if known.StatusCode != http.StatusNoContent || known.Header.Get("Content-Type") != "" {
			t.Errorf("%s: who knows the end gets %s, %v", status, known.Status, known.Header)
		}
		wantHeader(t, known.Header, "Cache-Control", "no-store")
		known.wantEnd()
		<-l.stopped
	}
}

// A deadline that stayed behind from a send would end the stream between two
// heartbeats, over HTTP/2 at least.
func TestAStreamGivesSignsOfLifeAndLivesLongerThanASendMayTake(t *testing.T) {
	for _, major := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", major), func(t *testing.T) {
			s, _ := liveSite(t, func(a *handlers.API) { a.SendTimeout, a.Heartbeat = 5*soon, 6*soon })
			client := http.DefaultClient
			if major == 2 {
				client = speakHTTP2(t)
			}
			stream := subscribe(t, client, s.serve(t).URL+eventsPath)
			stream.want(hint)
			stream.wantBill(waitingBill())
			for range 2 {
				stream.want(": ")
			}
		})
	}
}

// story 41
func TestAStreamEndsWhenTheServerShutsDown(t *testing.T) {
	draining := make(chan struct{})
	s, l := liveSite(t, func(a *handlers.API) { a.Draining = draining })
	base := s.serve(t).URL
	stream := subscribe(t, http.DefaultClient, base+eventsPath)
	stream.want(hint)
	stream.wantBill(waitingBill())
	close(draining)
	stream.wantEnd()
	<-l.stopped

	late := subscribe(t, http.DefaultClient, base+eventsPath)
	late.want(hint)
	late.wantBill(waitingBill())
	late.wantEnd()
	<-l.stopped
}

func TestAStreamEndsWhenTheClientGoesOrTheStoreBreaks(t *testing.T) {
	s, l := liveSite(t)
	base := s.serve(t).URL
	gone := subscribe(t, http.DefaultClient, base+eventsPath)
	gone.want(hint)
	gone.leave()
	<-l.stopped
	<-l.begun

	broken := subscribe(t, http.DefaultClient, base+eventsPath)
	broken.want(hint)
	broken.wantBill(waitingBill())
	close(<-l.begun)
	broken.wantEnd()
	<-l.stopped
}

// Each bill is longer than usual, so that sockets fill up sooner.
func TestAClientThatDoesNotReadIsDropped(t *testing.T) {
	long := waitingBill()
	long.ErrorCode = strings.Repeat("x", 1<<20)
	for _, major := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", major), func(t *testing.T) {
			s, l := liveSite(t, func(a *handlers.API) { a.SendTimeout = 3 * soon })
			server := s.serve(t)
			if major == 1 {
				talk(t, server, head("GET", eventsPath))
			} else {
				subscribe(t, speakHTTP2(t), server.URL+eventsPath)
			}
			changes := <-l.begun
			sent, enough := 0, time.After(20*time.Second)
			for dropped := false; !dropped; sent++ {
				select {
				case changes <- new(version(long, bill.Wait, uint64(4+sent))):
				case <-l.stopped:
					dropped = true
				case <-enough:
					t.Fatalf("%d MB were sent, and nobody reads", sent)
				}
			}
			if sent < 2 {
				t.Errorf("dropped before %d events had filled anything", sent)
			}
		})
	}
}

// Whoever stands before us and cannot flush makes it a poll every two seconds.
func TestAStreamThatCannotBeFlushedEndsAfterItsFirstEvent(t *testing.T) {
	s, l := liveSite(t)
	w := httptest.NewRecorder()
	s.ServeEndpoint(struct{ http.ResponseWriter }{w}, get(eventsPath), strings.TrimPrefix(eventsPath, "/qlink"))
	<-l.stopped
	if got, want := w.Body.String(), hint+"\n\n"+eventOf(t, waitingBill())+"\n\n"; got != want {
		t.Errorf("came %q, want %q", got, want)
	}
}

func TestHeadOfAStreamAnswersItsHeadersAndEnds(t *testing.T) {
	s, l := liveSite(t)
	for _, status := range []bill.Status{bill.Wait, bill.Success} {
		s.engine.bills[billID] = billIn(status)
		w := s.do(httptest.NewRequest(http.MethodHead, eventsPath, nil))
		wantStatus(t, w, 200)
		wantHeader(t, w.Header(), "Content-Type", "text/event-stream")
		<-l.stopped
		if w.Body.Len() > 0 {
			t.Errorf("%s: body %q", status, w.Body)
		}
	}
}

func TestPagesOfAllowedOriginsMayReadAStream(t *testing.T) {
	s, _ := liveSite(t, func(a *handlers.API) { a.AllowedOrigins = []string{"https://spa.example"} })
	base := s.serve(t).URL
	for origin, allowed := range map[string]string{"https://spa.example": "https://spa.example", "https://evil.example": ""} {
		stream := subscribe(t, http.DefaultClient, base+eventsPath, "Origin", origin)
		wantHeader(t, stream.Header, "Access-Control-Allow-Origin", allowed)
		stream.leave()
	}
	preflight := httptest.NewRequest(http.MethodOptions, eventsPath, nil)
	preflight.Header.Set("Origin", "https://spa.example")
	preflight.Header.Set("Access-Control-Request-Method", "GET")
	preflight.Header.Set("Access-Control-Request-Headers", "last-event-id")
	w := s.do(preflight)
	wantStatus(t, w, 204)
	wantContains(t, w.Header().Get("Access-Control-Allow-Headers"), "Last-Event-ID")
	wantHeader(t, w.Header(), "Access-Control-Allow-Methods", "GET, HEAD")
}

func TestWhatKeepsAStreamFromBeginningIsSaidAsElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
	}{
		"unknown":     {bill.ErrNotFound, 404},
		"store away":  {fmt.Errorf("bill: %w", bill.ErrUnavailable), 503},
		"our mistake": {errors.New("oops"), 500},
	} {
		s, _ := liveSite(t)
		s.engine.billErr = c.err
		r := get(billPath)
		r.Header.Set("Accept", "text/event-stream")
		plain, stream, named := s.do(get(billPath)), s.do(get(eventsPath)), s.do(r)
		wantStatus(t, stream, c.status)
		wantHeader(t, stream.Header(), "Content-Type", "application/problem+json")
		for _, w := range []*httptest.ResponseRecorder{stream, named} {
			if w.Code != plain.Code || w.Body.String() != plain.Body.String() || fmt.Sprint(w.Header()) != fmt.Sprint(plain.Header()) {
				t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
			}
		}
	}
}

// breaking is an answer that a writer before ours gives up.
type breaking struct{ *httptest.ResponseRecorder }

func (breaking) Write([]byte) (int, error) { panic(http.ErrAbortHandler) }

func (breaking) WriteString(string) (int, error) { panic(http.ErrAbortHandler) }

func TestAWatchEndsWithAPanicInItsStream(t *testing.T) {
	s, l := liveSite(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing was written")
			}
		}()
		s.ServeEndpoint(breaking{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/qlink/bills/"+billID+"/events", nil), "/bills/"+billID+"/events")
	}()
	if len(l.stopped) != 1 {
		t.Errorf("%d watches were stopped", len(l.stopped))
	}
}
