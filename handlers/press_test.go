package handlers_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// story 11, story 12
func TestACancelSaysWhatHasBecomeOfTheBill(t *testing.T) {
	requested := waitingBill()
	requested.Cancel.Requested = true
	for _, c := range []struct {
		name   string
		bill   bill.Bill
		err    error
		status int
		code   string
		html   int
	}{
		{"cancelled", billIn(bill.Canceled), nil, 200, "", 303},
		{"ended before", billIn(bill.Expired), nil, 200, "", 303},
		{"asked for", requested, nil, 202, "", 303},
		{"paid", bill.Bill{}, refusal(payment.CodeAlreadyPaid, bill.Success), 409, "already_paid", 303},
		{"refused", bill.Bill{}, refusal(payment.CodeCancelRefused, bill.Wait), 409, "cancel_refused", 303},
		{"no store", bill.Bill{}, bill.ErrUnavailable, 503, "unavailable", 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.engine.cancelled, s.engine.cancelErr = c.bill, c.err
			w := s.do(post(billPath+"/cancel", ""))
			wantStatus(t, w, c.status)
			if s.engine.gotReason != bill.CancelBuyer {
				t.Errorf("reason = %s", s.engine.gotReason)
			}
			if c.code != "" {
				wantContains(t, w.Body.String(), `"code":"`+c.code+`"`)
			}
			if c.status != 503 {
				wantContains(t, w.Body.String(), billID)
			}
			browser := s.do(asBrowser(post(billPath+"/cancel", "")))
			wantStatus(t, browser, c.html)
			if c.html == 303 {
				wantHeader(t, browser.Header(), "Location", "../../pay/"+billID)
			}
			wantNot(t, browser.Body.String(), "not been charged")

			byShop := s.do(signed(post("/qlink/orders/O1/cancel", ""), ""))
			wantStatus(t, byShop, c.status)
			if s.engine.gotCode != "O1" {
				t.Errorf("order code = %q", s.engine.gotCode)
			}
		})
	}
}

func TestARefreshAnswersWithTheBill(t *testing.T) {
	s := newSite(t)
	s.engine.refreshed = billIn(bill.Success)
	w := s.do(post(billPath+"/refresh", ""))
	wantStatus(t, w, 200)
	wantContains(t, w.Body.String(), `"status":"SUCCESS"`)
	wantStatus(t, s.do(asBrowser(post(billPath+"/refresh", "a=b"))), 303)
}

func TestAPressWithTooLongABodyIsRefused(t *testing.T) {
	s := newSite(t)
	wantStatus(t, s.do(post(billPath+"/cancel", strings.Repeat("x", 1<<20+1))), 413)
	if s.engine.recorded() != "" {
		t.Error("the engine was called")
	}
}

func TestABrowsersPostMustComeFromThisSiteOrAnAllowedOne(t *testing.T) {
	for _, c := range []struct {
		origin, site string
		ok           bool
	}{
		{"", "", true},
		{"", "same-origin", true},
		{"", "none", true},
		{"", "cross-site", false},
		{"", "same-site", false},
		{"https://shop.example", "", true},
		{"https://shop.example", "same-origin", true},
		{"http://example.com", "same-origin", true}, // the Host of the request
		{"https://SHOP.example:443", "", true},
		{"https://shop.example:8443", "", false},
		{"https://shop.example.evil.example", "", false},
		{"https://evil.example", "", false},
		{"https://evil.example", "same-origin", false},
		{"https://evil.example", "cross-site", false},
		{"null", "", false},
		{"null", "cross-site", false},
		{"null", "same-origin", true},
		{"https://spa.example", "cross-site", true},
		{"https://spa.example", "", true},
		{"http://spa.example", "cross-site", false},
		{"::", "", false},
	} {
		s := newSite(t, func(a *handlers.API) { a.AllowedOrigins = []string{"https://spa.example"} })
		s.engine.refreshed = waitingBill()
		s.engine.chosen, s.engine.retried.Bill = waitingBill(), waitingBill()
		for _, what := range []string{"cancel", "refresh", "choose", "retry"} {
			r := post(billPath+"/"+what, `{"payTypeCode":"ONLINE","payChannelCode":"QRIS"}`)
			r.Header.Set("Content-Type", "application/json")
			setIf(r.Header.Set, "Origin", c.origin)
			setIf(r.Header.Set, "Sec-Fetch-Site", c.site)
			w := s.do(r)
			if (w.Code != 403) != c.ok {
				t.Errorf("Origin %q, Sec-Fetch-Site %q: %d", c.origin, c.site, w.Code)
			}
			if !c.ok && s.engine.recorded() != "" {
				t.Errorf("Origin %q, Sec-Fetch-Site %q: engine was called", c.origin, c.site)
			}
		}
	}
	s := newSite(t)
	r := post(billPath+"/cancel", "")
	r.Header["Origin"] = []string{"https://shop.example", "https://evil.example"}
	wantStatus(t, s.do(r), 403)
}

func setIf(set func(string, string), name, value string) {
	if value != "" {
		set(name, value)
	}
}

func TestAPreflightIsAnsweredForAllowedOriginsAlone(t *testing.T) {
	preflight := func(origin string) *httptest.ResponseRecorder {
		s := newSite(t, func(a *handlers.API) { a.AllowedOrigins = []string{"https://spa.example"} })
		r := httptest.NewRequest(http.MethodOptions, billPath+"/cancel", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		return s.do(r)
	}
	w := preflight("https://spa.example")
	wantStatus(t, w, 204)
	wantHeader(t, w.Header(), "Access-Control-Allow-Origin", "https://spa.example")
	wantHeader(t, w.Header(), "Access-Control-Allow-Methods", "POST")
	wantContains(t, w.Header().Get("Access-Control-Allow-Headers"), "Prefer", "QLink-Signature", "Idempotency-Key")
	w = preflight("https://evil.example")
	wantStatus(t, w, 403)
	wantHeader(t, w.Header(), "Access-Control-Allow-Origin", "")
}

func TestAPreflightOfACheckoutRouteIsAnsweredForAllowedOriginsAndElseTheShops(t *testing.T) {
	for origin, ours := range map[string]bool{"https://spa.example": true, "https://evil.example": false, "": false} {
		s := newSite(t, func(a *handlers.API) { a.AllowedOrigins = []string{"https://spa.example"} })
		r := httptest.NewRequest(http.MethodOptions, "/checkout", nil)
		setIf(r.Header.Set, "Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		w, asked := httptest.NewRecorder(), false
		err := s.Checkout(w, r, func(http.ResponseWriter, *http.Request) error {
			asked = true
			return nil
		})
		if err != nil || asked == ours {
			t.Errorf("%q: the shop was asked %v, %v", origin, asked, err)
		}
		if ours {
			wantStatus(t, w, 204)
			wantHeader(t, w.Header(), "Access-Control-Allow-Origin", origin)
			wantHeader(t, w.Header(), "Access-Control-Allow-Methods", "POST")
		}
	}
}

func TestAnswersMayBeReadByAllowedOriginsAlone(t *testing.T) {
	s := newSite(t, func(a *handlers.API) { a.AllowedOrigins = []string{"https://spa.example"} })
	for origin, allowed := range map[string]string{"https://spa.example": "https://spa.example", "https://evil.example": "", "null": ""} {
		r := get(billPath)
		r.Header.Set("Origin", origin)
		w := s.do(r)
		wantHeader(t, w.Header(), "Access-Control-Allow-Origin", allowed)
		wantHeader(t, w.Header(), "Vary", "Origin")
	}
}
