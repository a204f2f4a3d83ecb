package handlers_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// burst is how many signatures a client may get wrong at once.
const burst = 1000

// hour is a clock that a test turns.
type hour struct{ now time.Time }

func clocked(h *hour) func(*handlers.API) {
	return func(api *handlers.API) { api.Now = func() time.Time { return h.now } }
}

func from(address string, r *http.Request) *http.Request {
	r.RemoteAddr = address
	return r
}

// forged are the requests whose signature fails, by what is wrong with it.
var forged = map[string]func() *http.Request{
	"a webhook's wrong sign": func() *http.Request { return notice(noticeBody, strings.Repeat("0", 40)) },
	"a webhook without sign": func() *http.Request { return post("/qlink/payNotification", noticeBody) },
	"a webhook's sign twice": func() *http.Request {
		r := notice(noticeBody, signNotice(noticeBody))
		r.Header.Add("sign", r.Header.Get("sign"))
		return r
	},
	"a key nobody has": func() *http.Request {
		r := notice(noticeBody, signNotice(noticeBody))
		r.Header.Set("appKey", "other")
		return r
	},
	"an order signed for another": func() *http.Request { return signed(post("/qlink/bills", goodOrder), "another body") },
	"an order not signed":         func() *http.Request { return post("/qlink/bills", goodOrder) },
	"a question not signed":       func() *http.Request { return get("/qlink/orders/O1") },
	"a cancel not signed":         func() *http.Request { return post("/qlink/orders/O1/cancel", "") },
}

// story 20, story 21: guessing is bounded.
func TestBeyondAThousandForgeriesAClientIsRefusedWith429(t *testing.T) {
	for name, forge := range forged {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for range burst {
				wantStatus(t, s.do(forge()), 401)
			}
			w := s.do(forge())
			wantStatus(t, w, 429)
			wantHeader(t, w.Header(), "Retry-After", "1")
			if strings.Contains(name, "webhook") || strings.Contains(name, "key") {
				wantRefused(t, w.Header(), w.Body.String())
			} else {
				wantHeader(t, w.Header(), "Content-Type", "application/problem+json")
				wantContains(t, w.Body.String(), `"code":"too_many_bad_signatures"`)
			}
			if s.engine.recorded() != "" {
				t.Errorf("engine was called: %s", s.engine.recorded())
			}
		})
	}
}

func TestAGenuineRequestIsNeverLimitedWhoeverSharesItsAddress(t *testing.T) {
	s := newSite(t)
	s.engine.created = payment.Created{Bill: waitingBill(), Outcome: payment.OutcomeNew}
	for range burst + 100 {
		s.do(forged["a webhook's wrong sign"]())
		s.do(forged["an order not signed"]())
	}
	for range burst + 100 {
		wantStatus(t, s.do(notice(noticeBody, signNotice(noticeBody))), 200)
		wantStatus(t, s.do(signed(post("/qlink/bills", goodOrder), goodOrder)), 201)
		wantStatus(t, s.do(signed(get("/qlink/orders/O1"), "")), 200)
	}
	wantStatus(t, s.do(forged["an order not signed"]()), 429)
}

func TestALateSignatureIsNoForgery(t *testing.T) {
	s := newSite(t)
	for range burst + 10 {
		r := get("/qlink/orders/O1")
		r.Header.Set(handlers.SignatureHeader, handlers.Sign(apiSecret, noon.Add(-time.Hour), r.Method, r.RequestURI, nil))
		w := s.do(r)
		wantStatus(t, w, 401)
		wantContains(t, w.Body.String(), "stale_signature")
	}
}

func TestForgeriesAreForgivenAtTwentyASecond(t *testing.T) {
	h := &hour{now: noon}
	s := newSite(t, clocked(h))
	forge := forged["a webhook's wrong sign"]
	for range burst {
		s.do(forge())
	}
	for _, pass := range []struct {
		after time.Duration
		room  int
	}{{time.Second, 20}, {50 * time.Millisecond, 1}, {time.Hour, burst}} {
		wantStatus(t, s.do(forge()), 429)
		h.now = h.now.Add(pass.after)
		for range pass.room {
			wantStatus(t, s.do(forge()), 401)
		}
	}
	wantStatus(t, s.do(forge()), 429)
}

func TestForgeriesAreCountedByAddressAndOfIPv6ByNetwork(t *testing.T) {
	s := newSite(t)
	forge := forged["a webhook's wrong sign"]
	for range burst {
		s.do(from("192.0.2.7:1", forge()))
		s.do(from("[2001:db8:1:2::1]:1", forge()))
	}
	for address, status := range map[string]int{
		"192.0.2.7:2": 429, "[::ffff:192.0.2.7]:3": 429, "[2001:db8:1:2:ffff::9]:4": 429,
		"192.0.2.8:1": 401, "[2001:db8:1:3::1]:1": 401, "@": 401,
	} {
		if w := s.do(from(address, forge())); w.Code != status {
			t.Errorf("%s: %d, want %d", address, w.Code, status)
		}
	}
}

