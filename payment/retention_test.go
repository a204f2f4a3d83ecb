package payment_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// retained is a counter whose shop is told of every end, and whose bills'
// details are deleted after the given time; 0: never.
func retained(t *testing.T, retention time.Duration, test func(t *testing.T, c *counter, shop *mailbox)) {
	t.Helper()
	notifiedWith(t, func(cfg *payment.Config) { cfg.Retention = retention }, test)
}

// handedOver is an order with details that are nobody's business for ever.
func handedOver(code string) bill.Order {
	o := order("15000")
	o.OrderCode = code
	o.Details = bill.Details{Description: "Two shirts", Metadata: `{"cart":"7"}`, Items: []bill.Item{{SKUCode: "SKU01"}}}
	return o
}

// isWhole reports whether a bill's details, history and notifications are all
// there; a test fails where some are and some are not.
func (c *counter) isWhole(id string) bool {
	c.t.Helper()
	_, err := c.store.Details(c.t.Context(), id)
	gone := errors.Is(err, bill.ErrNotFound)
	if gone {
		err = nil
	}
	history, err2 := c.store.History(c.t.Context(), id)
	told, err3 := c.store.Notifications(c.t.Context(), id)
	if err := errors.Join(err, err2, err3); err != nil {
		c.t.Fatal(err)
	}
	forgotten := len(history) == 1 && history[0].Kind == bill.EventForgotten
	if gone != forgotten || gone && len(told) > 0 {
		c.t.Fatalf("forgotten by half: details gone is %v, history %v, %d notifications", gone, history, len(told))
	}
	return !gone
}

func TestAPaidOrderStaysPaidWhenItsDetailsAreDeleted(t *testing.T) {
	retained(t, payment.MinRetention, func(t *testing.T, c *counter, shop *mailbox) {
		created := c.mustCreate(handedOver("O1"), payment.OutcomeNew)
		c.ends(created, "SUCCESS")
		paid := c.bill(created.ID)
		record, err := c.store.Order(t.Context(), paid.OrderKey())
		if err != nil {
			t.Fatal(err)
		}
		pass(payment.MinRetention - time.Minute)
		if !c.isWhole(paid.ID) {
			t.Fatal("forgotten before its time")
		}
		pass(2 * time.Hour)
		if c.isWhole(paid.ID) {
			t.Fatal("not forgotten")
		}
		stub, err := c.engine.Bill(t.Context(), c.scope, paid.ID)
		if err != nil || stub.Status != bill.Success || stub.Version != paid.Version+1 || stub.Action.Value != "" || !stub.UpdatedAt.Equal(paid.UpdatedAt) {
			t.Errorf("the stub is %+v, %v", stub, err)
		}
		after, err := c.store.Order(t.Context(), paid.OrderKey())
		if diff := cmp.Diff(record, after); diff != "" || err != nil {
			t.Errorf("the order's record (-before +after): %s %v", diff, err)
		}
		if again := c.mustCreate(handedOver("O1"), payment.OutcomeExisting); again.ID != paid.ID {
			t.Error("paid again")
		}
		if _, err := c.create(order("16000")); refusal(err) != payment.CodePaidOtherwise {
			t.Errorf("at another amount: %v", err)
		}
		c.ends(paid, "SUCCESS")
		c.ends(paid, "FAIL") // a conflict, as ever
		c.wantStatus(paid.ID, bill.Success)
		if n := c.gateway.count("apply"); n != 1 || shop.kinds() != "bill.paid" {
			t.Errorf("%d calls of /apply, the shop was told %s", n, shop.kinds())
		}
	})
}

// story 10, story 32
func TestALatePaymentOfAForgottenBillPaysTheOrderAndTheShopIsTold(t *testing.T) {
	retained(t, payment.MinRetention, func(t *testing.T, c *counter, shop *mailbox) {
		first := c.mustCreate(handedOver("O1"), payment.OutcomeNew)
		c.ends(first, "FAIL")
		pass(payment.MinRetention + time.Hour)
		if c.isWhole(first.ID) || c.gateway.count("query") != 5 {
			t.Fatalf("whole is %v after %d questions", c.isWhole(first.ID), c.gateway.count("query"))
		}
		if err := c.postSigned("15000", first.CreatedAt.Add(-time.Minute)); refusal(err) != payment.CodeStaleOrder {
			t.Errorf("an order signed before: %v", err)
		}
		second := c.mustCreate(handedOver("O1"), payment.OutcomeNew)
		if second.Attempt != 2 {
			t.Errorf("attempt %d", second.Attempt)
		}
		c.ends(first, "SUCCESS")
		if late := c.wantStatus(first.ID, bill.Success); !late.LatePayment || late.RefundDue {
			t.Errorf("%+v", late)
		}
		pass(time.Minute)
		c.wantStatus(second.ID, bill.Canceled)
		// What the shop was told of the payment may have given way to the end
		// that it brought to the other attempt; either says that the order is paid.
		if all := shop.all(); !all[len(all)-1].paid {
			t.Errorf("the shop was told %s: %s", shop.kinds(), all[len(all)-1].payload)
		}
		told, err := c.store.Notifications(t.Context(), first.ID)
		if err != nil || len(told) != 1 || told[0].Type != bill.BillLatePayment || !strings.Contains(told[0].Payload, `"metadata":{}`) {
			t.Errorf("of the payment: %+v, %v", told, err)
		}
		pass(payment.MinRetention + time.Hour)
		if c.isWhole(first.ID) || c.isWhole(second.ID) {
			t.Error("what came late is kept for ever")
		}
		c.wantOrderPaidBy(first)
	})
}

