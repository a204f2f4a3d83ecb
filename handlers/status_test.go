package handlers_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

const billPath = "/qlink/bills/" + billID

func TestABillIsShownExactlyAsTheContractSays(t *testing.T) {
	s := newSite(t)
	s.engine.details.Metadata = `{"secret":"metadata"}`
	w := s.do(get(billPath))
	wantStatus(t, w, 200)
	want := `{"id":"` + billID + `","account":"default","shop":"default","livemode":false,"orderCode":"O1","attempt":1,"status":"WAIT","final":false,` +
		`"amount":"15000","currency":"IDR","country":"ID","payTypeCode":"ONLINE","payChannelCode":"QRIS",` +
		`"billCode":"B1","paymentRequestId":"","action":{"kind":"qr","value":"` + qrPayload + `"},` +
		`"errorCode":"","createdAt":"2026-11-22T12:00:00Z","updatedAt":"2026-11-22T12:00:00Z","expiresAt":"2026-11-22T13:00:00Z","payTime":"",` +
		`"cancelRequested":false,"latePayment":false,"refundDue":false,"settledBy":"",` +
		`"payUrl":"https://shop.example/qlink/pay/` + billID + `","version":3}`
	if got := w.Body.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	wantHeader(t, w.Header(), "Cache-Control", "no-store")
	wantHeader(t, w.Header(), "Content-Type", "application/json")
}

func TestABillWithoutAnActionSaysNone(t *testing.T) {
	s := newSite(t)
	b := billIn(bill.Created)
	b.Action, b.CreatedAt = bill.Action{}, time.Date(2026, 11, 22, 20, 0, 0, 0, time.FixedZone("", 8*3600))
	s.engine.bills[billID] = b
	wantContains(t, s.do(get(billPath)).Body.String(), `"action":{"kind":"none","value":""}`, `"createdAt":"2026-11-22T12:00:00Z"`)
}