func TestAFloodOfForgeriesIsOneLineAMinuteInTheLog(t *testing.T) {
	h := &hour{now: noon}
	s := newSite(t, clocked(h))
	for range burst {
		s.do(forged["an order not signed"]())
	}
	if n := s.logs.Len(); n != burst {
		t.Errorf("%d lines about the first %d", n, burst)
	}
	for _, flood := range []struct {
		second int
		report int64 // what the one line counts; 0: there is none
	}{{0, 1}, {30, 0}, {60, 1000}, {119, 0}, {120, 1000}} {
		h.now = noon.Add(time.Duration(flood.second) * time.Second)
		if reports := s.flood(500); flood.report == 0 && len(reports) > 0 || flood.report > 0 && (len(reports) != 1 || reports[0] != flood.report) {
			t.Errorf("second %d: reports of %v refused requests, want one of %d", flood.second, reports, flood.report)
		}
	}
}

// flood forges until so many requests were refused with 429. It returns the
// numbers of refused ones in the log's lines about them.
func (s *site) flood(refusals int) (reports []int64) {
	s.logs.TakeAll()
	for refusals > 0 {
		if s.do(forged["an order not signed"]()).Code == http.StatusTooManyRequests {
			refusals--
		}
	}
	for _, line := range s.logs.TakeAll() {
		if refused, ok := line.ContextMap()["refused"].(int64); ok {
			reports = append(reports, refused)
		}
	}
	return reports
}

func TestTheClientWhoFailedLongestAgoIsForgottenFirst(t *testing.T) {
	s := newSite(t)
	forge := forged["a webhook's wrong sign"]
	address := func(n int) string { return fmt.Sprintf("10.%d.%d.%d:1", n>>16, n>>8&255, n&255) }
	for range burst {
		s.do(from("192.0.2.7:1", forge()))
		s.do(from("192.0.2.8:1", forge()))
	}
	for n := range 9_998 {
		s.do(from(address(n), forge()))
	}
	wantStatus(t, s.do(from("192.0.2.7:1", forge())), 429) // still known, and now the latest
	s.do(from(address(9_998), forge()))                    // one too many
	wantStatus(t, s.do(from("192.0.2.8:1", forge())), 401) // forgotten
	wantStatus(t, s.do(from("192.0.2.7:1", forge())), 429)
}

func TestHandlersThatShareACountLimitAClientTogether(t *testing.T) {
	shared := new(handlers.Forgeries)
	share := func(api *handlers.API) { api.Forgeries = shared }
	sites := []*site{newSite(t, share), newSite(t, share)}
	var tolerated atomic.Int64
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range burst / 4 {
				w := httptest.NewRecorder()
				sites[n%2].ServeEndpoint(w, forged["a webhook's wrong sign"](), "/payNotification")
				if w.Code == 401 {
					tolerated.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := tolerated.Load(); n != burst {
		t.Errorf("%d were tolerated, want %d", n, burst)
	}
}

func TestHeadersBeyondAllMeasureAreRefusedAsWrong(t *testing.T) {
	long := strings.Repeat("a", 100_000)
	for name, c := range map[string]struct {
		request *http.Request
		header  string
		value   string
		status  int
	}{
		"appKey":                {notice(noticeBody, signNotice(noticeBody)), "appKey", long, 401},
		"sign":                  {notice(noticeBody, ""), "sign", long, 401},
		"sign and more":         {notice(noticeBody, ""), "sign", signNotice(noticeBody) + long, 401},
		"a signature's mac":     {get("/qlink/orders/O1"), handlers.SignatureHeader, "t=1,v1=" + long, 401},
		"a signature's time":    {get("/qlink/orders/O1"), handlers.SignatureHeader, "t=" + strings.Repeat("1", 100_000) + ",v1=00", 401},
		"an Idempotency-Key":    {signed(post("/qlink/bills", goodOrder), goodOrder), "Idempotency-Key", long, 400},
		"a key of 256":          {signed(post("/qlink/bills", goodOrder), goodOrder), "Idempotency-Key", long[:256], 400},
		"a key of 255, at last": {signed(post("/qlink/bills", goodOrder), goodOrder), "Idempotency-Key", long[:255], 201},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.engine.created = payment.Created{Bill: billIn(bill.Wait), Outcome: payment.OutcomeNew}
			c.request.Header.Set(c.header, c.value)
			w := s.do(c.request)
			wantStatus(t, w, c.status)
			if w.Body.Len() > 2000 {
				t.Errorf("an answer of %d bytes", w.Body.Len())
			}
		})
	}
}