func (c *counter) wantOrderPaidBy(b bill.Bill) {
	c.t.Helper()
	o, err := c.engine.Order(c.t.Context(), c.scope, b.OrderCode)
	if err != nil || o.PaidBill != b.ID || o.OpenBill != "" {
		c.t.Errorf("the order is %+v, %v", o, err)
	}
}

func TestWhatIsOpenOrStillAskedAfterIsNeverForgotten(t *testing.T) {
	retained(t, time.Hour, func(t *testing.T, c *counter, _ *mailbox) {
		c.account.ExpireAfter = 0
		open := c.mustCreate(handedOver("open"), payment.OutcomeNew)
		failed := c.mustCreate(handedOver("failed"), payment.OutcomeNew)
		c.ends(failed, "FAIL")
		pass(71 * time.Hour)
		if !c.isWhole(failed.ID) {
			t.Error("forgotten before its last late check")
		}
		pass(3 * time.Hour)
		if c.isWhole(failed.ID) {
			t.Error("kept after its last late check")
		}
		if !c.isWhole(open.ID) {
			t.Error("an open bill was forgotten")
		}
		c.wantStatus(open.ID, bill.Wait)
	})
}

func TestWhatTheShopWasNotToldIsNeverForgotten(t *testing.T) {
	retained(t, time.Hour, func(t *testing.T, c *counter, shop *mailbox) {
		shop.set(status(http.StatusBadGateway))
		b := c.mustCreate(handedOver("O1"), payment.OutcomeNew)
		c.ends(b, "SUCCESS")
		for _, state := range []bill.NotificationState{bill.Pending, bill.Dead} {
			pass(39 * time.Hour)
			told, err := c.store.Notifications(t.Context(), b.ID)
			if err != nil || len(told) != 1 || told[0].State != state || !c.isWhole(b.ID) {
				t.Errorf("want it whole and its notification %s: %+v, %v", state, told, err)
			}
		}
		shop.set(nil)
		c.redeliver(b, 1)
		pass(2 * time.Hour)
		if c.isWhole(b.ID) {
			t.Error("kept though its shop was told")
		}
		if !strings.Contains(string(shop.all()[0].payload), `"metadata":{"cart":"7"}`) {
			t.Error("the shop was told without metadata")
		}
	})
}

func TestWhatWasGivenUpAndOvertakenKeepsNoBill(t *testing.T) {
	retained(t, time.Hour, func(t *testing.T, c *counter, shop *mailbox) {
		shop.set(status(http.StatusBadGateway))
		b := c.mustCreate(handedOver("O1"), payment.OutcomeNew)
		c.ends(b, "FAIL")
		pass(80 * time.Hour)
		if !c.isWhole(b.ID) {
			t.Error("forgotten though its shop was not told")
		}
		shop.set(nil)
		c.ends(b, "SUCCESS")
		pass(4 * time.Hour)
		if c.isWhole(b.ID) {
			t.Error("kept, and nothing is left to be told")
		}
		if all := shop.all(); all[len(all)-1].kind != "bill.late_payment" {
			t.Errorf("the shop was told %s", shop.kinds())
		}
	})
}

func TestWithoutRetentionNothingIsForgotten(t *testing.T) {
	retained(t, 0, func(t *testing.T, c *counter, _ *mailbox) {
		b := c.mustCreate(handedOver("O1"), payment.OutcomeNew)
		c.ends(b, "SUCCESS")
		pass(3 * time.Hour)
		if !c.isWhole(b.ID) {
			t.Error("forgotten")
		}
	})
}

// forgetful is a store whose listing of the ended fails at first, and one of
// whose bills is too large to be forgotten.
type forgetful struct {
	bill.Store
	failures atomic.Int32
	tooLarge string
}

func (f *forgetful) Ended(ctx context.Context, until time.Time, cursor string, limit int) ([]string, string, error) {
	if f.failures.Add(-1) >= 0 {
		return nil, "", bill.ErrUnavailable
	}
	return f.Store.Ended(ctx, until, cursor, limit)
}

func (f *forgetful) Commit(ctx context.Context, c bill.Change) error {
	if len(c.Bills) > 0 && c.Bills[0].Forget && c.Bills[0].Bill.ID == f.tooLarge {
		return bill.ErrTooLarge
	}
	return f.Store.Commit(ctx, c)
}

// What ended long before retention was switched on is many at once.
func TestManyBillsAreForgottenInPagesOverTimeWhateverFails(t *testing.T) {
	retention := func(cfg *payment.Config) { cfg.Retention, cfg.OpenTotal = time.Hour, 0 }
	atWith(t, retention, func(t *testing.T, c *counter) {
		const bills = 180
		var ids []string
		for i := range bills {
			b := c.mustCreate(handedOver(fmt.Sprint(i)), payment.OutcomeNew)
			c.ends(b, "SUCCESS")
			ids = append(ids, b.ID)
		}
		pass(24 * time.Hour)
		store := &forgetful{Store: c.store, tooLarge: ids[1]}
		store.failures.Store(1)
		c.store = store
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.engine.Run(ctx)
		}()
		pass(1500 * time.Millisecond)
		for i, want := range []int{0, 49, 99, 149, bills - 1} {
			gone := 0
			for _, id := range ids {
				if !c.isWhole(id) {
					gone++
				}
			}
			if gone != want {
				t.Errorf("page %d: %d are forgotten, want %d", i, gone, want)
			}
			if pass(time.Second); i == 0 {
				pass(59 * time.Second)
			}
		}
		if !c.isWhole(ids[1]) {
			t.Error("what is too large was forgotten")
		}
		stop()
		<-done
	})
}
