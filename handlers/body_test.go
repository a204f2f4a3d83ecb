package handlers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// soon is how long the clients of these tests may take to send a body.
const soon = 100 * time.Millisecond

// serve puts a site on loopback, over HTTP/1 and HTTP/2.
func (s *site) serve(t *testing.T, change ...func(*http.Server)) *httptest.Server {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeEndpoint(w, r, strings.TrimPrefix(r.URL.EscapedPath(), "/qlink"))
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	for _, c := range change {
		c(server.Config)
	}
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// speakHTTP2 returns a client that speaks nothing else.
func speakHTTP2(t *testing.T) *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func impatient(api *handlers.API) { api.BodyTimeout = soon }

// talk opens a bare connection and says what it is given; drip goes on with a
// byte now and then, as long as the other side listens.
func talk(t *testing.T, server *httptest.Server, text string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

func drip(t *testing.T, w io.Writer, text string) {
	tick := time.NewTicker(soon / 10)
	t.Cleanup(tick.Stop)
	go func() {
		for {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}()
}

// heard is an answer with its body read.
type heard struct {
	status int
	closes bool // the connection
	body   string
}

// hear reads one answer, which has to come within a generous time.
func hear(t *testing.T, conn net.Conn) heard {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return heard{status: resp.StatusCode, closes: resp.Close, body: readAll(t, resp.Body)}
}

// hangsUp waits until the other side ends the connection.
func hangsUp(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Error("the connection stays open")
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func head(method, path string, header ...string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: shop.example\r\n" + strings.Join(header, "\r\n") + "\r\n\r\n"
}

func TestABodyThatDripsInIsAnsweredWith408AndTheConnectionEnds(t *testing.T) {
	chunked := "Transfer-Encoding: chunked"
	for name, c := range map[string]struct {
		head, drop string
		status     int
		inside     string
	}{
		"a webhook":              {head("POST", "/qlink/payNotification", "appKey: app-key", "sign: 00", "Content-Length: 60000"), " ", 408, `{"success":false,"message":`},
		"a webhook in chunks":    {head("POST", "/qlink/payNotification", "appKey: app-key", "sign: 00", chunked), "1\r\n \r\n", 408, `{"success":false,"message":`},
		"an order":               {head("POST", "/qlink/bills", "Content-Length: 60000"), " ", 408, `"code":"body_timeout"`},
		"an order from a page":   {head("POST", "/qlink/bills", "Accept: text/html", chunked), "1\r\n \r\n", 408, "<html"},
		"a cancel":               {head("POST", "/qlink/bills/"+billID+"/cancel", "Content-Length: 60000"), " ", 408, `"code":"body_timeout"`},
		"a signed cancel":        {head("POST", "/qlink/orders/O1/cancel", "Content-Length: 60000"), " ", 408, `"code":"body_timeout"`},
		"no key, hence unread":   {head("POST", "/qlink/payNotification", "Content-Length: 60000"), " ", 401, `{"success":false,"message":`},
		"no route, hence unread": {head("POST", "/qlink/nowhere", chunked), "1\r\n \r\n", 404, `"code":"not_found"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, impatient)
			conn := talk(t, s.serve(t), c.head)
			begun := time.Now()
			drip(t, conn, c.drop)
			if got := hear(t, conn); got.status != c.status || !strings.Contains(got.body, c.inside) {
				t.Errorf("%+v", got)
			}
			if took := time.Since(begun); took < soon-soon/10 {
				t.Errorf("the client had only %v", took)
			}
			hangsUp(t, conn)
			if s.engine.recorded() != "" {
				t.Errorf("engine was called: %s", s.engine.recorded())
			}
		})
	}
}

func TestOverHTTP2ABodyThatDripsInIsAnsweredWith408(t *testing.T) {
	s := newSite(t, impatient)
	reader, writer := io.Pipe()
	drip(t, writer, " ")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.serve(t).URL+"/qlink/bills", reader)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := speakHTTP2(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body := readAll(t, resp.Body); resp.StatusCode != http.StatusRequestTimeout || resp.ProtoMajor != 2 || !strings.Contains(body, `"code":"body_timeout"`) {
		t.Errorf("%s %d %s", resp.Proto, resp.StatusCode, body)
	}
}

func TestAServerThatWaitsLessKeepsItsOwnBound(t *testing.T) {
	s := newSite(t, func(api *handlers.API) { api.BodyTimeout = time.Hour })
	server := s.serve(t, func(config *http.Server) { config.ReadTimeout = soon })
	conn := talk(t, server, head("POST", "/qlink/bills", "Content-Length: 60000"))
	drip(t, conn, " ")
	if got := hear(t, conn); got.status != http.StatusRequestTimeout {
		t.Errorf("%+v", got)
	}
}

// patient is an engine that takes its time, and minds if its caller is gone.
type patient struct{ *engine }

func (p patient) Refresh(ctx context.Context, _ payment.Scope, _ string) (bill.Bill, error) {
	select {
	case <-ctx.Done():
		return bill.Bill{}, ctx.Err()
	case <-time.After(2 * soon):
		return waitingBill(), nil
	}
}

func (p patient) Wait(ctx context.Context, s payment.Scope, id string, _ uint64) (bill.Bill, error) {
	return p.Refresh(ctx, s, id)
}

// A deadline that outlived the body would end the request, or the next one on
// its connection.
func TestWorkAndLongPollsMayTakeLongerThanABody(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			s := newSite(t, impatient)
			s.Payments = patient{s.engine}
			base, client := s.serve(t).URL, new(http.Client)
			if version == 2 {
				client = speakHTTP2(t)
			}
			for _, ask := range []struct{ method, path, body string }{
				{"POST", "/qlink/bills/" + billID + "/refresh", "x=1"},
				{"POST", "/qlink/bills/" + billID + "/refresh", ""},
				{"GET", "/qlink/bills/" + billID + "?wait=5s", ""},
				{"GET", "/qlink/bills/" + billID + "?wait=5s", "a body that nobody reads"},
			} {
				r, err := http.NewRequestWithContext(t.Context(), ask.method, base+ask.path, strings.NewReader(ask.body))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body := readAll(t, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK || resp.ProtoMajor != version {
					t.Errorf("%s %s with %q: %s %d %s", ask.method, ask.path, ask.body, resp.Proto, resp.StatusCode, body)
				}
			}
		})
	}
}

func TestABodyTooLargeIsRefusedWithoutWaitingForItsEnd(t *testing.T) {
	webhook := []string{"appKey: app-key", "sign: 00"}
	for name, c := range map[string]struct {
		path   string
		header []string
		sent   int // of the body, before the answer is awaited
	}{
		"a webhook that says so":        {"/qlink/payNotification", append(webhook, "Content-Length: 65537"), 0},
		"a webhook that says petabytes": {"/qlink/payNotification", append(webhook, "Content-Length: 9000000000000000"), 0},
		"a webhook that says not":       {"/qlink/payNotification", append(webhook, "Transfer-Encoding: chunked"), 64<<10 + 1},
		"a webhook that would continue": {"/qlink/payNotification", append(webhook, "Expect: 100-continue", "Content-Length: 65537"), 0},
		"an order that says so":         {"/qlink/bills", []string{"Content-Length: 1048577"}, 0},
		"an order that says not":        {"/qlink/bills", []string{"Transfer-Encoding: chunked"}, 1<<20 + 1},
		"a cancel":                      {"/qlink/bills/" + billID + "/cancel", []string{"Content-Length: 1048577"}, 0},
		"a signed cancel":               {"/qlink/orders/O1/cancel", []string{"Content-Length: 1048577"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(api *handlers.API) { api.BodyTimeout = time.Minute })
			conn := talk(t, s.serve(t), head("POST", c.path, c.header...))
			if c.sent > 0 {
				if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", c.sent, strings.Repeat(" ", c.sent)); err != nil {
					t.Fatal(err)
				}
			}
			got := hear(t, conn)
			asGateway := strings.HasPrefix(got.body, `{"success":false,"message":`)
			if got.status != http.StatusRequestEntityTooLarge || asGateway != strings.HasSuffix(c.path, "payNotification") {
				t.Errorf("%+v", got)
			}
			if !got.closes {
				t.Error("the connection is kept, though its body is not read")
			}
			if s.engine.recorded() != "" {
				t.Errorf("engine was called: %s", s.engine.recorded())
			}
		})
	}
}

// A client that sends all before it listens hears the answer all the same: more
// than a socket holds is read from it, not thrown back at it with a reset.
func TestWhoSendsTooMuchIsToldSoBeforeTheConnectionEnds(t *testing.T) {
	const size = 7 << 20
	for name, c := range map[string]struct{ header, begin string }{
		"a length":  {fmt.Sprint("Content-Length: ", size), ""},
		"no length": {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n", size)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(api *handlers.API) { api.BodyTimeout = time.Minute })
			conn := talk(t, s.serve(t), head("POST", "/qlink/bills", c.header)+c.begin)
			if _, err := io.WriteString(conn, strings.Repeat(" ", size)); err != nil {
				t.Fatalf("send: %v", err)
			}
			if got := hear(t, conn); got.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What is sent beyond the length that was told is another request, and must not
// be taken for part of the first.
func TestABodyLongerThanItsLengthSaysEndsWhereItSays(t *testing.T) {
	s := newSite(t)
	header := []string{"appKey: app-key", "sign: " + signNotice(noticeBody), fmt.Sprint("Content-Length: ", len(noticeBody))}
	conn := talk(t, s.serve(t), head("POST", "/qlink/payNotification", header...)+noticeBody+`{"status":"FAIL"}`)
	if got := hear(t, conn); got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if s.engine.recorded() != "settle" {
		t.Errorf("calls: %s", s.engine.recorded())
	}
}

// timed is a writer that remembers the deadlines it was given.
type timed struct {
	*httptest.ResponseRecorder

	deadlines []time.Time
}

func (w *timed) SetReadDeadline(deadline time.Time) error {
	w.deadlines = append(w.deadlines, deadline)
	return nil
}

func TestTheDeadlineGoesWithABodyThatCameAndStaysWithOneThatDidNot(t *testing.T) {
	for name, c := range map[string]struct {
		request *http.Request
		cleared bool
	}{
		"came":      {notice(noticeBody, signNotice(noticeBody)), true},
		"too large": {notice(strings.Repeat(" ", 64<<10+1), "00"), false},
		"unread":    {post("/qlink/nowhere", "x"), false},
	} {
		w := &timed{ResponseRecorder: httptest.NewRecorder()}
		newSite(t).ServeEndpoint(w, c.request, strings.TrimPrefix(c.request.URL.Path, "/qlink"))
		if len(w.deadlines) == 0 || w.deadlines[0].IsZero() || w.deadlines[len(w.deadlines)-1].IsZero() != c.cleared {
			t.Errorf("%s: deadlines %v", name, w.deadlines)
		}
	}
}
