package payment_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

func confirmed(cfg *payment.Config) { cfg.Accounts[0].ConfirmSuccess = true }

// mustNotify delivers a notification and waits until what follows it is done.
func (c *counter) mustNotify(b bill.Bill, status string) {
	c.t.Helper()
	if err := c.notify(b, status); err != nil {
		c.t.Fatalf("%s: %v", status, err)
	}
	synctest.Wait()
}

// mustRefuse hands over an order that has to wait for an attempt.
func (c *counter) mustRefuse(amount, attempt string) {
	c.t.Helper()
	applies := c.gateway.count("apply")
	_, err := c.create(order(amount))
	r, ok := errors.AsType[*payment.Refusal](err)
	if !ok || r.Code != payment.CodePreviousOpen {
		c.t.Fatalf("%s: %v", amount, err)
	}
	if r.Bill.ID != attempt || c.gateway.count("apply") != applies {
		c.t.Fatalf("%s: refused for bill %s, want %s; %d more /apply", amount, r.Bill.ID, attempt, c.gateway.count("apply")-applies)
	}
}

func TestAReportedPaymentPaysTheBillOnceTheGatewayAgrees(t *testing.T) {
	atWith(t, confirmed, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(b, "SUCCESS")
		if after := c.wantStatus(b.ID, bill.Wait); after.Version != b.Version || c.gateway.count("query") != 1 {
			t.Errorf("version %d after %d, %d queries", after.Version, b.Version, c.gateway.count("query"))
		}
		history, err := c.store.History(t.Context(), b.ID)
		if err != nil || history[len(history)-1].Kind != bill.EventReportedPaid {
			t.Errorf("no line: %v, %v", history, err)
		}
		if view, err := c.engine.Order(t.Context(), c.scope, "O1"); err != nil || view.PaidBill != "" || view.OpenBill != b.ID {
			t.Errorf("the shop reads %+v, %v", view, err)
		}
		c.gateway.pay(b.ID)
		if paid, err := c.engine.Refresh(t.Context(), c.scope, b.ID); err != nil || paid.Status != bill.Success || paid.SettledBy != bill.ByQuery {
			t.Errorf("%s by %s, %v", paid.Status, paid.SettledBy, err)
		}
	})
}

func TestAReportedPaymentThatTheGatewayShowsIsConfirmedAtOnce(t *testing.T) {
	notifiedWith(t, confirmed, func(t *testing.T, c *counter, shop *mailbox) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(b, "SUCCESS")
		if shop.kinds() != "" {
			t.Errorf("the shop was told of what nobody confirmed: %s", shop.kinds())
		}
		c.gateway.pay(b.ID)
		pass(6 * time.Second)
		c.wantStatus(b.ID, bill.Success)
		if shop.kinds() != "bill.paid" {
			t.Errorf("the shop was told %q", shop.kinds())
		}
		o := order("1")
		o.OrderCode = "O2"
		other := c.mustCreate(o, payment.OutcomeNew)
		c.gateway.pay(other.ID)
		c.mustNotify(other, "SUCCESS")
		c.wantStatus(other.ID, bill.Success)
	})
}

func TestAShopIsToldOfAnEndOnceThoughAPaymentIsReportedAndLaidAside(t *testing.T) {
	notifiedWith(t, confirmed, func(t *testing.T, c *counter, shop *mailbox) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(b, "FAIL")
		c.mustNotify(b, "SUCCESS")
		if _, err := c.operator().Force(t.Context(), b.ID, reason); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if shop.kinds() != "bill.failed" {
			t.Errorf("the shop was told %q", shop.kinds())
		}
	})
}

// story 11, story 33: neither a person nor the clock ends what may be paid.
func TestNoCancelOfAReportedPaymentCompletes(t *testing.T) {
	reconciledWith(t, confirmed, func(t *testing.T, c *counter) {
		o := order("15000")
		o.ExpiresIn = time.Hour
		b := c.mustCreate(o, payment.OutcomeNew)
		c.mustNotify(b, "SUCCESS")
		for _, reason := range []bill.CancelReason{bill.CancelBuyer, bill.CancelOperator} {
			if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, reason); refusal(err) != payment.CodeCancelRefused {
				t.Errorf("%s: %v", reason, err)
			}
		}
		pass(48 * time.Hour) // its time is over, too
		if _, err := c.engine.Refresh(t.Context(), c.scope, b.ID); err != nil {
			t.Error(err)
		}
		after := c.wantStatus(b.ID, bill.Wait)
		if after.Cancel.Requested || c.gateway.count("cancel") != 0 {
			t.Errorf("requested %v, %d /cancel", after.Cancel.Requested, c.gateway.count("cancel"))
		}
		if after.Silent != 2 {
			t.Errorf("%d lines about nothing but two people's wishes", after.Silent)
		}
		pass(6 * time.Second)
		c.gateway.pay(b.ID)
		if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); refusal(err) != payment.CodeAlreadyPaid {
			t.Errorf("paid meanwhile: %v", err)
		}
	})
}

