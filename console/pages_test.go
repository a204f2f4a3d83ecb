package console_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/console"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/payment/paymenttest"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

func TestNobodyIsServedWhereNobodyIsSignedIn(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	path, values := o.form("/bills/"+b.ID, "/cancel")
	o.user = ""
	for _, page := range []string{"/", "/bills", "/bills/" + b.ID, "/find?name=A-1", "/notifications", "/orphans", "/nowhere"} {
		o.get(page).want(403, "basic_auth", "unprotected").lacks("A-1")
	}
	o.send(o.request(http.MethodPost, path, values)).want(403, "basic_auth")
	if now := o.read(b); now.Status != bill.Wait {
		t.Errorf("nobody cancelled it: %s", now.Status)
	}
}

func TestAnUnprotectedConsoleServesAnybodyUnderHisAddress(t *testing.T) {
	o := open(t, func(c *console.Config) { c.Unprotected = true })
	o.user = ""
	b := o.sell("A-1", "1")
	o.press("/bills/"+b.ID, "/cancel").want(200, "The bill has ended", "Nobody is signed in")
	if e := o.last(b, bill.EventCancelAsked); e.Actor != "console 192.0.2.7" {
		t.Errorf("it was %q", e.Actor)
	}
}

func TestAPageForbidsEverythingButItself(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	for _, page := range []string{"/", "/bills", "/bills/" + b.ID, "/notifications", "/orphans", "/nowhere", "/bills?statsu=x"} {
		r := o.get(page)
		policy := r.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "style-src 'sha256-", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: %q lacks %s", page, policy, want)
			}
		}
		for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"} {
			if got := r.header.Get(header); got != want {
				t.Errorf("%s: %s is %q", page, header, got)
			}
		}
		if found := regexp.MustCompile(`<script|<[^>]* (style|on[a-z]+)=`).FindString(r.text); found != "" {
			t.Errorf("%s holds %s", page, found)
		}
	}
}

func TestAddressesAndMethodsThatAreNotThereAreSaidSo(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	for _, path := range []string{"/nowhere", "/bills/", "/bills/" + b.ID + "/explode", "/bills/" + b.ID + "/cancel/x", "/bills/nobody", "//bills"} {
		o.get(path).want(404)
	}
	if r := o.get("/bills/" + b.ID + "/cancel").want(405); r.header.Get("Allow") != "POST" {
		t.Errorf("Allow %q", r.header.Get("Allow"))
	}
	if r := o.send(o.request(http.MethodPost, "/bills", nil)).want(405); r.header.Get("Allow") != "GET" {
		t.Errorf("Allow %q", r.header.Get("Allow"))
	}
	o.send(o.request(http.MethodDelete, "/bills", nil)).want(405)
	o.get("/?range=1y").want(400, "no range")
	o.get("/bills?statsu=x").want(400, "unknown parameter")
	o.get("/notifications?x=y").want(400)
}

func TestBillsAreFilteredAndTurnedOverPageByPage(t *testing.T) {
	o := open(t)
	for i := range 120 {
		o.sell(fmt.Sprintf("A-%03d", i), "1")
	}
	late := o.sell("B-1", "15000.50")
	o.report(late, "FAIL")
	o.report(late, "SUCCESS")
	o.get("/bills?order=&status=&account=&shop=&amount=&from=&to=").want(200, "B-1", "A-119").lacks("A-000")
	o.get("/bills?late=true").want(200, "B-1", "IDR\u00a015,000.50", "paid late").lacks("A-1")
	o.get("/bills?amount=15000.5").want(200, "B-1").lacks("A-1")
	o.get("/bills?order=C").want(200, "There is no such bill")
	wrong := o.get("/bills?from=yesterday&order=A-").want(400, "from is")
	if !strings.Contains(wrong.text, `value="yesterday"`) || !strings.Contains(wrong.text, `value="A-"`) {
		t.Error("what was asked for is gone from the form")
	}
	seen, link := 0, "/bills?order=A-&status="
	for link != "" {
		page := o.get(link).want(200)
		seen += strings.Count(page.text, `<th scope="row">`)
		next := regexp.MustCompile(`<a href="([^"]*)">Next page`).FindStringSubmatch(page.text)
		if next == nil {
			break
		}
		link = o.resolve(link, strings.ReplaceAll(next[1], "&amp;", "&"))
	}
	if seen != 120 {
		t.Errorf("%d bills on all pages", seen)
	}
	if !strings.Contains(link, "order=A-") {
		t.Errorf("the next page has forgotten the filter: %s", link)
	}
}

