package payment_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// ends has the gateway report the end of a bill, and lets its shop be told.
func (c *counter) ends(b bill.Bill, status string) {
	c.t.Helper()
	if err := c.notify(b, status); err != nil {
		c.t.Fatal(err)
	}
	pass(2 * time.Second)
}

// redeliver wants so many notifications sent again.
func (c *counter) redeliver(b bill.Bill, want int) []bill.Notification {
	c.t.Helper()
	again, err := c.operator().Redeliver(c.t.Context(), b.ID)
	if err != nil || len(again.Sent) != want || len(again.Overtaken) > 0 {
		c.t.Fatalf("%+v, %v; want %d sent again", again, err, want)
	}
	pass(2 * time.Second)
	return again.Sent
}

// wantOvertaken wants nothing sent again of b, because of another bill.
func (c *counter) wantOvertaken(b, by bill.Bill) {
	c.t.Helper()
	again, err := c.operator().Redeliver(c.t.Context(), b.ID)
	if err != nil || len(again.Sent) > 0 || len(again.Overtaken) != 1 || again.Overtaken[0].Bill != by.ID {
		c.t.Fatalf("%+v, %v; want it overtaken by bill %s", again, err, by.ID)
	}
	pass(10 * time.Second)
}

func TestADeadNotificationIsSentAgainUnderItsIDWithTheWholeTimeBeforeIt(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		shop.set(status(http.StatusInternalServerError))
		b := c.mustCreate(order("1"), payment.OutcomeNew)
		c.ends(b, "SUCCESS")
		pass(77 * time.Hour)
		dead := shop.all()
		sent := c.redeliver(b, 1)
		if sent[0].ID != dead[0].id || sent[0].State != bill.Pending {
			t.Errorf("sent again: %+v", sent[0])
		}
		pass(8 * time.Second)
		if n := len(shop.all()) - len(dead); n != 2 {
			t.Errorf("%d tries in ten seconds: the waits did not begin anew", n)
		}
		pass(68 * time.Hour)
		if n, err := c.store.Notification(t.Context(), sent[0].ID); err != nil || n.State != bill.Pending {
			t.Errorf("after 68 hours %s, %v", n.State, err)
		}
		pass(9 * time.Hour)
		if n, err := c.store.Notification(t.Context(), sent[0].ID); err != nil || n.State != bill.Dead {
			t.Errorf("after 77 hours %s, %v", n.State, err)
		}
		shop.set(nil)
		c.redeliver(b, 1)
		came := shop.all()
		for _, m := range came {
			if m.id != dead[0].id || string(m.payload) != string(dead[0].payload) {
				t.Errorf("one came as %s: %s", m.id, m.payload)
			}
		}
		if n, err := c.store.Notification(t.Context(), sent[0].ID); err != nil || n.State != bill.Delivered || n.Tries != 1 {
			t.Errorf("%s after %d tries, %v", n.State, n.Tries, err)
		}
	})
}

func TestWhatWasDeliveredIsSentAgainToEachURLAndOnlyTheNewestOfIt(t *testing.T) {
	targets := []payment.Target{
		{URL: shopURL, Secrets: [][]byte{newKey}, Events: everyEnd},
		{URL: shopURL + "/failures", Secrets: [][]byte{newKey}, Events: []bill.NotificationType{bill.BillFailed}},
	}
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		b := c.mustCreate(order("1"), payment.OutcomeNew)
		c.redeliver(b, 0)
		c.ends(b, "FAIL")
		c.ends(b, "SUCCESS")
		before := shop.all()
		c.redeliver(b, 2)
		again := shop.all()[len(before):]
		got := make(map[string]string)
		for _, m := range again {
			got[m.url] = m.kind
		}
		if len(again) != 2 || got[shopURL] != "bill.late_payment" || got[shopURL+"/failures"] != "bill.failed" {
			t.Errorf("came: %v", got)
		}
		pass(24 * time.Hour)
		if n := len(shop.all()); n != 5 {
			t.Errorf("%d came in all", n)
		}
	}, targets...)
}

// story 9, story 14: what is sent again is never older than what was taken.
func TestAnOlderBillsNotificationIsNeverSentAfterANewerBills(t *testing.T) {
	for state, answer := range map[bill.NotificationState]int{
		bill.Delivered: http.StatusNoContent, bill.Dead: http.StatusInternalServerError,
	} {
		t.Run("the newer is "+string(state), func(t *testing.T) {
			notified(t, func(t *testing.T, c *counter, shop *mailbox) {
				first := c.mustCreate(order("1"), payment.OutcomeNew)
				c.ends(first, "FAIL")
				second := c.mustCreate(order("1"), payment.OutcomeNew)
				shop.set(status(answer))
				c.ends(second, "SUCCESS")
				if state == bill.Dead {
					pass(77 * time.Hour)
				}
				shop.set(nil)
				before := len(shop.all())
				c.wantOvertaken(first, second)
				if n := len(shop.all()); n != before {
					t.Errorf("%d came", n-before)
				}
				c.redeliver(second, 1)
				if came := shop.all(); len(came) != before+1 || came[before].kind != "bill.paid" {
					t.Errorf("came: %s", shop.kinds())
				}
			})
		})
	}
}