// story 12
func TestAWishStoredBeforeTheReportIsNotPursued(t *testing.T) {
	reconciledWith(t, confirmed, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.cancelAnswer = "WAIT" })
		if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); err != nil {
			t.Fatal(err)
		}
		c.mustNotify(b, "SUCCESS")
		c.gateway.set(func() { c.gateway.cancelAnswer = "" })
		pass(time.Hour)
		c.wantStatus(b.ID, bill.Wait)
		if n := c.gateway.count("cancel"); n != 1 {
			t.Errorf("%d /cancel", n)
		}
		if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); refusal(err) != payment.CodeCancelRefused {
			t.Errorf("asked again: %v", err)
		}
		c.gateway.pay(b.ID)
		pass(20 * time.Minute)
		c.wantStatus(b.ID, bill.Success)
	})
}

func TestACancelUnderWayDoesNotEndABillReportedMeanwhile(t *testing.T) {
	atWith(t, confirmed, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		told := make(chan error, 1)
		c.gateway.set(func() {
			c.gateway.onCancel = func(*booking) { told <- c.notify(b, "SUCCESS") }
		})
		if _, err := c.engine.Cancel(t.Context(), c.scope, b.ID, bill.CancelBuyer); refusal(err) != payment.CodeCancelRefused {
			t.Errorf("%v", err)
		}
		if err := <-told; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.wantStatus(b.ID, bill.Wait)
		history, err := c.store.History(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range history {
			if line.Kind == bill.EventCancelStands {
				t.Error("the history says that the cancel stands")
			}
		}
		c.mustRefuse("20000", b.ID)
		c.gateway.pay(b.ID)
		pass(6 * time.Second)
		c.mustCreate(order("15000"), payment.OutcomeExisting)
		c.wantStatus(b.ID, bill.Success)
	})
}

// story 1, story 4: whatever became of the attempt that is reported as paid.
func TestNoNewAttemptStartsBesideAReportedPayment(t *testing.T) {
	for name, end := range map[string]string{"open": "WAIT", "failed": "FAIL", "canceled": "CANCELED", "expired": "EXPIRED"} {
		t.Run(name, func(t *testing.T) {
			atWith(t, confirmed, func(t *testing.T, c *counter) {
				b := c.mustCreate(order("15000"), payment.OutcomeNew)
				c.mustNotify(b, end)
				c.mustNotify(b, "SUCCESS")
				c.mustRefuse("20000", b.ID)
				if end != "WAIT" {
					c.mustRefuse("15000", b.ID)
				} else if same := c.mustCreate(order("15000"), payment.OutcomeExisting); same.ID != b.ID {
					t.Error("the same order got another bill")
				}
				c.gateway.pay(b.ID)
				pass(6 * time.Second)
				if paid := c.mustCreate(order("15000.00"), payment.OutcomeExisting); paid.ID != b.ID || paid.Status != bill.Success {
					t.Errorf("%s", paid.Status)
				}
				if len(c.gateway.ledger) != 1 {
					t.Errorf("the gateway has %v", c.gateway.booked("O1"))
				}
			})
		})
	}
}

