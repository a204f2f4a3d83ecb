package payment_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

// counter is an engine over the memory store and a gateway of its own: where
// shops hand over orders and buyers pay.
type counter struct {
	t       *testing.T
	engine  *payment.Engine
	store   bill.Store
	gateway *gateway
	account *payment.Account
	scope   payment.Scope
}

// at runs a test in a bubble whose clock moves only when everything waits.
func at(t *testing.T, test func(t *testing.T, c *counter)) {
	t.Helper()
	atWith(t, func(*payment.Config) {}, test)
}

// atWith is at with a change to the configuration.
func atWith(t *testing.T, change func(*payment.Config), test func(t *testing.T, c *counter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t, change)
		test(t, c)
		if err := c.engine.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := c.store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func newCounter(t *testing.T, change func(*payment.Config)) *counter {
	g := newGateway()
	account := &payment.Account{
		Name: "default", Ledger: "ledger", AppKey: "app", Secrets: []string{"s"}, Location: time.UTC, Gateway: g,
		ExpireAfter: 24 * time.Hour, ExpireChannel: map[string]time.Duration{"VA": time.Hour}, CallTimeout: 10 * time.Second,
		StatusBatch: 50,
	}
	c := &counter{
		t: t, store: memory.New(), gateway: g, account: account,
		scope: payment.Scope{Account: account, Shop: "default"},
	}
	cfg := payment.Config{
		Accounts:    []*payment.Account{account},
		Store:       func(context.Context) (bill.Store, func(), error) { return c.store, func() {}, nil },
		MinInterval: 5 * time.Second, MaxInterval: 10 * time.Minute, UnknownAfter: 30 * time.Second, OpenTotal: 100,
		Logger: zap.NewNop(), Now: time.Now, NewID: uuid.NewString, Rand: func(int64) int64 { return 0 },
	}
	change(&cfg)
	c.engine = payment.New(cfg)
	return c
}

func order(amount string) bill.Order {
	return bill.Order{OrderCode: "O1", Amount: bill.Amount(amount), Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS"}
}

func (c *counter) create(o bill.Order) (payment.Created, error) {
	return c.engine.Create(c.t.Context(), c.scope, o, payment.HandOver{At: time.Now()})
}

// postSigned hands over an order of the amount that the shop signed at a time.
func (c *counter) postSigned(amount string, at time.Time) error {
	_, err := c.engine.Create(c.t.Context(), c.scope, order(amount), payment.HandOver{At: at, Signed: true})
	return err
}

func (c *counter) mustCreate(o bill.Order, want payment.Outcome) bill.Bill {
	c.t.Helper()
	created, err := c.create(o)
	if err != nil || created.Outcome != want {
		c.t.Fatalf("create: %q (%s), %v; want %q", created.Outcome, created.Bill.Status, err, want)
	}
	return created.Bill
}

func (c *counter) notify(b bill.Bill, status string) error {
	return c.engine.Settle(c.t.Context(), []*payment.Account{c.account}, qlink.Notification{
		TradeUUID: b.ID, BillCode: b.BillCode, OrderCode: b.OrderCode, Status: qlink.ParseStatus(status),
	}, "hash")
}

func (c *counter) bill(id string) bill.Bill {
	c.t.Helper()
	b, err := c.store.Bill(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *counter) wantStatus(id string, want bill.Status) bill.Bill {
	c.t.Helper()
	b := c.bill(id)
	if b.Status != want {
		c.t.Fatalf("bill is %s, want %s", b.Status, want)
	}
	return b
}

// pass lets time go by in the test's bubble.
func pass(d time.Duration) { <-time.After(d) }

func refusal(err error) payment.Code {
	r, ok := errors.AsType[*payment.Refusal](err)
	if !ok {
		return ""
	}
	return r.Code
}

func TestAnOrderBecomesAPaymentAtTheGatewayAtTheShopsAmount(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000.00"), payment.OutcomeNew)
		if b.Status != bill.Wait || b.Action.Kind != bill.ActionQR || b.BillCode != "B-"+b.ID || b.Attempt != 1 {
			t.Errorf("%+v", b)
		}
		if p := c.gateway.ledger[b.ID]; p == nil || p.amount != "15000.00" || p.currency != "IDR" {
			t.Errorf("the gateway was asked for %+v", p)
		}
		if got := b.ExpiresAt.Sub(b.CreatedAt); got != 24*time.Hour {
			t.Errorf("expires after %v", got)
		}
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		if b = c.wantStatus(b.ID, bill.Success); b.SettledBy != bill.ByWebhook {
			t.Errorf("settled by %s", b.SettledBy)
		}
	})
}

// story 2, story 4, story 6: the form sent again, two tabs, a reload.
func TestSixtyFourPostsOfOneOrderAreOnePayment(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		hold := make(chan struct{})
		c.gateway.set(func() { c.gateway.applying = hold })
		var wg sync.WaitGroup
		outcomes := make(chan payment.Created, 64)
		for range 64 {
			wg.Go(func() {
				created, err := c.create(order("15000"))
				if err != nil {
					t.Error(err)
				}
				outcomes <- created
			})
		}
		synctest.Wait() // all are in, one of them at the gateway
		close(hold)
		wg.Wait()
		close(outcomes)
		ids, created := make(map[string]int), 0
		for o := range outcomes {
			ids[o.Bill.ID]++
			if o.Outcome == payment.OutcomeNew {
				created++
			}
			if o.Bill.Status != bill.Wait {
				t.Errorf("answered with %s", o.Bill.Status)
			}
		}
		if c.gateway.count("apply") != 1 || len(ids) != 1 || created != 1 {
			t.Errorf("%d /apply, %d bills, %d new", c.gateway.count("apply"), len(ids), created)
		}
	})
}

