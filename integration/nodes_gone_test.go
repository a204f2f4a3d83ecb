package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// What a database that is gone may cost, on a machine that is busy: the time
// until it is noticed, and of each answer once it was. A call of the store's
// would give up after five seconds.
const (
	noticedWithin = 8 * time.Second
	atOnce        = 2 * time.Second
)

// goneBy are the ways in which a database goes, and comes back.
var goneBy = []struct {
	name       string
	gone, back func(*postgrestest.Server, *postgrestest.Proxy)
}{
	{
		"stopped",
		func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.Stop() },
		func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.StartAgain() },
	}, {
		"killed",
		func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.Kill() },
		func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.StartAgain() },
	}, {
		"frozen",
		func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.Freeze() },
		func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.Thaw() },
	}, {
		"swallowed by the network",
		func(_ *postgrestest.Server, p *postgrestest.Proxy) { p.Pause() },
		func(_ *postgrestest.Server, p *postgrestest.Proxy) { p.Resume() },
	}, {
		"cut off",
		func(_ *postgrestest.Server, p *postgrestest.Proxy) { p.Cut() },
		func(_ *postgrestest.Server, p *postgrestest.Proxy) { p.Resume() },
	},
}

// Whichever way the database goes: nobody waits, nobody is told what is not so,
// no order is made in vain, the rest of the site goes on, and when the database
// is back so is everything.
func TestWhileTheDatabaseIsGoneEveryAnswerComesAtOnce(t *testing.T) {
	server := postgrestest.Start(t)
	proxy := server.Proxy()
	n := newNodes(t, []string{proxy.DSN()}, map[string]string{"account": "\t\t\toffer\n"})
	n.start()
	w := n.each[0]
	for _, way := range goneBy {
		t.Run(way.name, func(t *testing.T) {
			code := "N-GONE-" + strings.ReplaceAll(way.name, " ", "-")
			open := decode[billJSON](t, w.mustSend(w.sign("/qlink/bills", orderIn(code, "QRIS"))).want(t, 201).body)
			choosing := decode[billJSON](t, w.mustSend(w.sign("/qlink/bills", orderIn(code+"-C", ""))).want(t, 201).body)
			stream, poll := w.mustListen(open.ID), w.pollInBackground(open.ID)
			w.hear(stream)
			before := n.ordered.Load()
			way.gone(server, proxy)
			if took, ok := within(t.Context(), noticedWithin, func() bool { return w.status("GET", "/qlink/bills/"+open.ID) == 503 }); !ok {
				t.Fatalf("not noticed within %v", took)
			}
			w.wantAllUnavailable(t, open, choosing)
			wantEnded(t, stream, poll)
			if n.ordered.Load() != before {
				t.Error("the shop was asked for an order")
			}
			if rest := w.must("GET", "/elsewhere", "").want(t, 200); string(rest.body) != "the rest of the shop" {
				t.Errorf("the rest of the site: %s", rest.body)
			}
			way.back(server, proxy)
			w.await("the database", func() bool { return w.status("GET", "/qlink/bills/"+open.ID) == 200 })
			w.insistOn(w.notification(open, "SUCCESS"))
			if paid := w.bill(open.ID); paid.Status != "SUCCESS" || paid.Version != open.Version+1 {
				t.Errorf("before: %+v, after: %+v", open, paid)
			}
			w.choose(choosing.ID, "ONLINE", "DANA").want(t, 200)
		})
	}
}

// mustSend sends a request that has to be answered.
func (w *world) mustSend(req *http.Request) answer {
	w.t.Helper()
	a, err := w.do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", req.Method, req.URL, err, w.log.Tail())
	}
	return a
}

func (w *world) status(method, path string) int {
	w.t.Helper()
	return w.must(method, path, "").StatusCode
}

