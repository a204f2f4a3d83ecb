package page_test

import (
	"crypto/sha256"
	"encoding/base64"
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
	payload = "00020101021226670016COM.NOBUBANK.WWW01189360050300000879140214844519767362640303UMI5204541153033605405150005802ID5908SHOP ABC6007JAKARTA6304A1B2"
)

func newRenderer(t *testing.T) *page.Renderer {
	t.Helper()
	r, err := page.New()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func paying(change func(*content.Payment)) content.Payment {
	p := content.Payment{
		Bill: bill.Bill{
			ID: id, OrderCode: "O1", Status: bill.Wait, Amount: "1234567.50", Currency: "IDR",
			Action: bill.NewAction(payload), Apply: bill.Applying{Accepted: true}, ExpiresAt: time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC),
		},
		Merchant: "Shop", ReturnURL: "/orders/1", Refresh: 4500 * time.Millisecond,
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
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

func wantNot(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
			t.Errorf("%q must not stand in:\n%s", part, text)
		}
	}
}

func TestThePageShowsWhatToPayAndHow(t *testing.T) {
	html := draw(t, func(p *content.Payment) {
		p.Details = bill.Details{Description: "Two coffees", Items: []bill.Item{{SKUName: "Coffee", Quantity: "2"}}, Metadata: `{"hidden":1}`}
	})
	wantContains(t, html, `<html lang="en">`, `role="status"`, "Waiting for your payment", "IDR\u00a01,234,567.50", `value="1234567.50"`, "Order O1", "To Shop",
		"Pay before 22 November 2026, 13:00 UTC", "<svg", `http-equiv="refresh" content="5"`, "Two coffees", "Coffee", "× 2", "Test mode",
		`action="../bills/`+id+`/cancel"`, `action="../bills/`+id+`/refresh"`, `href="../bills/`+id+`/qr.png?download"`, `href="/orders/1"`)
	wantNot(t, html, "hidden", "<script")
}

func TestALivePageDoesNotSpeakOfTests(t *testing.T) {
	wantNot(t, draw(t, func(p *content.Payment) { p.Bill.LiveMode = true }), "test mode")
}

func TestTheStyleIsTheOneThatThePolicyAllows(t *testing.T) {
	r := newRenderer(t)
	payment, err := r.Payment(paying(nil))
	if err != nil {
		t.Fatal(err)
	}
	failure, err := r.Failure(content.Failure{Title: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []content.Document{payment, failure} {
		styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllSubmatch(document.HTML, -1)
		if len(styles) != 1 {
			t.Fatalf("%d style elements", len(styles))
		}
		sum := sha256.Sum256(styles[0][1])
		wantContains(t, document.SecurityPolicy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'",
			"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'")
		wantNot(t, string(document.HTML), " style=")
	}
}

// story 1, story 5, story 32, story 33
func TestNoStatusTellsTheBuyerToPayAgain(t *testing.T) {
	for _, status := range bill.Statuses() {
		for _, cancelling := range []bool{false, true} {
			html := draw(t, func(p *content.Payment) {
				p.Bill.Status, p.Bill.Cancel.Requested = status, cancelling && !status.Final()
			})
			wantNot(t, html, "try again", "not successful", "pay again", "start over", "has failed")
			wantContains(t, html, "Back to the shop", `role="status"`)
			if strings.Contains(html, "<svg") != (status == bill.Wait && !cancelling) {
				t.Errorf("%s, cancelling %v: the code is shown or missing wrongly", status, cancelling)
			}
			if strings.Contains(html, `http-equiv="refresh"`) == status.Final() {
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
		wantNot(t, html, "fail", "error", "not been charged")
	}
}

func TestAPaidPageSaysSoAndLeadsBack(t *testing.T) {
	html := draw(t, func(p *content.Payment) {
		p.Bill.Status, p.Bill.PayTime = bill.Success, time.Date(2026, 11, 22, 20, 5, 0, 0, time.FixedZone("", 8*3600))
	})
	wantContains(t, html, "Paid – thank you", "Paid 22 November 2026, 12:05 UTC", `<a class="button" href="/orders/1">Back to the shop</a>`)
	wantNot(t, html, "<form", "Pay before")
	wantContains(t, draw(t, func(p *content.Payment) { p.Bill.Status, p.Bill.RefundDue = bill.Success, true }), "refund")
}

func TestEachKindOfActionHasItsForm(t *testing.T) {
	const code = `class="code"`
	for _, c := range []struct {
		value string
		live  bool
		want  string
	}{
		{payload, true, "<svg"},
		{"https://pay.example/a?b=1&c=2", true, `href="https://pay.example/a?b=1&amp;c=2" rel="noreferrer">Continue to pay.example</a>`},
		{"http://pay.example/a", true, code},
		{"http://pay.example/a", false, code},
		{"http://127.0.0.1:8081/a", false, "Continue to 127.0.0.1:8081"},
		{"http://[::1]:8081/a", false, "Continue to [::1]:8081"},
		{"http://localhost/a", false, "Continue to localhost"},
		{"http://localhost/a", true, code},
		{"http://localhost.evil.example/a", false, code},
		{"https://shop.example@evil.example/", true, code},
		{"gojek://gopay/x?y=1", true, `href="gojek://gopay/x?y=1" rel="noreferrer">Open the app to pay</a>`},
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
		wantNot(t, html, "<script", `href="javascript`, `href="data`, "ZgotmplZ")
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
	wantNot(t, html, "<img", "<script", `href="javascript`)
	document, err := newRenderer(t).Failure(content.Failure{Title: hostile, Detail: hostile, PayURL: `/x"><script>`, ReturnURL: "javascript:alert(1)", Refresh: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	wantNot(t, string(document.HTML), "<img", "<script", `href="javascript`)
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