// story 1
func TestALostAnswerLeavesTheBillUnknownAndNeverMakesASecondPayment(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost = failed(qlink.KindUnclear), true })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		if b.Status != bill.Created {
			t.Fatalf("bill is %s", b.Status)
		}
		c.gateway.set(func() { c.gateway.applyErr = nil })
		again := c.mustCreate(order("15000"), payment.OutcomeExisting)
		if again.ID != b.ID || again.Status != bill.Wait || again.Action.Kind != bill.ActionQR {
			t.Errorf("second post: %s %s %+v", again.ID, again.Status, again.Action)
		}
		if n := len(c.gateway.ledger); n != 1 {
			t.Errorf("%d payments at the gateway", n)
		}
	})
}

func TestALostActionOfAGatewayThatRepeatsNothingIsCancelledByTheWorkersNotByTheBuyersPost(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost = failed(qlink.KindUnclear), true })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		c.gateway.set(func() { c.gateway.applyErr = refused("tradeUuid was used before") })
		if again := c.mustCreate(order("15000"), payment.OutcomeExisting); again.ID != b.ID || again.Status != bill.Wait {
			t.Errorf("posted again: %s %s", again.ID, again.Status)
		}
		if n := len(c.gateway.ledger); n != 1 {
			t.Errorf("%d payments at the gateway", n)
		}
		pass(time.Minute)
		c.wantStatus(b.ID, bill.Canceled)
	})
}

func TestABillThatTheGatewayCertainlyDoesNotKnowIsAppliedForAgainUnderItsID(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindUnclear) })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		c.gateway.set(func() { c.gateway.applyErr = nil })
		for i, step := range []struct {
			wait    time.Duration
			applies int
		}{{6 * time.Second, 1}, {6 * time.Second, 1}, {30 * time.Second, 2}} {
			pass(step.wait)
			if _, err := c.engine.Refresh(t.Context(), c.scope, b.ID); err != nil {
				t.Fatal(err)
			}
			if n := c.gateway.count("apply " + b.ID); n != step.applies {
				t.Fatalf("after question %d: %d /apply, want %d", i+1, n, step.applies)
			}
		}
		c.wantStatus(b.ID, bill.Wait)
	})
}

func TestAGatewayThatWasNeverReachedIsCalledAgainWithoutDelay(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindNotSent) })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		c.gateway.set(func() { c.gateway.applyErr = nil })
		again := c.mustCreate(order("15000"), payment.OutcomeExisting)
		if again.ID != b.ID || again.Status != bill.Wait {
			t.Errorf("%s %s", again.ID, again.Status)
		}
	})
}