// pollInBackground waits for news of a bill for as long as it can, and sends
// when the wait is over.
func (w *world) pollInBackground(id string) <-chan answer {
	w.t.Helper()
	tag := w.must("GET", "/qlink/bills/"+id, "").Header.Get("ETag")
	ended := make(chan answer, 1)
	req := w.request("GET", "/qlink/bills/"+id+"?wait=60s", "", "If-None-Match", tag)
	go func() {
		a, err := w.do(req)
		if err != nil {
			a.Response = new(http.Response)
		}
		ended <- a
	}()
	return ended
}

func wantEnded(t *testing.T, stream *listener, poll <-chan answer) {
	t.Helper()
	late := time.AfterFunc(atOnce, func() { _ = stream.Body.Close() })
	defer late.Stop()
	if data, err := stream.next(); err == nil || !late.Stop() {
		t.Errorf("the stream went on: %q, %v", data, err)
	}
	select {
	case a := <-poll:
		if !slices.Contains([]int{200, 304, 503}, a.StatusCode) {
			t.Errorf("the long poll: %d", a.StatusCode)
		}
	case <-time.After(atOnce):
		t.Error("the long poll went on")
	}
}

// wantAllUnavailable asks for everything that needs the store.
func (w *world) wantAllUnavailable(t *testing.T, open, choosing billJSON) {
	t.Helper()
	checkout := orderIn("N-NEVER", "QRIS")
	for what, req := range map[string]*http.Request{
		"checkout":         w.request("POST", "/checkout?order=N-NEVER", ""),
		"a buyer's":        w.request("POST", "/checkout?order=N-NEVER", "", "Accept", "text/html"),
		"signed order":     w.sign("/qlink/bills", checkout),
		"with a key":       w.sign("/qlink/bills", checkout, "Idempotency-Key", "k"),
		"webhook":          w.notification(open, "SUCCESS"),
		"of another bill":  w.notification(billJSON{ID: "11111111-1111-4111-8111-111111111111", OrderCode: "O"}, "SUCCESS"),
		"status":           w.request("GET", "/qlink/bills/"+open.ID, ""),
		"long poll":        w.request("GET", "/qlink/bills/"+open.ID+"?wait=60s", ""),
		"stream":           w.request("GET", "/qlink/bills/"+open.ID+"/events", "", "Accept", "text/event-stream"),
		"page":             w.request("GET", "/qlink/pay/"+open.ID, "", "Accept", "text/html"),
		"code":             w.request("GET", "/qlink/bills/"+open.ID+"/qr.svg", ""),
		"cancel":           w.request("POST", "/qlink/bills/"+open.ID+"/cancel", ""),
		"refresh":          w.request("POST", "/qlink/bills/"+open.ID+"/refresh", ""),
		"retry":            w.request("POST", "/qlink/bills/"+open.ID+"/retry", ""),
		"choice":           w.request("POST", "/qlink/bills/"+choosing.ID+"/choose", `{"payTypeCode":"ONLINE","payChannelCode":"DANA"}`, "Content-Type", "application/json"),
		"order":            signed(w.request("GET", "/qlink/orders/"+open.OrderCode, ""), ""),
		"cancel the order": w.sign("/qlink/orders/"+open.OrderCode+"/cancel", ""),
	} {
		begun := time.Now()
		a := w.mustSend(req)
		if took := time.Since(begun); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || took > atOnce {
			t.Errorf("%s: %d, Retry-After %q, after %v: %.300s", what, a.StatusCode, a.Header.Get("Retry-After"), took, a.body)
		}
	}
	for _, path := range []string{"/qlink/stats", "/qlink/bills", "/qlink/bills/" + open.ID, "/qlink/notifications"} {
		begun := time.Now()
		if a := w.operate("GET", path, ""); a.StatusCode != http.StatusServiceUnavailable || time.Since(begun) > atOnce {
			t.Errorf("admin %s: %d after %v: %.300s", path, a.StatusCode, time.Since(begun), a.body)
		}
	}
	if out, err := w.run("qlink", "stats", "--address", w.admin); err == nil || !strings.Contains(out, "unavailable") {
		t.Errorf("caddy qlink stats: %v: %s", err, out)
	}
}