// story 36
func TestUnknownForeignAndMalformedIdsGetTheSameAnswer(t *testing.T) {
	s := newSite(t)
	other := strings.Replace(billID, "3", "4", 1)
	first := s.do(get("/qlink/bills/" + other))
	wantStatus(t, first, 404)
	for _, path := range []string{
		"/qlink/bills/" + strings.ToUpper(billID), "/qlink/bills/x", "/qlink/bills/" + billID + "0", "/qlink/bills/..", "/qlink/bills/", "/qlink/bills/%00",
		"/qlink/bills/" + strings.ReplaceAll(billID, "-", ""), "/qlink/bills/" + strings.Replace(billID, "-", "0", 1),
		"/qlink/bills/{" + billID + "}", "/qlink/bills/" + billID + "/", "/qlink/bills/" + other + "/events", "/qlink/bills/x/events", billPath + "/nothing", "/qlink", "/qlink/", "/qlink/pay/x", "/qlink/pay/" + other,
	} {
		w := s.do(get(path))
		if w.Code != 404 || w.Body.String() != first.Body.String() || fmt.Sprint(w.Header()) != fmt.Sprint(first.Header()) {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
	for _, what := range []string{"cancel", "refresh", "choose", "retry"} {
		s.engine.billErr, s.engine.chooseErr, s.engine.retryErr = bill.ErrNotFound, bill.ErrNotFound, bill.ErrNotFound
		r := post("/qlink/bills/"+other+"/"+what, "payTypeCode=ONLINE&payChannelCode=QRIS")
		r.Header.Set("Content-Type", aForm)
		if w := s.do(r); w.Code != 404 || w.Body.String() != first.Body.String() {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
}

// Whatever is asked of a malformed id, from wherever: as of an unknown one.
func TestAMalformedIdIsAnsweredLikeAnUnknownOneInEveryRespect(t *testing.T) {
	unknown := strings.Replace(billID, "3", "4", 1)
	ask := func(id, method, path, origin, accept string) string {
		s := newSite(t, func(a *handlers.API) { a.AllowedOrigins = []string{"https://spa.example"} })
		s.engine.billErr, s.engine.chooseErr, s.engine.retryErr = bill.ErrNotFound, bill.ErrNotFound, bill.ErrNotFound
		r := httptest.NewRequest(method, strings.Replace(path, "ID", id, 1), nil)
		setIf(r.Header.Set, "Origin", origin)
		setIf(r.Header.Set, "Accept", accept)
		if method == http.MethodOptions {
			r.Header.Set("Access-Control-Request-Method", "POST")
		}
		w := s.do(r)
		return withoutNonce(fmt.Sprint(w.Code, w.Header(), w.Body))
	}
	for _, path := range []string{"/qlink/bills/ID", "/qlink/bills/ID?wait=abc", "/qlink/bills/ID/cancel", "/qlink/bills/ID/refresh", "/qlink/bills/ID/choose", "/qlink/bills/ID/retry", "/qlink/bills/ID/events", "/qlink/bills/ID/qr.svg", "/qlink/pay/ID"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"} {
			for _, origin := range []string{"", "https://spa.example", "https://evil.example"} {
				for _, accept := range []string{"", "text/html"} {
					want := ask(unknown, method, path, origin, accept)
					for _, malformed := range []string{"abc", strings.ToUpper(unknown), "%00", "..%2f"} {
						if got := ask(malformed, method, path, origin, accept); got != want {
							t.Fatalf("%s %s from %q as %q: %s is answered %s, an unknown id %s", method, path, origin, accept, malformed, got, want)
						}
					}
				}
			}
		}
	}
}

func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	s := newSite(t)
	for path, allow := range map[string]string{
		billPath: "GET, HEAD", billPath + "/events": "GET, HEAD", billPath + "/cancel": "POST", billPath + "/refresh": "POST", billPath + "/choose": "POST", billPath + "/retry": "POST", billPath + "/qr.svg": "GET, HEAD", billPath + "/qr.png": "GET, HEAD",
		"/qlink/pay/" + billID: "GET, HEAD", "/qlink/bills": "POST", "/qlink/orders/O1": "GET, HEAD", "/qlink/orders/O1/cancel": "POST", "/qlink/payNotification": "POST",
	} {
		for _, method := range []string{"DELETE", "OPTIONS", "PATCH", "FOO"} {
			w := s.do(httptest.NewRequest(method, path, nil))
			if w.Code != 405 || w.Header().Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
	if s.engine.recorded() != "" {
		t.Errorf("engine was called: %s", s.engine.recorded())
	}
}

func TestHeadAnswersLikeGetWithoutABody(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{billPath, "/qlink/pay/" + billID, billPath + "/qr.svg", billPath + "/qr.png?download", "/qlink/bills/x"} {
		whole, head := s.do(get(path)), s.do(httptest.NewRequest(http.MethodHead, path, nil))
		if head.Body.Len() != 0 || head.Code != whole.Code || withoutNonce(fmt.Sprint(head.Header())) != withoutNonce(fmt.Sprint(whole.Header())) {
			t.Errorf("%s: %d %v", path, head.Code, head.Header())
		}
	}
}

func TestTheEntityTagMovesWithTheAnswer(t *testing.T) {
	s := newSite(t)
	tag := s.do(get(billPath)).Header().Get("ETag")
	if !strings.HasPrefix(tag, `"3-`) {
		t.Errorf("ETag = %s", tag)
	}
	for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		r := get(billPath)
		r.Header.Set("If-None-Match", known)
		w := s.do(r)
		wantStatus(t, w, 304)
		wantHeader(t, w.Header(), "ETag", tag)
		if w.Body.Len() != 0 {
			t.Error("a 304 has a body")
		}
	}
	b := waitingBill()
	b.Version = 4
	s.engine.bills[billID] = b
	r := get(billPath)
	r.Header.Set("If-None-Match", tag)
	wantStatus(t, s.do(r), 200)
	elsewhere := newSite(t, func(a *handlers.API) { a.PublicURL = "https://other.example" })
	if elsewhere.do(get(billPath)).Header().Get("ETag") == tag {
		t.Error("another payUrl has the same tag")
	}
}

// waiting lets a request wait on a bill that changes when changed is closed.
func waiting(s *site, changed <-chan struct{}) {
	s.engine.waited = func(ctx context.Context, version uint64) (bill.Bill, error) {
		b := waitingBill()
		b.Version = version
		select {
		case <-changed:
			b.Version, b.Status = version+1, bill.Success
		case <-ctx.Done():
		}
		return b, nil
	}
}

func TestALongPollWaitsForAChangeAndNoLongerThanItsTime(t *testing.T) {
	for _, c := range []struct {
		name    string
		prefer  string
		query   string
		changes time.Duration // 0: never
		takes   time.Duration
		applied string
	}{
		{name: "nothing asked", takes: 0},
		{name: "preferred", prefer: "wait=10", takes: 10 * time.Second, applied: "wait=10"},
		{name: "preferred among others", prefer: `respond-async, Wait = "10"; x=y`, takes: 10 * time.Second, applied: "wait=10"},
		{name: "preferred, and changes", prefer: "wait=10", changes: 3 * time.Second, takes: 3 * time.Second, applied: "wait=10"},
		{name: "too long", prefer: "wait=3600", takes: time.Minute, applied: "wait=60"},
		{name: "not readable", prefer: "wait=soon", takes: 0},
		{name: "in the query", query: "?wait=30s", takes: 30 * time.Second},
		{name: "in the query, in seconds", query: "?wait=30", takes: 30 * time.Second},
		{name: "in the query, too long", query: "?wait=24h", takes: time.Minute},
		{name: "in the query, nothing", query: "?wait=0", prefer: "wait=10", takes: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				changed := make(chan struct{})
				waiting(s, changed)
				if c.changes > 0 {
					time.AfterFunc(c.changes, func() { close(changed) })
				}
				r := get(billPath + c.query)
				r.Header.Set("Prefer", c.prefer)
				start := time.Now()
				w := s.do(r)
				wantStatus(t, w, 200)
				if took := time.Since(start); took != c.takes {
					t.Errorf("took %s, want %s", took, c.takes)
				}
				wantHeader(t, w.Header(), "Preference-Applied", c.applied)
				synctest.Wait()
			})
		})
	}
}