func TestABillThatNeverReachedTheGatewayIsCancelledHere(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindNotSent) })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		ended, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer)
		if err != nil || ended.Status != bill.Canceled || c.gateway.count("cancel") != 0 {
			t.Errorf("%s after %d /cancel, %v", ended.Status, c.gateway.count("cancel"), err)
		}
	})
}

func TestARefusalIsBelievedOnceAQueryDoesNotShowTheBill(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = refused("amount too small") })
		b := c.mustCreate(order("1"), payment.OutcomeRefused)
		if b.Status != bill.Fail || b.ErrorCode != "E1" {
			t.Errorf("%s %q", b.Status, b.ErrorCode)
		}
		c.gateway.set(func() { c.gateway.applyErr = nil })
		if next := c.mustCreate(order("1"), payment.OutcomeNew); next.ID == b.ID || next.Attempt != 2 {
			t.Errorf("attempt %d", next.Attempt)
		}
	})
}

func TestABillBookedInSpiteOfARefusalIsNotLeftPayableWithoutItsAction(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost = refused("busy"), true })
		b := c.mustCreate(order("1"), payment.OutcomeNew)
		if b.Status != bill.Canceled || c.gateway.count("apply") != 2 {
			t.Errorf("%s after %d /apply", b.Status, c.gateway.count("apply"))
		}
		if diff := cmp.Diff(map[string]int{"CANCEL": 1}, c.gateway.booked("O1")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnAuthenticationErrorIsNeverARefusalOfTheOrder(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindAuth) })
		b := c.mustCreate(order("1"), payment.OutcomeUnknown)
		if !b.Apply.Complained || b.Status != bill.Created {
			t.Errorf("%s, complained %v", b.Status, b.Apply.Complained)
		}
	})
}

// story 3, story 31: the cart changes after the payment began.
func TestAnotherAmountCancelsTheOpenBillFirst(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		next := c.mustCreate(order("20000"), payment.OutcomeNew)
		if next.Attempt != 2 || next.Amount != "20000" {
			t.Errorf("attempt %d of %s", next.Attempt, next.Amount)
		}
		c.wantStatus(b.ID, bill.Canceled)
		if diff := cmp.Diff(map[string]int{"CANCEL": 1, "WAIT": 1}, c.gateway.booked("O1")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNoNewAttemptStartsWhileTheEarlierOneHasNotCertainlyEnded(t *testing.T) {
	for name, fault := range map[string]func(g *gateway){
		"pending":       func(g *gateway) { g.cancelAnswer = "WAIT" },
		"refused":       func(g *gateway) { g.cancelAnswer = "FAIL" },
		"unknown word":  func(g *gateway) { g.cancelAnswer = "PERHAPS" },
		"no answer":     func(g *gateway) { g.cancelErr = failed(qlink.KindUnclear) },
		"query is down": func(g *gateway) { g.queryErr = failed(qlink.KindUnclear) },
	} {
		t.Run(name, func(t *testing.T) {
			at(t, func(t *testing.T, c *counter) {
				b := c.mustCreate(order("15000"), payment.OutcomeNew)
				c.gateway.set(func() { fault(c.gateway) })
				_, err := c.create(order("20000"))
				if refusal(err) != payment.CodePreviousOpen {
					t.Fatalf("%v", err)
				}
				if c.gateway.count("apply") != 1 || c.bill(b.ID).Status.Final() {
					t.Errorf("%d /apply, first bill %s", c.gateway.count("apply"), c.bill(b.ID).Status)
				}
			})
		})
	}
}

// story 12
func TestAPaymentBetweenQueryAndCancelWins(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.set(func() {
			c.gateway.cancelAnswer = "SUCCESS" // it says cancelled …
			c.gateway.onCancel = func(p *booking) { p.status = "SUCCESS" }
		})
		_, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer)
		if refusal(err) != payment.CodeAlreadyPaid {
			t.Errorf("%v", err)
		}
		c.wantStatus(b.ID, bill.Success) // … and was paid all the same
		if _, err := c.create(order("20000")); refusal(err) != payment.CodePaidOtherwise {
			t.Errorf("another amount after it: %v", err)
		}
		if again := c.mustCreate(order("15000.00"), payment.OutcomeExisting); again.ID != b.ID {
			t.Error("a paid order got another bill")
		}
	})
}