// Where there is no limit to look up, the store is looked for all the same
// before the shop is asked.
func TestNoOrderIsMadeInVainWhereOpenBillsAreNotLimited(t *testing.T) {
	server := postgrestest.Start(t)
	n := newNodes(t, []string{server.DSN()}, map[string]string{"limits": "\t\tlimits {\n\t\t\topen_total 0\n\t\t}\n"})
	n.start()
	n.each[0].must("POST", "/checkout?order=N-FREE", "").want(t, 201)
	server.Stop()
	n.each[0].must("POST", "/checkout?order=N-VAIN", "").want(t, 503)
	if made := n.ordered.Load(); made != 1 {
		t.Errorf("the shop was asked for %d orders", made)
	}
}

// A Caddy that starts while the database cannot be reached serves what it can,
// and makes good the rest when it can.
func TestACaddyThatStartsWithoutItsDatabaseHealsByItself(t *testing.T) {
	for _, way := range []string{"stopped", "frozen"} {
		t.Run(way, func(t *testing.T) {
			server := postgrestest.Start(t)
			n := newNodes(t, []string{server.DSN()}, nil)
			w := n.each[0]
			if way == "stopped" {
				server.Stop()
			} else {
				server.Freeze()
			}
			n.start()
			begun := time.Now()
			a := w.must("POST", "/checkout?order=N-EARLY", "").want(t, 503)
			if took := time.Since(begun); took > atOnce || a.Header.Get("Retry-After") == "" {
				t.Errorf("after %v, Retry-After %q", took, a.Header.Get("Retry-After"))
			}
			w.must("GET", "/elsewhere", "").want(t, 200)
			if way == "stopped" {
				server.StartAgain()
			} else {
				server.Thaw()
			}
			w.await("the database", func() bool { return w.status("POST", "/checkout?order=N-EARLY") == 201 })
			if n := bookedAt(t, n.gateway, "N-EARLY"); n != 1 {
				t.Errorf("%d payments", n)
			}
		})
	}
}

// A database that is there and refuses is an operator's mistake: the start
// fails, and says which, but not with which password.
func TestADatabaseThatRefusesFailsTheStartInWordsWithoutThePassword(t *testing.T) {
	const right, wrong = "the-right-one-9f2", "the-wrong-one-77b"
	server := postgrestest.Start(t)
	dsn := server.DatabaseWithPassword(right)
	for what, test := range map[string]struct{ dsn, want string }{
		"wrong password":   {dsn + " password=" + wrong, "password authentication failed"},
		"no password":      {dsn, "password"},
		"unknown database": {server.DSN() + " dbname=nowhere password=" + wrong, `\"nowhere\" does not exist`},
		"unknown user":     {server.DSN() + " user=nobody_knows password=" + wrong, `\"nobody_knows\" does not exist`},
	} {
		t.Run(what, func(t *testing.T) {
			w := newNodes(t, []string{test.dsn}, nil).each[0]
			out, err := w.run("run", "--config", w.config, "--adapter", "caddyfile")
			if err == nil || !strings.Contains(out, test.want) {
				t.Errorf("%v: %s", err, out)
			}
			for _, password := range []string{right, wrong} {
				if strings.Contains(out, password) || bytes.Contains([]byte(contents(t, w.home)), []byte(password)) {
					t.Errorf("the password is told: %s", out)
				}
			}
		})
	}
	w := newNodes(t, []string{dsn + " password=" + right}, nil).each[0]
	w.start()
	w.must("POST", "/checkout?order=N-RIGHT", "").want(t, 201)
	for what, text := range map[string]string{"log": w.log.String(), "files": contents(t, w.home), "configuration": fmt.Sprint(string(w.must("GET", "http://"+w.admin+"/config/", "").body))} {
		if strings.Contains(text, right) {
			t.Errorf("the password is in the %s", what)
		}
	}
}
