package integration

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// stopwatch notes, in the page, when its heading changes.
const stopwatch = `window.changes = []; new MutationObserver(() => {
	const title = document.querySelector("h1").textContent;
	const last = window.changes.at(-1);
	if (!last || last[0] != title) window.changes.push([title, String(Date.now())]);
}).observe(document.body, {childList: true, subtree: true}); "noting"`

// shownAt is when the page has shown a heading that matches.
func (b *tab) shownAt(pattern string) time.Time {
	b.t.Helper()
	b.sees(pattern)
	changes := evaluate[[][]string](b, `window.changes`)
	if len(changes) == 0 {
		b.t.Fatal("the page was loaded again: it did not change by itself")
	}
	var ms int64
	if _, err := fmt.Sscan(changes[len(changes)-1][1], &ms); err != nil {
		b.t.Fatal(err)
	}
	return time.UnixMilli(ms)
}

// What the gateway decides is on the page before a second has passed. The
// machine may be busy with something else: most of them have to be in time,
// and none may take as long as a page that only reloads itself.
func TestWhatTheGatewayDecidesIsSeenWithinASecond(t *testing.T) {
	w := newWorld(t, plainSite)
	buyer := newBuyer(t, habits{device: phone})
	var took []time.Duration
	for round := range 3 {
		for fate, says := range map[string]string{"pay": saysPaid, "fail": saysFailed, "expire": saysExpired, "cancel": saysCancelled} {
			b := w.checkout(order(fmt.Sprintf("O-%s-%d", fate, round), "15000"), 201)
			buyer.open(w.payPage(b))
			buyer.sees(saysWaiting)
			evaluate[string](buyer, stopwatch)
			decided := time.Now()
			w.control("POST", "/payments/"+b.ID+"/"+fate, "")
			took = append(took, buyer.shownAt(says).Sub(decided))
			if fate == "pay" {
				buyer.press(stayHere)
			}
		}
	}
	slices.Sort(took)
	t.Logf("from the gateway's decision to the page: %v", took)
	if median := took[len(took)/2]; median > time.Second || took[len(took)-1] > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// story 18: a phone that was off the net learns at once when it is back.
func TestAPageThatWasCutOffLearnsWhatItMissed(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-CUT", "15000"), 201)
	buyer := newBuyer(t, habits{device: phone})
	buyer.excuse(`ERR_INTERNET_DISCONNECTED|ERR_NETWORK`)
	buyer.open(w.payPage(b))
	buyer.sees(saysWaiting)
	evaluate[string](buyer, stopwatch)
	buyer.goOffline(true)
	buyer.sees(`You are offline\. If you have paid, do not pay a second time`)
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	w.awaitStatus(b.ID, "SUCCESS")
	buyer.goOffline(false)
	buyer.shownAt(saysPaid)
	if strings.Contains(buyer.text(), "You are offline") {
		t.Error("online again, and the page says otherwise")
	}
}

// story 41: a reload ends the streams, and the pages come back by themselves.
func TestAPageOutlivesAReloadOfItsServer(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-RELOAD", "15000"), 201)
	buyer := newBuyer(t, habits{device: phone})
	buyer.excuse(`ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE`)
	buyer.open(w.payPage(b))
	buyer.sees(saysWaiting)
	evaluate[string](buyer, stopwatch)
	for range 3 {
		if err := w.reload(); err != nil {
			t.Fatal(err)
		}
	}
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	buyer.shownAt(saysPaid)
}

// story 4, story 19: both tabs show one payment, and each asks by itself.
func TestTwoTabsShowOnePayment(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-TABS", "15000"), 201)
	one := newBuyer(t, habits{device: phone})
	one.open(w.payPage(b))
	two := one.another()
	two.open(w.payPage(w.checkout(order("O-TABS", "15000"), 200)))
	for _, buyer := range []*tab{one, two} {
		buyer.sees(saysWaiting)
		evaluate[string](buyer, stopwatch)
	}
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	one.shownAt(saysPaid)
	two.shownAt(saysPaid)
	if n := w.booked("O-TABS"); n != 1 {
		t.Errorf("%d payments at the gateway", n)
	}
}

// What stands between may hold events back: then the page polls, never with two
// questions at a time.
func TestAPageWhoseEventsAreHeldBackAsksInTheirPlace(t *testing.T) {
	w := newWorld(t, "\troute {\n\t@events path /qlink/bills/*/events\n\trespond @events 502\n"+plainSite+"\n\t}")
	b := w.checkout(order("O-HELD", "15000"), 201)
	buyer := newBuyer(t, habits{device: phone})
	buyer.excuse(`502 \(Bad Gateway\)`)
	buyer.open(w.payPage(b))
	buyer.sees(saysWaiting)
	evaluate[string](buyer, stopwatch)
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	buyer.shownAt(saysPaid)
	if n := buyer.seen.mostAtOnce("/qlink/bills/" + b.ID); n != 1 {
		t.Errorf("%d questions under way at a time", n)
	}
}

// A late payment of a bill that has ended is shown to who still looks at it.
func TestALatePaymentIsShownOnThePageOfTheEnd(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-AFTER", "15000"), 201)
	buyer := newBuyer(t, habits{device: flat})
	buyer.open(w.payPage(b))
	buyer.sees(saysWaiting)
	evaluate[string](buyer, stopwatch)
	w.control("POST", "/payments/"+b.ID+"/expire", "")
	buyer.shownAt(saysExpired)
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	buyer.shownAt(`It counts, and the shop is told of it`)
	buyer.keepPicture("paid late")
}

// story 35: the time left is the server's, whatever the buyer's clock says.
func TestTheTimeLeftDoesNotDependOnTheBuyersClock(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(`{"orderCode":"O-CLOCK","amount":"15000","expiresIn":"10m"}`, 201)
	buyer := newBuyer(t, habits{device: phone})
	buyer.open(w.payPage(b))
	buyer.sees(`Time left: 0?9:`)
	before := evaluate[string](buyer, `Date = class extends Date { constructor(...a) { a.length ? super(...a) : super(0) } static now() { return 0 } }; document.querySelector("#left").textContent`)
	buyer.sees(`Time left: 0?9:`)
	buyer.await("the next second", func(ctx context.Context, target *chromedp.Target) error {
		now, err := chromedp.Evaluate[string](`document.querySelector("#left").textContent`)(ctx, target)
		if err == nil && now >= before {
			err = errors.New("it stands still")
		}
		return err
	})
}

// The webhook is lost, and the buyer asks: "I have paid".
func TestABuyerHasThePaymentLookedFor(t *testing.T) {
	for name, h := range map[string]habits{"live": {device: phone}, "without script": {device: phone, noScript: true}} {
		w := newWorld(t, plainSite)
		b := w.checkout(order("O-ASKED", "15000"), 201)
		buyer := newBuyer(t, h)
		buyer.open(w.payPage(b))
		buyer.sees(saysWaiting)
		w.decide(b.ID, "pay")
		buyer.press(checkNow)
		buyer.sees(saysPaid)
		if settled := w.awaitStatus(b.ID, "SUCCESS").SettledBy; settled != "query" {
			t.Errorf("%s: settled by %s", name, settled)
		}
	}
}

// A gateway that does not answer: first the page says that it prepares, then
// that the provider is silent, and at no time that something has failed.
func TestASilentGatewayIsSaidToBeSilent(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.stage(scene{name: "silent", channel: "QRIS", fault: `"operation":"apply","fault":"status"`, status: "CREATED"})
	buyer := newBuyer(t, habits{device: flat})
	buyer.open(w.payPage(b))
	buyer.sees(saysPreparing)
	evaluate[string](buyer, stopwatch)
	buyer.shownAt(`The payment provider is not answering`)
	buyer.keepPicture("not answering")
	buyer.sees(`Please do not order or pay a second time`)
}

// What a screen reader is told, and where it is taken.
func TestChangesAreReadOut(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(`{"orderCode":"O-READ","amount":"15000","expiresIn":"5m4s"}`, 201)
	buyer := newBuyer(t, habits{device: phone, language: "id"})
	buyer.open(w.payPage(b))
	says := func(pattern string) {
		t.Helper()
		buyer.await("what is read out", func(ctx context.Context, target *chromedp.Target) error {
			text, err := chromedp.Evaluate[string](`document.querySelector("[role=status]").textContent`)(ctx, target)
			if err == nil && !regexp.MustCompile(pattern).MatchString(text) {
				err = fmt.Errorf("%q is read out", text)
			}
			return err
		})
	}
	says(`^$`) // nothing has changed yet
	says(`5 menit`)
	w.control("POST", "/payments/"+b.ID+"/fail", "")
	says(`(?i)pembayaran tidak`)
	if focus := evaluate[string](buyer, `document.activeElement.tagName`); focus != "H1" {
		t.Errorf("the focus is on %s", focus)
	}
}

func TestABuyerCancelsAfterBeingAskedOnce(t *testing.T) {
	w := newWorld(t, plainSite)
	for name, h := range map[string]habits{"live": {device: phone}, "without script": {device: phone, noScript: true}} {
		b := w.checkout(order("O-"+strings.Fields(name)[0], "15000"), 201)
		buyer := newBuyer(t, h)
		buyer.open(w.payPage(b))
		buyer.press(wantsToCancel)
		buyer.sees(`Do you really want to cancel\?`)
		if now := w.bill(b.ID); now.Status != "WAIT" || now.CancelRequested {
			t.Fatalf("%s: cancelled before the answer: %+v", name, now)
		}
		buyer.press(cancelPayment)
		buyer.sees(saysCancelled)
		if now := w.bill(b.ID); now.Status != "CANCELED" {
			t.Errorf("%s: %+v", name, now)
		}
	}
}

// The page leads back once the shop has taken the news, and stays where the
// buyer says so.
func TestAPaidPageLeadsBackToTheShop(t *testing.T) {
	site := strings.Replace(plainSite, "checkout /checkout", "checkout /checkout\n\t\treturn_url /thanks/{order_code}", 1)
	for name, h := range map[string]habits{"live": {device: phone}, "without script": {device: phone, noScript: true}} {
		w := newWorld(t, site)
		b := w.checkout(order("O-BACK", "15000"), 201)
		buyer := newBuyer(t, h)
		buyer.open(w.payPage(b))
		buyer.sees(saysWaiting)
		w.control("POST", "/payments/"+b.ID+"/pay", "")
		buyer.sees(`You are being taken back to the shop`)
		buyer.sees(`shop: GET /thanks/O-BACK`)
		if !strings.HasSuffix(buyer.address(), "/thanks/O-BACK") {
			t.Errorf("%s: %s", name, buyer.address())
		}
	}
}

func TestABuyerChoosesInABrowserAndAnewAfterAFailure(t *testing.T) {
	for name, h := range map[string]habits{"live": {device: phone}, "without script": {device: desk, noScript: true}} {
		w := offering(t, "offer", "retry 1h")
		b := w.checkout(order("O-CHOICE", "15000"), 201)
		buyer := newBuyer(t, h)
		buyer.open(w.payPage(b))
		buyer.sees(`How would you like to pay\?`)
		buyer.press(control{"button", `^BCA Virtual Account$`})
		buyer.sees(`Pay to this number`)
		w.control("POST", "/payments/"+b.ID+"/fail", "")
		buyer.sees(saysFailed)
		buyer.press(control{"button", `^Start a new payment$`})
		buyer.sees(`How would you like to pay\?`)
		buyer.press(control{"button", `^QRIS`})
		buyer.sees(saysWaiting)
		buyer.finds(theCode)
		old := buyer.another()
		old.open(w.payPage(b))
		old.press(control{"link", `^Go to the newer payment$`})
		old.finds(theCode)
		if _, payments := w.ledger(); len(payments) != 2 || payments[0].Status != "FAIL" || payments[1].Status != "WAIT" || payments[1].PayChannelCode != "QRIS" {
			t.Errorf("%s: %+v", name, payments)
		}
	}
}