func TestACancelEndsTheBillOnTheGatewaysWord(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		ended, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer)
		if err != nil || ended.Status != bill.Canceled || ended.SettledBy != bill.ByCancel {
			t.Fatalf("%s by %s, %v", ended.Status, ended.SettledBy, err)
		}
		if again, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); err != nil || again.Version != ended.Version {
			t.Errorf("cancelled again: version %d, %v", again.Version, err)
		}
		if c.gateway.count("cancel") != 1 {
			t.Errorf("%d /cancel", c.gateway.count("cancel"))
		}
	})
}

func TestACancelThatIsNotConfirmedYetIsKeptAndNotRepeatedAtOnce(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.cancelAnswer = "WAIT" })
		for range 3 {
			pending, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer)
			if err != nil || pending.Status != bill.Wait || !pending.Cancel.Requested {
				t.Fatalf("%s, requested %v, %v", pending.Status, pending.Cancel.Requested, err)
			}
		}
		if c.gateway.count("cancel") != 1 {
			t.Errorf("%d /cancel within one interval", c.gateway.count("cancel"))
		}
		c.gateway.set(func() { c.gateway.cancelAnswer = "" })
		pass(6 * time.Second)
		if ended, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); err != nil || ended.Status != bill.Canceled {
			t.Errorf("%s, %v", ended.Status, err)
		}
	})
}

func TestARefusedCancelLeavesTheBillPayable(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.cancelAnswer = "FAIL" })
		_, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer)
		if refusal(err) != payment.CodeCancelRefused {
			t.Errorf("%v", err)
		}
		if after := c.wantStatus(b.ID, bill.Wait); after.Cancel.Requested {
			t.Error("the buyer's wish was kept")
		}
	})
}

// createHeld begins to create a bill, whose id it returns, and comes back while
// the gateway is being asked for it, which answers once hold is closed.
func (c *counter) createHeld() (open string, hold chan struct{}, done <-chan payment.Created) {
	c.t.Helper()
	hold = make(chan struct{})
	c.gateway.set(func() { c.gateway.applying = hold })
	answers := make(chan payment.Created)
	go func() {
		created, err := c.create(order("15000"))
		if err != nil {
			c.t.Error(err)
		}
		answers <- created
	}()
	synctest.Wait()
	view, err := c.engine.Order(c.t.Context(), c.scope, "O1")
	if err != nil {
		c.t.Fatal(err)
	}
	return view.OpenBill, hold, answers
}

func TestACancelDuringApplyWaitsForItsOutcome(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		open, hold, done := c.createHeld()
		pending, err := c.engine.CancelOrder(t.Context(), c.scope, "O1")
		if err != nil || pending.Status != bill.Created || !pending.Cancel.Requested {
			t.Fatalf("%s, %v", pending.Status, err)
		}
		close(hold)
		<-done
		c.wantStatus(open, bill.Canceled)
		if diff := cmp.Diff(map[string]int{"CANCEL": 1}, c.gateway.booked("O1")); diff != "" {
			t.Error(diff)
		}
	})
}

// story 8
func TestAWebhookMayComeBeforeTheCreateCallReturned(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		open, hold, done := c.createHeld()
		if err := c.notify(bill.Bill{ID: open, OrderCode: "O1"}, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		close(hold)
		if created := <-done; created.Bill.Status != bill.Success || created.Bill.BillCode == "" {
			t.Errorf("%s, billCode %q", created.Bill.Status, created.Bill.BillCode)
		}
	})
}

// story 7, story 9, story 13: reports that repeat or contradict each other.
func TestAPaidBillStaysPaidWhateverIsReportedLater(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.pay(b.ID)
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		paid := c.bill(b.ID)
		for _, status := range []string{"SUCCESS", "FAIL", "WAIT", "CANCELED", "EXPIRED", "NEWS", "paid"} {
			if err := c.notify(b, status); err != nil {
				t.Errorf("%s: %v", status, err)
			}
		}
		synctest.Wait()
		if after := c.bill(b.ID); after.Version != paid.Version || after.Status != bill.Success {
			t.Errorf("%s, version %d after %d", after.Status, after.Version, paid.Version)
		}
		if c.gateway.count("query") == 0 {
			t.Error("the gateway contradicted a payment and was not asked")
		}
	})
}

