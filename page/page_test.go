package page_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

const (
	id      = "3f2b8c1e-9d47-4a60-8b1f-0c5d7e9a1b2c"
	payload = "00020101021226670016COM.NOBUBANK.WWW01189360050300000879140214844519767362640303UMI5204541153033605405150005802ID5908SHOP ABC6007JAKARTA63044F7B"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newRenderer(t *testing.T, config ...page.Config) *page.Renderer {
	t.Helper()
	r, err := page.New(append(config, page.Config{})[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func paying(change func(*content.Payment)) content.Payment {
	p := content.Payment{
		Bill: bill.Bill{
			ID: id, OrderCode: "O1", Status: bill.Wait, Amount: "1234567.50", Currency: "IDR",
			Action: bill.NewAction(payload), Apply: bill.Applying{Accepted: true, StartedAt: now}, Version: 3,
			CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(time.Hour),
		},
		Merchant: "Shop", ReturnURL: "/orders/1", Refresh: 4500 * time.Millisecond, Now: now,
	}
	if change != nil {
		change(&p)
	}
	return p
}

func draw(t *testing.T, change func(*content.Payment)) string {
	t.Helper()
	document, err := newRenderer(t).Payment(paying(change))
	if err != nil {
		t.Fatal(err)
	}
	return string(document.HTML)
}

func wantContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, textOf(text))
		}
	}
}

func wantNot(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
			t.Errorf("%q must not stand in:\n%s", part, textOf(text))
		}
	}
}

func TestThePageShowsWhatToPayAndHow(t *testing.T) {
	html := draw(t, func(p *content.Payment) {
		p.Details = bill.Details{Description: "Two coffees", Items: []bill.Item{{SKUName: "Coffee", Quantity: "2"}}, Metadata: `{"hidden_key":1}`}
	})
	wantContains(t, html, `<html lang="en" dir="ltr">`, `role="status"`, "Waiting for your payment", "IDR\u00a01,234,567.50", `value="1234567.50"`,
		"Order <bdi>O1</bdi>", "To <bdi>Shop</bdi>", `Pay before <time datetime="2026-11-22T13:00:00Z">2026-11-22 13:00 UTC</time>`,
		`Time left: <b id="left" dir="ltr">1:00:00</b>`, `data-left="3600"`, "<svg", `<noscript><meta http-equiv="refresh" content="5"></noscript>`,
		"Two coffees", "Coffee", "×&nbsp;2", "Test mode", `action="../bills/`+id+`/cancel"`, `action="../bills/`+id+`/refresh"`,
		`href="../bills/`+id+`/qr.png?download"`, `href="/orders/1"`, `data-version="3"`, "SHOP ABC, JAKARTA")
	wantNot(t, html, "hidden_key")
}

func TestALivePageDoesNotSpeakOfTests(t *testing.T) {
	wantNot(t, draw(t, func(p *content.Payment) { p.Bill.LiveMode = true }), "test mode")
}

