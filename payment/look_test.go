package payment_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

func TestABillIsFoundByEachOfItsNames(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		for _, name := range []string{b.ID, b.OrderCode, b.BillCode} {
			if found, err := c.engine.Lookup(t.Context(), name); err != nil || found.ID != b.ID {
				t.Errorf("%q: %s, %v", name, found.ID, err)
			}
		}
		for _, name := range []string{"", "O", "nobody"} {
			if _, err := c.engine.Lookup(t.Context(), name); !errors.Is(err, bill.ErrNotFound) {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

func TestAnOrderCodeMeansTheAttemptThatPaidElseTheNewest(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(first, "FAIL")
		pass(time.Second)
		second := c.mustCreate(order("15000"), payment.OutcomeNew)
		if found, err := c.engine.Lookup(t.Context(), "O1"); err != nil || found.ID != second.ID {
			t.Errorf("%s, %v; the newest is %s", found.ID, err, second.ID)
		}
		c.mustNotify(first, "SUCCESS")
		if found, err := c.engine.Lookup(t.Context(), "O1"); err != nil || found.ID != first.ID {
			t.Errorf("%s, %v; paid was %s", found.ID, err, first.ID)
		}
		other := payment.Scope{Account: c.account, Shop: "other"}
		if _, err := c.engine.Create(t.Context(), other, order("1"), payment.HandOver{At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		_, err := c.engine.Lookup(t.Context(), "O1")
		if ambiguous, ok := errors.AsType[*payment.AmbiguousError](err); !ok || len(ambiguous.Bills) != 3 {
			t.Errorf("two shops' orders of one code: %v", err)
		}
	})
}

func TestATimelineTellsAllOfABill(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, _ *mailbox) {
		o := order("15000")
		o.Details.Description = "a cake"
		b := c.mustCreate(o, payment.OutcomeNew)
		c.mustNotify(b, "SUCCESS")
		pass(2 * time.Second)
		line, err := c.engine.Timeline(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		if line.Bill.Status != bill.Success || line.Order.PaidBill != b.ID || line.Details == nil || line.Details.Description != "a cake" {
			t.Errorf("%+v", line)
		}
		var kinds []bill.EventKind
		for _, e := range line.History {
			kinds = append(kinds, e.Kind)
		}
		if !slices.Equal(kinds, []bill.EventKind{bill.EventCreated, bill.EventApplyAccepted, bill.EventReportedPaid}) {
			t.Errorf("history %v", kinds)
		}
		if len(line.Notifications) != 1 || len(line.Notifications[0].Log) != 1 || line.Notifications[0].Log[0].Status != 204 {
			t.Errorf("notifications %+v", line.Notifications)
		}
	})
}

func TestWhoFollowsSeesEveryBillThatChanges(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		ctx, cancel := context.WithCancel(t.Context())
		seen := make(map[string]bill.Status)
		ended := make(chan error)
		begun := make(chan struct{})
		go func() {
			ended <- c.engine.Follow(ctx, func() { close(begun) }, func(b bill.Bill) error {
				seen[b.ID] = b.Status
				return nil
			})
		}()
		<-begun
		paid := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(paid, "SUCCESS")
		o := order("1")
		o.OrderCode = "O2"
		open := c.mustCreate(o, payment.OutcomeNew)
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if seen[paid.ID] != bill.Success || seen[open.ID] != bill.Wait || len(seen) != 2 {
			t.Errorf("saw %v", seen)
		}
	})
}