// story 10, story 32, story 5
func TestALatePaymentPaysTheOrderAndEndsTheOtherAttempt(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(first, "FAIL"); err != nil {
			t.Fatal(err)
		}
		second := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(first, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		if late := c.wantStatus(first.ID, bill.Success); !late.LatePayment || late.RefundDue {
			t.Errorf("late %v, refund due %v", late.LatePayment, late.RefundDue)
		}
		synctest.Wait()
		c.wantStatus(second.ID, bill.Canceled)
		view, err := c.engine.Order(t.Context(), c.scope, "O1")
		if err != nil || view.PaidBill != first.ID || view.OpenBill != "" || len(view.Bills) != 2 || view.Bills[0].ID != second.ID {
			t.Errorf("%+v, %v", view, err)
		}
		if err := c.notify(second, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		if twice := c.wantStatus(second.ID, bill.Success); !twice.RefundDue {
			t.Error("paid twice, and no refund is due")
		}
	})
}

func TestANotificationIsOnlyBelievedOfItsOwnAccountAndBill(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		stranger := &payment.Account{Name: "other", Ledger: "other", AppKey: "app"}
		n := qlink.Notification{TradeUUID: b.ID, Status: qlink.ParseStatus("SUCCESS")}
		if err := c.engine.Settle(t.Context(), []*payment.Account{stranger}, n, ""); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("another account's: %v", err)
		}
		for _, n := range []qlink.Notification{
			{TradeUUID: b.ID, OrderCode: "O2", Status: qlink.ParseStatus("SUCCESS")},
			{TradeUUID: b.ID, BillCode: "B2", Status: qlink.ParseStatus("SUCCESS")},
		} {
			if err := c.engine.Settle(t.Context(), []*payment.Account{c.account}, n, "h"); !errors.Is(err, payment.ErrContradiction) {
				t.Errorf("%+v: %v", n, err)
			}
		}
		c.wantStatus(b.ID, bill.Wait)
		history, err := c.store.History(t.Context(), b.ID)
		if err != nil || history[len(history)-1].Kind != bill.EventContradiction {
			t.Errorf("not recorded: %v, %v", history, err)
		}
	})
}

func TestAPaymentOfAnUnknownBillIsKeptAsAnOrphan(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		ghost := bill.Bill{ID: uuid.NewString(), OrderCode: "O9"}
		if err := c.notify(ghost, "FAIL"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("FAIL: %v", err)
		}
		if err := c.notify(ghost, "SUCCESS"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("SUCCESS: %v", err)
		}
		c.account.AcceptUnknown = true
		if err := c.notify(ghost, "SUCCESS"); err != nil {
			t.Errorf("where unknown bills are accepted: %v", err)
		}
		orphans, _, err := c.store.Orphans(t.Context(), "", 10)
		if err != nil || len(orphans) != 1 || orphans[0].ID != ghost.ID {
			t.Errorf("%+v, %v", orphans, err)
		}
	})
}

func TestRefreshAsksTheGatewayAtMostOncePerInterval(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.pay(b.ID)
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if _, err := c.engine.Refresh(t.Context(), c.scope, b.ID); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := c.gateway.count("query"); n != 1 {
			t.Errorf("%d queries", n)
		}
		if paid := c.wantStatus(b.ID, bill.Success); paid.SettledBy != bill.ByQuery || paid.PayTime.IsZero() {
			t.Errorf("settled by %s at %v", paid.SettledBy, paid.PayTime)
		}
	})
}