func TestABadWaitIsRefused(t *testing.T) {
	s := newSite(t)
	for _, wait := range []string{"", "soon", "-1", "-1s", "1e9", "99999999999999999999"} {
		w := s.do(get(billPath + "?wait=" + wait))
		if w.Code != 400 {
			t.Errorf("wait=%q: %d", wait, w.Code)
		}
	}
}

// story 18, story 19
func TestALongPollComparesWithWhatTheClientKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		waiting(s, make(chan struct{}))
		tag := s.do(get(billPath)).Header().Get("ETag")

		r := get(billPath + "?wait=30s")
		r.Header.Set("If-None-Match", `"2-abc"`)
		start := time.Now()
		wantStatus(t, s.do(r), 200)
		if time.Since(start) != 0 {
			t.Error("a client that is behind had to wait")
		}

		r.Header.Set("If-None-Match", tag)
		wantStatus(t, s.do(r), 304)
		if time.Since(start) != 30*time.Second {
			t.Errorf("a client that is up to date waited %s", time.Since(start))
		}
		synctest.Wait()
	})
}

func TestALongPollOnABillThatHasEndedAnswersAtOnce(t *testing.T) {
	s := newSite(t)
	s.engine.bills[billID] = billIn(bill.Success)
	wantStatus(t, s.do(get(billPath+"?wait=30s")), 200)
	if got := s.engine.recorded(); got != "bill" {
		t.Errorf("engine calls: %s", got)
	}
}

// story 41
func TestALongPollEndsWhenTheServerShutsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining := make(chan struct{})
		s := newSite(t, func(a *handlers.API) { a.Draining = draining })
		waiting(s, make(chan struct{}))
		time.AfterFunc(2*time.Second, func() { close(draining) })
		start := time.Now()
		wantStatus(t, s.do(get(billPath+"?wait=60s")), 200)
		if time.Since(start) != 2*time.Second {
			t.Errorf("took %s", time.Since(start))
		}
		synctest.Wait()
	})
}

func TestALongPollEndsWhenTheClientGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		waiting(s, make(chan struct{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		s.do(get(billPath + "?wait=60s").WithContext(ctx))
		if time.Since(start) != time.Second {
			t.Errorf("took %s", time.Since(start))
		}
		synctest.Wait()
	})
}

func TestAStoreThatIsAwayIsSaidSo(t *testing.T) {
	s := newSite(t)
	s.engine.billErr = fmt.Errorf("bill: %w", bill.ErrUnavailable)
	for _, path := range []string{billPath, billPath + "/qr.svg", "/qlink/pay/" + billID} {
		w := s.do(get(path))
		wantStatus(t, w, 503)
		wantHeader(t, w.Header(), "Retry-After", "10")
	}
}

func TestABillWhoseDetailsAreDeletedIsShownAsItEnded(t *testing.T) {
	s := newSite(t)
	step, err := billIn(bill.Success).Next(bill.Event{Kind: bill.EventForgotten, At: time.Now()}, bill.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	s.engine.bills[billID], s.engine.detailErr = step.Bill, bill.ErrNotFound
	s.engine.order = payment.Order{Key: step.Bill.OrderKey(), PaidBill: billID, Bills: []bill.Bill{step.Bill}}
	w := s.do(get(billPath))
	wantStatus(t, w, 200)
	wantContains(t, w.Body.String(), `"status":"SUCCESS","final":true,"amount":"15000","currency":"IDR"`, `"billCode":"B1"`, `"action":{"kind":"none","value":""}`)
	w = s.do(asBrowser(get("/qlink/pay/" + billID)))
	wantStatus(t, w, 200)
	wantStatus(t, s.do(get(billPath+"/qr.svg")), 404)
	w = s.do(signed(get("/qlink/orders/O1"), ""))
	wantStatus(t, w, 200)
	wantContains(t, w.Body.String(), `"paid":true,"paidBill":"`+billID+`"`)
}

// Handlers before us in Caddy's order add to what we have set.
func TestWhatIsAddedToAHeaderOfAnAnswerStaysInIt(t *testing.T) {
	s := newSite(t)
	header := s.do(get(billPath)).Header()
	for _, name := range []string{"Cache-Control", "X-Content-Type-Options", "Content-Type", "Content-Length"} {
		before := header.Clone()
		before.Add(name, "added")
		header.Add(name, "added")
		if diff := cmp.Diff(before, header); diff != "" {
			t.Errorf("after an addition to %s (-want +got):\n%s", name, diff)
		}
	}
}
