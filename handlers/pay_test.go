package handlers_test

import (
	"bytes"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

func TestThePaymentPageIsServedUnderItsPolicy(t *testing.T) {
	s := newSite(t)
	w := s.do(asBrowser(get("/qlink/pay/" + billID)))
	wantStatus(t, w, 200)
	wantHeader(t, w.Header(), "Content-Type", "text/html; charset=utf-8")
	wantHeader(t, w.Header(), "Cache-Control", "no-store")
	wantHeader(t, w.Header(), "Referrer-Policy", "same-origin")
	wantContains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")
	wantContains(t, w.Body.String(), "15,000", "O1", "<svg", "../bills/"+billID+"/cancel", "../bills/"+billID+"/refresh", "To <bdi>shop.example</bdi>", `href="/"`)
}

func TestTheWayBackIsTheOrdersOrTheConfiguredOne(t *testing.T) {
	s := newSite(t, func(a *handlers.API) { a.ReturnURL = "https://shop.example/done?o={order_code}&b={bill}" })
	b := waitingBill()
	b.OrderCode = `A&b=x "1+ü`
	s.engine.bills[billID] = b
	wantContains(t, s.do(get("/qlink/pay/"+billID)).Body.String(), `href="https://shop.example/done?o=A%26b%3Dx%20%221%2B%C3%BC&amp;b=`+billID+`"`)
	s.engine.details.ReturnURL = "/orders/7"
	wantContains(t, s.do(get("/qlink/pay/"+billID)).Body.String(), `href="/orders/7"`)
}

func TestThePageKnowsWhatTheOrderHasBesidesThisBill(t *testing.T) {
	const newer = "11111111-2222-4333-8444-555555555555"
	s := newSite(t, func(a *handlers.API) { a.Retry = time.Hour })
	s.engine.bills[billID] = billIn(bill.Expired)
	s.engine.shown = payment.Showing{Newer: newer}
	wantContains(t, s.do(get("/qlink/pay/"+billID)).Body.String(), `<a href="`+newer+`">Go to the newer payment</a>`)
	s.engine.shown = payment.Showing{Newer: newer, PaidBill: newer}
	wantContains(t, s.do(get("/qlink/pay/"+billID+"?lang=en")).Body.String(), `<a href="`+newer+`?lang=en">See that payment</a>`)
	s.engine.shown = payment.Showing{MayRetry: true}
	wantContains(t, s.do(get("/qlink/pay/"+billID)).Body.String(), `action="../bills/`+billID+`/retry"`)
	if s.engine.gotWithin != time.Hour {
		t.Errorf("retry within %v", s.engine.gotWithin)
	}
}

func TestThePageOffersTheWaysToPay(t *testing.T) {
	s := newSite(t)
	s.engine.bills[billID] = billIn(bill.Choose)
	s.engine.ways = []payment.Way{{PayType: "ONLINE", PayChannel: "DANA", Name: "Dana <wallet>"}, {PayType: "ONLINE", PayChannel: "OVO"}, {PayType: "SCAN", PayChannel: "OVO", TypeName: "Scan"}}
	html := s.do(get("/qlink/pay/" + billID)).Body.String()
	wantContains(t, html, "Dana &lt;wallet&gt;</bdi></button>", "<bdi>OVO</bdi> · <bdi>ONLINE</bdi>", "<bdi>OVO</bdi> · <bdi>Scan</bdi>", `value="SCAN"`)
	s.engine.ways, s.engine.waysErr = nil, bill.ErrUnavailable
	html = s.do(get("/qlink/pay/" + billID)).Body.String()
	wantContains(t, html, "cannot be shown right now", `http-equiv="refresh"`)
	wantNot(t, html, "/choose")
}

func TestAFormKeepsTheLanguageOfItsPage(t *testing.T) {
	s := newSite(t)
	s.engine.refreshed = waitingBill()
	w := s.do(asBrowser(post(billPath+"/refresh?lang=zh-Hant", "")))
	wantStatus(t, w, 303)
	wantHeader(t, w.Header(), "Location", "../../pay/"+billID+"?lang=zh-Hant")
	w = s.do(asBrowser(post(billPath+"/refresh?lang=%0d%0aX:%20y%26", "")))
	wantHeader(t, w.Header(), "Location", "../../pay/"+billID+"?lang=%0D%0AX%3A+y%26")
}

func TestAPageThatDoesNotExistIsAPageForABrowser(t *testing.T) {
	s := newSite(t)
	w := s.do(asBrowser(get("/qlink/pay/00000000-0000-0000-0000-000000000000")))
	wantStatus(t, w, 404)
	wantContains(t, w.Body.String(), "<html", "Not found")
	wantNot(t, w.Body.String(), "not been charged")
}

func TestTheQRCodeIsServedAsAPicture(t *testing.T) {
	s := newSite(t)
	svg := s.do(get(billPath + "/qr.svg"))
	wantStatus(t, svg, 200)
	wantHeader(t, svg.Header(), "Content-Type", "image/svg+xml")
	wantHeader(t, svg.Header(), "Content-Security-Policy", "default-src 'none'; sandbox")
	wantNot(t, svg.Body.String(), "<text", "<script")
	picture := s.do(get(billPath + "/qr.png?download"))
	wantStatus(t, picture, 200)
	wantHeader(t, picture.Header(), "Content-Type", "image/png")
	wantHeader(t, picture.Header(), "Content-Disposition", `attachment; filename="qr-`+billID+`.png"`)
	if _, err := png.Decode(bytes.NewReader(picture.Body.Bytes())); err != nil {
		t.Error(err)
	}
	wantContains(t, s.do(get(billPath+"/qr.svg?download")).Body.String(), ">shop.example<", "15,000", "Order O1", "Pay before 2026-11-22 13:00 UTC")
}

func TestWhatIsNotAQRCodeIsNotFound(t *testing.T) {
	s := newSite(t)
	for _, value := range []string{"https://pay.example/x", "gojek://pay", "8808123456789012", "", "000201" + strings.Repeat("9", 9000)} {
		b := waitingBill()
		b.Action = bill.NewAction(value)
		s.engine.bills[billID] = b
		for _, kind := range []string{"svg", "png"} {
			w := s.do(get(billPath + "/qr." + kind + "?download"))
			wantStatus(t, w, 404)
			wantHeader(t, w.Header(), "Content-Type", "application/problem+json")
			wantHeader(t, w.Header(), "Content-Disposition", "")
		}
	}
}

func TestLinksFollowTheRequestWhereNoPublicURLIsSet(t *testing.T) {
	s := newSite(t, func(a *handlers.API) { a.PublicURL = "" })
	wantContains(t, s.do(get(billPath)).Body.String(), `"payUrl":"http://example.com/qlink/pay/`)
	s = newSite(t, func(a *handlers.API) {
		a.PublicURL = ""
		a.BaseURL = func(*http.Request) string { return "https://shop.example/sub" }
	})
	wantContains(t, s.do(get(billPath)).Body.String(), `"payUrl":"https://shop.example/sub/qlink/pay/`)
	s = newSite(t, func(a *handlers.API) { a.PublicURL, a.Prefix = "https://shop.example/sub/", "/pay-here" })
	wantContains(t, s.do(get(billPath)).Body.String(), `"payUrl":"https://shop.example/sub/pay-here/pay/`)
}

func TestAHandlerIsNotBuiltFromHalfASetup(t *testing.T) {
	for name, change := range map[string]func(*handlers.API){
		"no engine":                func(a *handlers.API) { a.Payments = nil },
		"no account":               func(a *handlers.API) { a.Scope.Account = nil },
		"no page":                  func(a *handlers.API) { a.Page = nil },
		"a prefix without slash":   func(a *handlers.API) { a.Prefix = "qlink" },
		"a prefix with two":        func(a *handlers.API) { a.Prefix = "/qlink/" },
		"an empty secret":          func(a *handlers.API) { a.APISecrets = []string{"a", ""} },
		"a public path":            func(a *handlers.API) { a.PublicURL = "/shop" },
		"a public query":           func(a *handlers.API) { a.PublicURL = "https://shop.example?a" },
		"a script to return to":    func(a *handlers.API) { a.ReturnURL = "javascript:alert(1)" },
		"another host to return":   func(a *handlers.API) { a.ReturnURL = "//evil.example" },
		"an origin with a path":    func(a *handlers.API) { a.AllowedOrigins = []string{"https://a.example/x"} },
		"an origin without any":    func(a *handlers.API) { a.AllowedOrigins = []string{"*"} },
		"an origin that is no URL": func(a *handlers.API) { a.AllowedOrigins = []string{"https://%zz"} },
	} {
		api := handlers.API{Payments: &engine{}, Scope: payment.Scope{Account: &payment.Account{}}, Page: pages(t)}
		if _, err := handlers.New(api); err != nil {
			t.Fatal(err)
		}
		change(&api)
		if _, err := handlers.New(api); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