func TestAnOldBillIsCancelledAsExpiredWhenSomebodyAsks(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		o := order("15000")
		o.ExpiresIn = time.Minute
		b := c.mustCreate(o, payment.OutcomeNew)
		pass(2 * time.Minute)
		next := c.mustCreate(o, payment.OutcomeNew)
		c.wantStatus(b.ID, bill.Expired)
		pass(2 * time.Minute)
		if ended, err := c.engine.Refresh(t.Context(), c.scope, next.ID); err != nil || ended.Status != bill.Expired {
			t.Errorf("%s, %v", ended.Status, err)
		}
	})
}

func TestAnOrderSignedBeforeTheCurrentHandOverIsStale(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		signed := time.Now()
		post := c.postSigned
		if err := post("15000", signed); err != nil {
			t.Fatal(err)
		}
		if err := post("15000", signed); err != nil {
			t.Errorf("the same signed order twice: %v", err)
		}
		if err := post("20000", signed.Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := post("15000", signed); refusal(err) != payment.CodeStaleOrder {
			t.Errorf("the cheaper cart of before: %v", err)
		}
		if err := post("20000", signed.Add(20*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := post("15000", signed.Add(15*time.Second)); refusal(err) != payment.CodeStaleOrder {
			t.Errorf("signed before the latest hand-over: %v", err)
		}
	})
}

func TestAnOlderSignatureIsStaleThoughTheNewerOrderHasToWait(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		signed := time.Now()
		post := c.postSigned
		if err := post("15000", signed); err != nil {
			t.Fatal(err)
		}
		c.gateway.set(func() { c.gateway.cancelAnswer = "WAIT" })
		if err := post("20000", signed.Add(10*time.Second)); refusal(err) != payment.CodePreviousOpen {
			t.Errorf("%v", err)
		}
		c.gateway.set(func() { c.gateway.cancelAnswer = "" })
		pass(time.Minute)
		if err := post("15000", signed); refusal(err) != payment.CodeStaleOrder {
			t.Errorf("the cheaper cart of before: %v", err)
		}
	})
}

func TestAnOrderThatTheShopCancelledIsNotRevivedByItsOldSignature(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		signed := payment.HandOver{At: time.Now(), Signed: true}
		if _, err := c.engine.Create(t.Context(), c.scope, order("15000"), signed); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if _, err := c.engine.CancelOrder(t.Context(), c.scope, "O1"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.engine.Create(t.Context(), c.scope, order("15000"), signed); refusal(err) != payment.CodeStaleOrder {
			t.Errorf("the old signature: %v", err)
		}
		signed.At = time.Now()
		if again, err := c.engine.Create(t.Context(), c.scope, order("15000"), signed); err != nil || again.Bill.Attempt != 2 {
			t.Errorf("signed anew: %v", err)
		}
	})
}

func TestTwoTabsThatCrossASecondAreOneOrder(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		again, err := c.engine.Create(t.Context(), c.scope, order("15000"), payment.HandOver{At: time.Now().Add(-2 * time.Second)})
		if err != nil || again.Bill.ID != b.ID {
			t.Errorf("%v", err)
		}
	})
}

func TestACancelThatIsPendingIsFollowedByAQuestion(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		o := order("15000")
		o.ExpiresIn = time.Minute
		b := c.mustCreate(o, payment.OutcomeNew)
		c.gateway.pay(b.ID) // and the webhook is lost
		c.gateway.set(func() { c.gateway.cancelAnswer = "WAIT" })
		pass(2 * time.Minute)
		if paid := c.mustCreate(o, payment.OutcomeExisting); paid.ID != b.ID || paid.Status != bill.Success {
			t.Errorf("%s", paid.Status)
		}
	})
}

func TestLongWordsInAnyScriptNeverBlockAChange(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		n := qlink.Notification{TradeUUID: b.ID, Status: qlink.ParseStatus("SUCCESS"), ErrorCode: strings.Repeat("支", 100)}
		if err := c.engine.Settle(t.Context(), []*payment.Account{c.account}, n, "h"); err != nil {
			t.Fatal(err)
		}
		c.wantStatus(b.ID, bill.Success)
		c.gateway.set(func() { c.gateway.applyErr = refused(strings.Repeat("余额不足", 50)) })
		o := order("1")
		o.OrderCode = "O2"
		c.mustCreate(o, payment.OutcomeRefused)
	})
}