func TestANameLeadsToItsBill(t *testing.T) {
	o := open(t)
	b := o.sell("A/1 ü", "1")
	for _, name := range []string{b.ID, "A/1 ü", b.BillCode, "  " + b.ID + " "} {
		r := o.get("/find?name=" + url.QueryEscape(name)).want(303)
		o.get(o.resolve("/find", r.header.Get("Location"))).want(200, "A/1 ü", b.BillCode)
	}
	o.get("/find?name=A%2F1").want(404, "No bill has", "begins like that")
	o.get("/find?name=").want(303)
	o.scope.Shop = "other"
	o.sell("A/1 ü", "2")
	both := o.get("/find?name="+url.QueryEscape("A/1 ü")).want(200, "several orders", "other")
	if !strings.Contains(both.text, "bills/"+b.ID) {
		t.Errorf("%s", both.text)
	}
}

func TestABillIsShownWithAllThatHappened(t *testing.T) {
	o := open(t)
	b := o.sellWith("A-1", "15000", bill.Details{
		Description: "Breakfast", Metadata: `{"table":"7"}`, ReturnURL: "/thanks",
		Items: []bill.Item{{SKUCode: "K1", SKUName: "Kopi", Quantity: "2"}},
	})
	o.report(b, "FAIL")
	o.report(b, "SUCCESS")
	o.get("/bills/"+b.ID).want(200,
		"IDR\u00a015,000", b.BillCode, "ONLINE/QRIS", "paid late",
		"The shop handed the order over", "The gateway made the payment", "The gateway says that the payment failed", "signed webhook",
		"SHA-256 of its body: hash", "waiting for the buyer → failed", "failed → paid",
		"The shop is to be told", "bill.late_payment", "https://shop.example/told",
		"Breakfast", "Kopi", "K1", `{"table":"7"}`, "/thanks")
}

func TestAttemptsOfOneOrderLeadToEachOther(t *testing.T) {
	o := open(t)
	first := o.sell("A-1", "1")
	o.report(first, "FAIL")
	second := o.sell("A-1", "1")
	page := o.get("/bills/"+first.ID).want(200, "Other attempts of the order", "Attempt 2")
	if !strings.Contains(page.text, `href="../bills/`+second.ID+`"`) {
		t.Error("no link to the second attempt")
	}
	o.report(second, "SUCCESS")
	o.get("/bills/"+first.ID).want(200, "The order is paid, by another attempt")
	o.report(first, "SUCCESS")
	o.get("/bills/"+first.ID).want(200, "one of the payments is to be given back", "refund due")
}

func TestAnOperatorAsksAndCancelsUnderHisName(t *testing.T) {
	o := open(t)
	paid := o.sell("A-1", "1")
	o.gateway.Set(paid.ID, "SUCCESS")
	o.press("/bills/"+paid.ID, "/refresh").want(200, "The gateway was asked", "by siti")
	if now := o.read(paid); now.Status != bill.Success {
		t.Errorf("paid at the gateway, and %s", now.Status)
	}
	o.get("/bills/"+paid.ID).want(200).lacks("Ask the gateway now", "Cancel this bill", "End it by force")

	open := o.sell("A-2", "1")
	o.press("/bills/"+open.ID, "/cancel").want(200, "The bill has ended", "by siti", "Its end was asked for by an operator")
	if now, e := o.read(open), o.last(open, bill.EventCancelAsked); now.Status != bill.Canceled || e.Actor != "siti" {
		t.Errorf("%s by %q", now.Status, e.Actor)
	}

	stubborn := o.sell("A-3", "1")
	o.gateway.Become(paymenttest.RefusesCancel)
	o.press("/bills/"+stubborn.ID, "/cancel").want(200, "The gateway did not cancel the bill")
	o.gateway.Become(paymenttest.Down)
	o.press("/bills/"+stubborn.ID, "/cancel").want(200, "The cancel is asked for", "Its end is asked for")
}

