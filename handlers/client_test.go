package handlers_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

func TestBuyersAreCountedByAddressAndOfIPv6ByNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":                  "192.0.2.7",
		"192.0.2.7:1234":             "192.0.2.7",
		"::ffff:192.0.2.7":           "192.0.2.7",
		"[::ffff:192.0.2.7]:1234":    "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":       "2001:db8:1:2::/64",
		"2001:db8:1:2::":             "2001:db8:1:2::/64",
		"[2001:DB8:1:2::ffff]:65535": "2001:db8:1:2::/64",
		"2001:db8:1:3::1":            "2001:db8:1:3::/64",
		"fe80::1%eth0":               "fe80::/64",
		"::1":                        "::/64",
		"":                           "",
		"@":                          "",
		"/run/site.sock":             "",
		"shop.example:80":            "",
		"192.0.2.7, 192.0.2.8":       "",
	} {
		s := newSite(t, func(api *handlers.API) { api.ClientIP = func(*http.Request) string { return address } })
		s.engine.created = payment.Created{Bill: waitingBill(), Outcome: payment.OutcomeNew}
		if err := s.Checkout(httptest.NewRecorder(), post("/checkout", ""), answerWithOrder(goodOrder)); err != nil {
			t.Fatal(err)
		}
		if before, after := s.engine.gotClient, s.engine.gotHandOver.Client; before != want || after != want {
			t.Errorf("%q is counted as %q before the shop is asked and as %q after, want %q", address, before, after, want)
		}
	}
}

func TestAnOrderThatTheShopsServerSignsIsOfNoBuyersAddress(t *testing.T) {
	s := newSite(t)
	s.engine.created = payment.Created{Bill: waitingBill(), Outcome: payment.OutcomeNew}
	s.do(signed(post("/qlink/bills", goodOrder), goodOrder))
	if client := s.engine.gotHandOver.Client; client != "" || s.engine.recorded() != "create" {
		t.Errorf("client %q, calls %s", client, s.engine.recorded())
	}
}

func TestNoEndpointShowsABuyersAddress(t *testing.T) {
	s := newSite(t)
	b := waitingBill()
	b.Client = "192.0.2.123"
	s.engine.bills[billID] = b
	s.engine.created = payment.Created{Bill: b, Outcome: payment.OutcomeNew}
	s.engine.cancelled, s.engine.refreshed = b, b
	s.engine.order = payment.Order{OpenBill: billID, Bills: []bill.Bill{b}}
	for _, r := range []*http.Request{
		get("/qlink/bills/" + billID),
		asBrowser(get("/qlink/pay/" + billID)),
		post("/qlink/bills/"+billID+"/cancel", ""),
		post("/qlink/bills/"+billID+"/refresh", ""),
		signed(post("/qlink/bills", goodOrder), goodOrder),
		signed(get("/qlink/orders/O1"), ""),
	} {
		w := s.do(r)
		if w.Code >= 300 {
			t.Errorf("%s %s: %d", r.Method, r.URL, w.Code)
		}
		wantNot(t, w.Body.String(), b.Client)
	}
}