func TestALostActionIsAskedForByOneCallHoweverManyReportsCome(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost = failed(qlink.KindUnclear), true })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		hold := make(chan struct{})
		c.gateway.set(func() { c.gateway.applyErr, c.gateway.applying = nil, hold })
		for range 8 {
			if err := c.notify(b, "WAIT"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		if n := c.gateway.count("apply"); n != 2 {
			t.Errorf("%d /apply", n)
		}
		if after := c.wantStatus(b.ID, bill.Wait); after.Action.Kind != bill.ActionQR {
			t.Errorf("%+v", after.Action)
		}
	})
}

func TestAStatusNobodyHasDefinedIsNoProofThatACancelStands(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.set(func() {
			c.gateway.cancelAnswer = "SUCCESS"
			c.gateway.onCancel = func(p *booking) { p.status = "SETTLED" }
		})
		if _, err := c.create(order("20000")); refusal(err) != payment.CodePreviousOpen {
			t.Errorf("%v", err)
		}
		c.wantStatus(b.ID, bill.Wait)
	})
}

func TestACallThatNeverLeftIsNotCountedAsTheFirst(t *testing.T) {
	for name, test := range map[string]struct {
		second func(g *gateway)
		want   bill.Status
	}{
		"refused plainly":         {func(g *gateway) { g.applyErr = refused("no") }, bill.Fail},
		"booked, the answer lost": {func(g *gateway) { g.applyErr, g.applyLost = failed(qlink.KindUnclear), true }, bill.Wait},
		"accepted without action": {func(g *gateway) { g.applyErr, g.noAction = nil, true }, bill.Wait},
	} {
		t.Run(name, func(t *testing.T) {
			at(t, func(t *testing.T, c *counter) {
				c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindNotSent) })
				b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
				c.gateway.set(func() { test.second(c.gateway) })
				pass(6 * time.Second)
				if _, err := c.engine.Refresh(t.Context(), c.scope, b.ID); err != nil {
					t.Fatal(err)
				}
				c.gateway.set(func() { c.gateway.applyErr, c.gateway.applyLost = nil, false })
				pass(6 * time.Second)
				if _, err := c.engine.Refresh(t.Context(), c.scope, b.ID); err != nil {
					t.Fatal(err)
				}
				c.wantStatus(b.ID, test.want)
			})
		})
	}
}

func TestAnIdempotencyKeyThatJoinedAnOpenBillIsRememberedToo(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindUnclear) })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		key := func(body string) payment.HandOver {
			return payment.HandOver{At: time.Now(), Idempotency: &payment.Idempotency{Key: "k", Body: body}}
		}
		if joined, err := c.engine.Create(t.Context(), c.scope, order("15000"), key("1")); err != nil || joined.Bill.ID != b.ID || joined.Outcome != payment.OutcomeUnknown {
			t.Fatalf("%+v, %v", joined, err)
		}
		if _, err := c.engine.Create(t.Context(), c.scope, order("15000"), key("2")); refusal(err) != payment.CodeKeyReused {
			t.Errorf("another body: %v", err)
		}
		if again, err := c.engine.Create(t.Context(), c.scope, order("15000"), key("1")); err != nil || again.Outcome != payment.OutcomeUnknown {
			t.Errorf("%q, %v", again.Outcome, err)
		}
	})
}

func TestABillThatFailedIsAskedAfterOnceMoreBeforeANewAttempt(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		c.gateway.pay(b.ID) // paid after all, and the webhook is lost
		pass(time.Minute)
		if paid := c.mustCreate(order("15000"), payment.OutcomeExisting); paid.ID != b.ID || !paid.LatePayment {
			t.Errorf("%+v", paid)
		}
	})
}