func TestForceWantsAReasonAndIsWrittenDown(t *testing.T) {
	o := open(t)
	o.gateway.Become(paymenttest.Down)
	b := o.sell("A-1", "1")
	o.press("/bills/"+b.ID, "/force", "reason", " ").want(200, "a reason or note is wanted")
	o.press("/bills/"+b.ID, "/force", "reason", strings.Repeat("ü", 400)).want(200, "a reason or note is wanted")
	if now := o.read(b); now.Status != bill.Created {
		t.Fatalf("without a reason: %s", now.Status)
	}
	o.press("/bills/"+b.ID, "/force", "reason", "QLink says so").want(200, "ended by force", "note: QLink says so", "by siti")
	if now, e := o.read(b), o.last(b, bill.EventForced); now.Status != bill.Canceled || e.Note != "QLink says so" || e.Actor != "siti" {
		t.Errorf("%s, %+v", now.Status, e)
	}
}

func TestAStuckBillIsSeenToWithANote(t *testing.T) {
	o := open(t)
	o.gateway.Become(paymenttest.Down)
	b := o.sell("A-1", "1")
	o.get("/bills?stuck=true").want(200, "There is no such bill")
	o.lead = bill.StuckAfter + time.Minute
	o.get("/bills?stuck=true").want(200, "A-1", "stuck")
	o.get("/").want(200, "Stuck 1")
	o.press("/bills/"+b.ID, "/resolve", "note", "asked QLink").want(200, "Noted.", "note: asked QLink", "by siti")
	o.get("/bills?stuck=true").want(200, "There is no such bill")
}

func TestAnActOnABillThatHasChangedMeanwhileIsNotDone(t *testing.T) {
	o := open(t)
	o.gateway.Become(paymenttest.Down)
	b := o.sell("A-1", "1")
	for _, act := range []string{"/cancel", "/force", "/resolve"} {
		path, values := o.form("/bills/"+b.ID, act)
		values.Set("reason", "x")
		values.Set("note", "x")
		values.Set("version", "99")
		r := o.send(o.request(http.MethodPost, path, values)).want(303)
		o.get(o.resolve(path, r.header.Get("Location"))).want(200, "has changed since you looked at it")
	}
	if now := o.read(b); now.Status != bill.Created || now.Cancel.Requested || !now.ResolvedAt.IsZero() {
		t.Errorf("%+v", now)
	}
}

func TestAShopIsToldAgain(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	o.get("/bills/" + b.ID).lacks("Tell the shop again")
	o.report(b, "SUCCESS")
	o.press("/bills/"+b.ID, "/redeliver").want(200, "The shop is told again", "by siti")
	o.get("/notifications?state=pending").want(200, "A-1", "to be delivered", "bill.paid")
	o.get("/notifications").want(200, "There is none")
}

// giveUp makes the notification about a bill dead.
func (o *office) giveUp(b bill.Bill) {
	o.t.Helper()
	told, err := o.store.Notifications(o.t.Context(), b.ID)
	if err != nil || len(told) == 0 {
		o.t.Fatal("nothing to give up: ", err)
	}
	n := told[0].Tried(bill.Try{At: time.Now(), Took: int64(30 * time.Millisecond), Status: 500, Error: "the shop answered 500"})
	n.State, n.Due, n.Tries, n.TriedAt, n.LastError = bill.Dead, time.Time{}, 9, time.Now(), "the shop answered 500"
	n.Revision++
	if err := o.store.Commit(o.t.Context(), bill.Change{Notifications: []bill.Notification{n}}); err != nil {
		o.t.Fatal(err)
	}
}