func TestOnlyWhatCarriesThePagesNonceRuns(t *testing.T) {
	r := newRenderer(t)
	seen := make(map[string]bool)
	for range 3 {
		payment, err := r.Payment(paying(nil))
		if err != nil {
			t.Fatal(err)
		}
		nonces := regexp.MustCompile(`nonce="([A-Z2-7]+)"`).FindAllStringSubmatch(string(payment.HTML), -1)
		if len(nonces) != 2 || nonces[0][1] != nonces[1][1] || len(nonces[0][1]) < 26 || seen[nonces[0][1]] {
			t.Fatalf("nonces: %v", nonces)
		}
		seen[nonces[0][1]] = true
		wantContains(t, payment.SecurityPolicy, "script-src 'nonce-"+nonces[0][1]+"'", "style-src 'nonce-"+nonces[0][1]+"'",
			"default-src 'none'", "connect-src 'self'", "img-src 'self' data:", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'")
		wantNot(t, payment.SecurityPolicy, "unsafe", "*")
		wantNot(t, string(payment.HTML), " style=", " onclick=", " onload=")
	}
}

// story 1, story 5, story 32, story 33
func TestNoStatusTellsTheBuyerToPayAgain(t *testing.T) {
	for _, status := range bill.Statuses() {
		for _, cancelling := range []bool{false, true} {
			html := draw(t, func(p *content.Payment) {
				p.Bill.Status, p.Bill.Cancel.Requested = status, cancelling && !status.Final()
			})
			wantNot(t, textOf(html), "try again", "not successful", "pay again", "start over", "has failed")
			wantContains(t, html, "Back to the shop", `role="status"`)
			if strings.Contains(html, "<svg") != (status == bill.Wait && !cancelling) {
				t.Errorf("%s, cancelling %v: the code is shown or missing wrongly", status, cancelling)
			}
			if strings.Contains(html, `http-equiv="refresh" content="5">`) == status.Final() {
				t.Errorf("%s: reloads wrongly", status)
			}
			if strings.Contains(html, "/cancel") == (status.Final() || cancelling) {
				t.Errorf("%s, cancelling %v: the cancel button is shown or missing wrongly", status, cancelling)
			}
			if strings.Contains(html, "/refresh") == (status == bill.Success || status == bill.Choose) {
				t.Errorf("%s: the check button is shown or missing wrongly", status)
			}
		}
	}
}

func TestAPageThatDoesNotKnowItsOutcomeOnlyWaits(t *testing.T) {
	for name, change := range map[string]func(*content.Payment){
		"created":     func(p *content.Payment) { p.Bill.Status, p.Bill.Action = bill.Created, bill.Action{} },
		"action lost": func(p *content.Payment) { p.Bill.Apply.Accepted, p.Bill.Action = false, bill.Action{} },
	} {
		html := draw(t, change)
		if !strings.Contains(html, "Preparing your payment") {
			t.Errorf("%s:\n%s", name, html)
		}
		wantNot(t, textOf(html), "fail", "error", "not been charged")
	}
	slow := draw(t, func(p *content.Payment) {
		p.Bill.Status, p.Bill.Action, p.Now = bill.Created, bill.Action{}, now.Add(time.Minute)
	})
	wantContains(t, slow, "The payment provider is not answering", "do not order or pay a second time")
	wantNot(t, textOf(slow), "fail", "error", "not been charged")
}

func TestAPageAsksAgainForWhatChangesWithTimeAlone(t *testing.T) {
	wantContains(t, draw(t, func(p *content.Payment) {
		p.Bill.Status, p.Bill.Action, p.Now = bill.Created, bill.Action{}, now.Add(10*time.Second)
	}), `data-again="21"`)
	wantContains(t, draw(t, func(p *content.Payment) { p.Bill.Status = bill.Choose }), `data-again="5"`)
	wantNot(t, draw(t, func(p *content.Payment) {
		p.Bill.Status, p.Ways = bill.Choose, []content.Way{{PayType: "ONLINE", PayChannel: "QRIS", Name: "QRIS"}}
	}), "data-again=")
	wantNot(t, draw(t, nil), "data-again=")
}

// textOf is what of a page is neither style nor script nor drawing.
func textOf(html string) string {
	return regexp.MustCompile(`(?s)<(style|script)[ >].*?</(style|script)>|<path[^>]*>`).ReplaceAllString(html, "")
}

func TestAPaidPageSaysSoAndLeadsBack(t *testing.T) {
	html := draw(t, func(p *content.Payment) {
		p.Bill.Status, p.Bill.PayTime = bill.Success, time.Date(2026, 11, 22, 20, 5, 0, 0, time.FixedZone("", 8*3600))
	})
	wantContains(t, html, "Paid – thank you", `Paid <time datetime="2026-11-22T12:05:00Z">2026-11-22 12:05 UTC</time>`, `id="back" href="/orders/1" target="_top">Back to the shop</a>`,
		`<noscript><meta http-equiv="refresh" content="5; url=/orders/1"></noscript>`, "You are being taken back", `data-back="5"`)
	wantNot(t, html, "<form", "Pay before")
	wantContains(t, draw(t, func(p *content.Payment) { p.Bill.Status, p.Bill.RefundDue = bill.Success, true }), "refund")
	wantContains(t, draw(t, func(p *content.Payment) { p.Bill.Status, p.Bill.LatePayment = bill.Success, true }), "after the time to pay was over")
}

func TestAPaymentOfYesterdayLeadsNobodyAway(t *testing.T) {
	html := draw(t, func(p *content.Payment) { p.Bill.Status, p.Now = bill.Success, now.Add(24*time.Hour) })
	wantContains(t, html, "Paid – thank you", `href="/orders/1"`)
	wantNot(t, html, "http-equiv", "being taken back", "data-back=")
}

func TestEachKindOfActionHasItsForm(t *testing.T) {
	const code = `class="code"`
	for _, c := range []struct {
		value string
		live  bool
		want  string
	}{
		{payload, true, "<svg"},
		{"https://pay.example/a?b=1&c=2", true, `href="https://pay.example/a?b=1&amp;c=2" rel="noreferrer" target="_top">Continue to <bdi>pay.example</bdi></a>`},
		{"http://pay.example/a", true, code},
		{"http://pay.example/a", false, code},
		{"http://127.0.0.1:8081/a", false, "Continue to <bdi>127.0.0.1:8081</bdi>"},
		{"http://[::1]:8081/a", false, "Continue to <bdi>[::1]:8081</bdi>"},
		{"http://localhost/a", false, "Continue to <bdi>localhost</bdi>"},
		{"http://localhost/a", true, code},
		{"http://localhost.evil.example/a", false, code},
		{"https://shop.example@evil.example/", true, code},
		{"gojek://gopay/x?y=1", true, `href="gojek://gopay/x?y=1" rel="noreferrer" target="_top">Open the app to pay</a>`},
		{"8808123456789012", true, `value="8808123456789012"><span>8808</span><span>1234</span><span>5678</span><span>9012</span></data>`},
		{"12345", true, `<span>12345</span>`},
		{"javascript:alert(1)", true, code},
		{"JaVaScRiPt:alert(1)", true, code},
		{"data:text/html,<script>x</script>", true, code},
		{`"><script>alert(1)</script>`, true, code},
		{"000201" + strings.Repeat("9", 9000), true, code},
	} {
		html := draw(t, func(p *content.Payment) { p.Bill.Action, p.Bill.LiveMode = bill.NewAction(c.value), c.live })
		wantContains(t, html, c.want)
		wantNot(t, textOf(html), "<script", `href="javascript`, `href="data:text`, "ZgotmplZ")
	}
}

func TestAStoredKindIsNotBelieved(t *testing.T) {
	html := draw(t, func(p *content.Payment) {
		p.Bill.Action = bill.Action{Kind: bill.ActionDeepLink, Value: "javascript:alert(1)"}
	})
	wantNot(t, html, `href="javascript`)
}

func TestHostileTextOfAnOrderStaysText(t *testing.T) {
	const hostile = `"><img src=x onerror=alert(1)><script>alert(1)</script>`
	html := draw(t, func(p *content.Payment) {
		p.Merchant, p.Bill.OrderCode = hostile, hostile
		p.Details = bill.Details{Description: hostile, Items: []bill.Item{{SKUName: hostile, Quantity: hostile}}}
		p.ReturnURL = "javascript:alert(1)"
	})
	wantNot(t, textOf(html), "<img src=x", "<script", `href="javascript`, "javascript:")
	document, err := newRenderer(t).Failure(content.Failure{Title: hostile, Detail: hostile, PayURL: `/x"><script>`, ReturnURL: "javascript:alert(1)", Refresh: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	wantNot(t, textOf(string(document.HTML)), "<img", "<script", "javascript:")
	svg, err := newRenderer(t).QRSVG(payload, &content.Caption{Merchant: hostile, OrderCode: hostile})
	if err != nil {
		t.Fatal(err)
	}
	wantNot(t, string(svg), "<img", "<script")
}

func TestAFailureSaysThatNothingWasChargedOnlyWhereTold(t *testing.T) {
	for _, certain := range []bool{false, true} {
		document, err := newRenderer(t).Failure(content.Failure{Title: "No", Detail: "Why.", NotCharged: certain, ReturnURL: "/"})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(document.HTML), "you have not been charged") != certain {
			t.Errorf("certain %v:\n%s", certain, document.HTML)
		}
		wantNot(t, string(document.HTML), `http-equiv="refresh"`)
	}
}