func TestAnOlderBillsNotificationIsNotSentAfterOneThatWasForgotten(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		first := c.mustCreate(order("1"), payment.OutcomeNew)
		c.ends(first, "FAIL")
		second := c.mustCreate(order("1"), payment.OutcomeNew)
		c.ends(second, "SUCCESS")
		c.forget(second.ID)
		c.wantOvertaken(first, second)
		c.redeliver(second, 0)
		if got := shop.kinds(); got != "bill.failed bill.paid" {
			t.Errorf("came: %s", got)
		}
	})
}

// forget does by hand what the workers do once retention is over.
func (c *counter) forget(id string) {
	c.t.Helper()
	b := c.bill(id)
	step, err := b.Next(bill.Event{Kind: bill.EventForgotten, At: time.Now()}, bill.Rules{})
	if err != nil {
		c.t.Fatal(err)
	}
	told, err := c.store.Notifications(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	step.Bill.Told = told[len(told)-1].Sequence
	if err := c.store.Commit(c.t.Context(), bill.Change{Bills: []bill.BillChange{{Bill: step.Bill, Forget: true}}}); err != nil {
		c.t.Fatal(err)
	}
}

func TestANewerNotificationThatWaitsIsSentInsteadOfTheOlder(t *testing.T) {
	notified(t, func(t *testing.T, c *counter, shop *mailbox) {
		first := c.mustCreate(order("1"), payment.OutcomeNew)
		c.ends(first, "FAIL")
		second := c.mustCreate(order("1"), payment.OutcomeNew)
		shop.set(status(http.StatusInternalServerError))
		c.ends(second, "SUCCESS")
		pass(2 * time.Hour) // the next try is hours away
		shop.set(nil)
		if sent := c.redeliver(first, 1); sent[0].Bill != second.ID {
			t.Errorf("sent again: %+v", sent[0])
		}
		came := shop.all()
		if last := came[len(came)-1]; last.kind != "bill.paid" || last.id != came[1].id {
			t.Errorf("came: %s", shop.kinds())
		}
		n, err := c.store.Notification(t.Context(), came[1].id)
		if err != nil || n.State != bill.Delivered {
			t.Errorf("%s, %v", n.State, err)
		}
	})
}

// meddled is a store that lets somebody in before a redelivery is written.
type meddled struct {
	bill.Store
	before *atomic.Pointer[func()]
}

func (m meddled) Commit(ctx context.Context, c bill.Change) error {
	if c.Order != nil && len(c.Notifications) > 0 && !c.Notifications[0].RedeliveredAt.IsZero() {
		if before := m.before.Swap(nil); before != nil {
			(*before)()
		}
	}
	return m.Store.Commit(ctx, c)
}

func TestANewerNotificationThatComesBesideARedeliveryIsNotOvertaken(t *testing.T) {
	var before atomic.Pointer[func()]
	meddle := func(cfg *payment.Config) {
		lease := cfg.Store
		cfg.Store = func(ctx context.Context) (bill.Store, func(), error) {
			store, release, err := lease(ctx)
			return meddled{store, &before}, release, err
		}
	}
	notifiedWith(t, meddle, func(t *testing.T, c *counter, shop *mailbox) {
		first := c.mustCreate(order("1"), payment.OutcomeNew)
		c.ends(first, "FAIL")
		second := c.mustCreate(order("1"), payment.OutcomeNew)
		paid := func() { c.ends(second, "SUCCESS") }
		before.Store(&paid)
		c.wantOvertaken(first, second)
		if got := shop.kinds(); got != "bill.failed bill.paid" {
			t.Errorf("came: %s", got)
		}
	})
}

func TestOnlyAKnownBillIsRedelivered(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		if _, err := c.operator().Redeliver(t.Context(), "unknown"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("an unknown bill: %v", err)
		}
		b := c.mustCreate(order("1"), payment.OutcomeNew)
		if again, err := c.operator().Redeliver(t.Context(), b.ID); err != nil || len(again.Sent) > 0 {
			t.Errorf("nobody is told of it: %+v, %v", again, err)
		}
	})
}