func TestWhatWasGivenUpIsToldAgainAtOnce(t *testing.T) {
	o := open(t)
	for i := range 3 {
		b := o.sell(fmt.Sprintf("A-%d", i), "1")
		o.report(b, "SUCCESS")
		o.giveUp(b)
		o.get("/bills/"+b.ID).want(200, "The shop could not be told", "why: the shop answered 500", "HTTP status: 500")
	}
	o.get("/notifications").want(200, "A-0", "A-2", "given up 9 tries", "the shop answered 500")
	o.get("/").want(200, "Notifications given up 3")
	o.press("/notifications", "/notifications/redeliver", "since", "tomorrow").want(400, "since must be")
	o.press("/notifications", "/notifications/redeliver", "since", "24h").want(200, "told again: 3.", "There is none")
	o.get("/notifications?state=pending").want(200, "A-0", "A-1", "A-2")
}

func TestAnOrphanIsShownUntilItIsSeenTo(t *testing.T) {
	o := open(t)
	_ = o.engine.Settle(t.Context(), []*payment.Account{o.scope.Account}, qlink.Notification{
		TradeUUID: `stray/"<i>`, OrderCode: "O-9", BillCode: "B-9", Status: qlink.ParseStatus("SUCCESS"),
	}, "hash")
	o.get("/").want(200, "Orphans 1")
	o.get("/orphans").want(200, "O-9", "B-9", `stray/"<i>`)
	o.press("/orphans", "/orphans/resolve", "note", "").want(200, "a reason or note is wanted", "O-9")
	o.press("/orphans", "/orphans/resolve", "note", "paid back").want(200, "Noted.", "There is none")
	o.get("/orphans?resolved=true").want(200, "O-9", "paid back", "by siti")
	path, values := "/orphans/resolve", url.Values{"id": {"nobody"}, "note": {"x"}}
	_, held := o.form("/bills/"+o.sell("A-1", "1").ID, "/cancel")
	values.Set("token", held.Get("token"))
	o.send(o.request(http.MethodPost, path, values)).want(404, "no such orphan")
}

func TestAConsoleForReadingAloneDoesNothing(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	path, values := o.form("/bills/"+b.ID, "/cancel")
	reader := open(t, func(c *console.Config) { c.Payments, c.ReadOnly = o.engine, true })
	page := reader.get("/bills/"+b.ID).want(200, "A-1", "for reading alone").lacks("What can be done")
	if strings.Contains(page.text, `method="post"`) || strings.Contains(page.text, "token") {
		t.Error("there is a form")
	}
	reader.send(reader.request(http.MethodPost, path, values)).want(403, "for reading alone")
	if now := o.read(b); now.Status != bill.Wait {
		t.Errorf("%s", now.Status)
	}
}

func TestAFaultIsSaidWithoutItsSecrets(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		says   string
	}{
		{fmt.Errorf("open /var/lib/x: %w", bill.ErrUnavailable), 503, "does not answer now"},
		{errors.New("panic at /var/lib/x"), 500, "log says what happened"},
	} {
		o := open(t, func(cfg *console.Config) { cfg.Payments = broken{cfg.Payments, c.err} })
		o.get("/").want(c.status, c.says).lacks("/var/lib")
	}
}

func TestAPageSaysNoNoticeButItsOwn(t *testing.T) {
	o := open(t)
	o.get("/bills?said=resolved").want(200, "Noted.")
	o.get("/bills?said=%3Cb%3Ehacked&n=1").want(200).lacks("hacked")
	o.get("/notifications?said=dead_again&n=hacked").want(200).lacks("hacked", "told again:")
	o.get("/notifications?said=dead_again&n=12").want(200, "told again: 12.")
}