func TestAReportOfAnEarlierAttemptHoldsBackTheNextAndEndsNone(t *testing.T) {
	atWith(t, confirmed, func(t *testing.T, c *counter) {
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(first, "FAIL")
		second := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(first, "SUCCESS")
		if same := c.mustCreate(order("15000"), payment.OutcomeExisting); same.ID != second.ID {
			t.Errorf("the same order got bill %s", same.ID)
		}
		c.mustRefuse("20000", first.ID)
		if c.gateway.count("cancel") != 0 {
			t.Error("the open attempt was cancelled for an order that has to wait")
		}
		c.gateway.pay(first.ID)
		pass(6 * time.Second)
		if _, err := c.create(order("20000")); refusal(err) != payment.CodePaidOtherwise {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		c.wantStatus(second.ID, bill.Canceled)
	})
}

// The report comes between the last look at the order and the commit of the
// next attempt.
func TestAReportStopsAnAttemptThatIsAboutToStart(t *testing.T) {
	atWith(t, confirmed, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(b, "FAIL")
		pass(time.Minute)
		told := make(chan error, 1)
		c.gateway.set(func() {
			c.gateway.onQuery = func() {
				c.gateway.onQuery = nil
				told <- c.notify(b, "SUCCESS")
			}
		})
		c.mustRefuse("15000", b.ID)
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnAttemptThatMayBePaidIsNotCancelledWhenAnotherIs(t *testing.T) {
	atWith(t, confirmed, func(t *testing.T, c *counter) {
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(first, "FAIL")
		second := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.cancelAnswer = "WAIT" })
		if _, err := c.engine.Cancel(t.Context(), c.scope, second.ID, bill.CancelBuyer); err != nil {
			t.Fatal(err)
		}
		c.mustNotify(second, "SUCCESS")
		c.gateway.pay(first.ID)
		c.mustNotify(first, "SUCCESS")
		c.wantStatus(first.ID, bill.Success)
		c.wantStatus(second.ID, bill.Wait)
		if n := c.gateway.count("cancel"); n != 1 {
			t.Errorf("%d /cancel besides the buyer's", n-1)
		}
		c.gateway.pay(second.ID)
		pass(6 * time.Second)
		if twice, err := c.engine.Refresh(t.Context(), c.scope, second.ID); err != nil || twice.Status != bill.Success || !twice.RefundDue {
			t.Errorf("%s, refund due %v, %v", twice.Status, twice.RefundDue, err)
		}
	})
}

func TestAReportedPaymentIsAskedAfterEverMoreSlowlyUntilItIsConfirmed(t *testing.T) {
	for end, age := range map[string]time.Duration{
		"WAIT": time.Hour,
		"FAIL": 80 * time.Hour, // no longer asked after at all
	} {
		t.Run(end, func(t *testing.T) {
			reconciledWith(t, confirmed, func(t *testing.T, c *counter) {
				b := c.mustCreate(order("15000"), payment.OutcomeNew)
				c.mustNotify(b, end)
				pass(age)
				c.mustNotify(b, "SUCCESS")
				var counts []int
				for range 4 {
					before := c.gateway.count("query")
					pass(30 * time.Minute)
					counts = append(counts, c.gateway.count("query")-before)
				}
				for i := 1; i < len(counts); i++ {
					if counts[i] > counts[i-1] || counts[i] < 2 || counts[0] < 10 || counts[0] > 60 {
						t.Errorf("questions by half hour: %v", counts)
					}
				}
				pass(10 * time.Hour)
				c.gateway.pay(b.ID)
				pass(11 * time.Minute)
				if paid := c.wantStatus(b.ID, bill.Success); paid.LatePayment != (end == "FAIL") {
					t.Errorf("late %v", paid.LatePayment)
				}
			})
		})
	}
}

func TestTheReturnOfAGatewayConfirmsWhatWasReportedMeanwhile(t *testing.T) {
	reconciledWith(t, confirmed, func(t *testing.T, c *counter) {
		var bills []bill.Bill
		for i := range 20 {
			o := order("1")
			o.OrderCode = fmt.Sprint(i)
			bills = append(bills, c.mustCreate(o, payment.OutcomeNew))
			c.mustNotify(bills[i], "FAIL")
			c.mustNotify(bills[i], "SUCCESS")
			pass(30 * time.Second) // so that one is due now, one then
		}
		pass(3 * time.Hour) // and each every ten minutes
		c.gateway.set(func() { c.gateway.queryErr = failed(qlink.KindUnclear) })
		pass(time.Minute)
		for _, b := range bills {
			c.gateway.pay(b.ID)
		}
		c.gateway.set(func() { c.gateway.queryErr = nil })
		pass(30 * time.Second)
		for _, b := range bills {
			c.wantStatus(b.ID, bill.Success)
		}
	})
}

// story 8
func TestAReportBeforeTheCreateCallReturnedLeavesTheBillItsAction(t *testing.T) {
	atWith(t, confirmed, func(t *testing.T, c *counter) {
		open, hold, done := c.createHeld()
		c.mustNotify(bill.Bill{ID: open, OrderCode: "O1"}, "SUCCESS")
		close(hold)
		if created := <-done; created.Bill.Status != bill.Wait || created.Bill.Action.Kind != bill.ActionQR {
			t.Errorf("%s, %+v", created.Bill.Status, created.Bill.Action)
		}
		c.gateway.pay(open)
		if paid, err := c.engine.Refresh(t.Context(), c.scope, open); err != nil || paid.Status != bill.Success {
			t.Errorf("%s, %v", paid.Status, err)
		}
	})
}

// story 9
func TestAGatewayThatDeniesAReportedPaymentAlarmsTheOperatorAndEndsNothing(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	logged := func(cfg *payment.Config) {
		confirmed(cfg)
		cfg.Logger = zap.New(core)
	}
	atWith(t, logged, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.gateway.set(func() { c.gateway.ledger[b.ID].status = "FAIL" })
		c.mustNotify(b, "SUCCESS")
		c.wantStatus(b.ID, bill.Wait)
		if logs.FilterMessage("bill needs an operator").Len() != 1 {
			t.Errorf("logged: %v", logs.All())
		}
		c.mustRefuse("20000", b.ID)
	})
}