func TestAnIdempotencyKeyAnswersWithTheFirstRequestsBill(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		post := func(key, body string, o bill.Order) (payment.Created, error) {
			return c.engine.Create(t.Context(), c.scope, o, payment.HandOver{
				At: time.Now(), Idempotency: &payment.Idempotency{Key: key, Body: body},
			})
		}
		first, err := post("k", "1", order("15000"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.notify(first.Bill, "FAIL"); err != nil {
			t.Fatal(err)
		}
		again, err := post("k", "1", order("15000"))
		if err != nil || again.Bill.ID != first.Bill.ID || again.Bill.Status != bill.Fail {
			t.Errorf("the same key and body: %s %s, %v", again.Bill.ID, again.Bill.Status, err)
		}
		if _, err := post("k", "2", order("15000")); refusal(err) != payment.CodeKeyReused {
			t.Errorf("another body: %v", err)
		}
		if other, err := post("k2", "1", order("15000")); err != nil || other.Bill.ID == first.Bill.ID {
			t.Errorf("another key: %v", err)
		}
		pass(25 * time.Hour)
		if later, err := post("k", "1", order("15000")); err != nil || later.Bill.ID == first.Bill.ID {
			t.Errorf("a day later: %v", err)
		}
	})
}

func TestAnIdempotencyKeyInUseIsRefused(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		hold := make(chan struct{})
		c.gateway.set(func() { c.gateway.applying = hold })
		key := payment.HandOver{At: time.Now(), Idempotency: &payment.Idempotency{Key: "busy", Body: "1"}}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.engine.Create(t.Context(), c.scope, order("1"), key); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if _, err := c.engine.Create(t.Context(), c.scope, order("1"), key); refusal(err) != payment.CodeKeyRunning {
			t.Errorf("%v", err)
		}
		close(hold)
		wg.Wait()
	})
}

func TestAFullCounterTakesNoNewOrders(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		for i := range 100 {
			o := order("1")
			o.OrderCode = fmt.Sprint(i)
			c.mustCreate(o, payment.OutcomeNew)
		}
		if err := c.engine.Ready(t.Context(), ""); !errors.Is(err, payment.ErrTooManyOpen) {
			t.Errorf("%v", err)
		}
		if _, err := c.create(order("1")); !errors.Is(err, payment.ErrTooManyOpen) {
			t.Errorf("one more: %v", err)
		}
		known := order("1")
		known.OrderCode = "7"
		c.mustCreate(known, payment.OutcomeExisting)
	})
}

func TestWaitReturnsAtTheChangeAndAtTheEndOfItsContext(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if same, err := c.engine.Wait(ctx, c.scope, b.ID, b.Version); err != nil || same.Version != b.Version {
			t.Errorf("nothing happened: version %d, %v", same.Version, err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if same, err := c.engine.Wait(gone, c.scope, b.ID, b.Version); err != nil || same.ID != b.ID {
			t.Errorf("a wait that was over before it began: %v", err)
		}
		changed := make(chan bill.Bill)
		go func() {
			after, err := c.engine.Wait(context.Background(), c.scope, b.ID, b.Version)
			if err != nil {
				t.Error(err)
			}
			changed <- after
		}()
		synctest.Wait()
		if err := c.notify(b, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		if after := <-changed; after.Status != bill.Success {
			t.Errorf("woken with %s", after.Status)
		}
	})
}

// story 36
func TestTwoShopsMayUseOneOrderCodeAndSeeOnlyTheirOwn(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		other := payment.Scope{Account: c.account, Shop: "other"}
		created, err := c.engine.Create(t.Context(), other, order("20000"), payment.HandOver{At: time.Now()})
		if err != nil || created.Outcome != payment.OutcomeNew || created.Bill.Attempt != 1 {
			t.Errorf("%+v, %v", created, err)
		}
		if _, err := c.engine.Bill(t.Context(), other, b.ID); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("the other shop reads this one's bill: %v", err)
		}
		if _, err := c.engine.Cancel(t.Context(), other, b.ID, bill.CancelBuyer); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("the other shop cancels this one's bill: %v", err)
		}
	})
}

func TestABuyerWhoLeavesDoesNotInterruptThePayment(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		hold := make(chan struct{})
		c.gateway.set(func() { c.gateway.applying = hold })
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan payment.Created)
		go func() {
			created, err := c.engine.Create(ctx, c.scope, order("1"), payment.HandOver{At: time.Now()})
			if err != nil {
				t.Error(err)
			}
			done <- created
		}()
		synctest.Wait()
		leave()
		close(hold)
		c.wantStatus((<-done).Bill.ID, bill.Wait)
	})
}
