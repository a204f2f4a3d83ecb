package payment_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

func (c *counter) showing(id string) payment.Showing {
	c.t.Helper()
	shown, err := c.engine.Showing(c.t.Context(), c.scope, id, within)
	if err != nil {
		c.t.Fatal(err)
	}
	return shown
}

// told makes every bill's end, and its beginning, be told to a shop.
func told(cfg *payment.Config) {
	cfg.Notify = func(string, string) []payment.Target {
		return []payment.Target{{URL: shopURL, Secrets: [][]byte{newKey}, Events: []bill.NotificationType{bill.BillCreated, bill.BillFailed, bill.BillPaid}}}
	}
}

func TestWhatIsShownOfABillIsAllThatItsPageHasToKnow(t *testing.T) {
	atWith(t, told, func(t *testing.T, c *counter) {
		o := order("15000")
		o.Details.Description = "two cups"
		b := c.mustCreate(o, payment.OutcomeNew)
		want := payment.Showing{Bill: c.bill(b.ID), Details: o.Details}
		if diff := cmp.Diff(want, c.showing(b.ID)); diff != "" {
			t.Errorf("open (-want +got):\n%s", diff)
		}
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		want = payment.Showing{Bill: c.bill(b.ID), Details: o.Details, MayRetry: true}
		if diff := cmp.Diff(want, c.showing(b.ID)); diff != "" {
			t.Errorf("failed (-want +got):\n%s", diff)
		}
		next, err := c.retry(b.ID)
		if err != nil {
			t.Fatal(err)
		}
		// What was to be told of the first is superseded by the second's beginning.
		want = payment.Showing{Bill: c.bill(b.ID), Details: o.Details, Newer: next.Bill.ID, Told: true}
		if diff := cmp.Diff(want, c.showing(b.ID)); diff != "" {
			t.Errorf("followed (-want +got):\n%s", diff)
		}
		if err := c.notify(next.Bill, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		want.PaidBill = next.Bill.ID
		if diff := cmp.Diff(want, c.showing(b.ID)); diff != "" {
			t.Errorf("paid by the other (-want +got):\n%s", diff)
		}
		want = payment.Showing{Bill: c.bill(next.Bill.ID), Details: o.Details, PaidBill: next.Bill.ID}
		if diff := cmp.Diff(want, c.showing(next.Bill.ID)); diff != "" {
			t.Errorf("paid (-want +got):\n%s", diff)
		}
		notifications, err := c.store.Notifications(t.Context(), next.Bill.ID)
		if err != nil {
			t.Fatal(err)
		}
		var change bill.Change
		for _, n := range notifications {
			if n.State == bill.Pending {
				n.State, n.Due = bill.Delivered, time.Time{}
				n.Revision++
				change.Notifications = append(change.Notifications, n)
			}
		}
		if err := c.store.Commit(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if !c.showing(next.Bill.ID).Told {
			t.Error("delivered, and not told")
		}
	})
}

func TestAShopThatIsToldNothingHasBeenTold(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		if !c.showing(b.ID).Told {
			t.Error("not told")
		}
		other := payment.Scope{Account: c.account, Shop: "another"}
		if _, err := c.engine.Showing(t.Context(), other, b.ID, within); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("another shop's: %v", err)
		}
	})
}

// The page offers what Retry does, and nothing else.
func TestTryingAgainIsOfferedWhereItIsAllowed(t *testing.T) {
	for name, test := range map[string]struct {
		then func(c *counter, b bill.Bill) error
		want bool
	}{
		"failed just now": {func(*counter, bill.Bill) error { return nil }, true},
		"too long ago":    {func(*counter, bill.Bill) error { pass(within); return nil }, false},
		"taken back": {func(c *counter, _ bill.Bill) error {
			_, err := c.engine.CancelOrder(c.t.Context(), c.scope, "O1")
			return err
		}, false},
		"paid after all": {func(c *counter, b bill.Bill) error { return c.notify(b, "SUCCESS") }, false},
		"reported as paid": {func(c *counter, b bill.Bill) error {
			c.account.ConfirmSuccess = true
			c.gateway.set(func() { c.gateway.queryEmpty = true })
			return c.notify(b, "SUCCESS")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			at(t, func(t *testing.T, c *counter) {
				b := c.failedBill(order("15000"))
				if err := test.then(c, b); err != nil {
					t.Fatal(err)
				}
				if got := c.showing(b.ID).MayRetry; got != test.want {
					t.Errorf("offered: %v", got)
				}
				if _, err := c.retry(b.ID); (err == nil) != test.want {
					t.Errorf("tried: %v", err)
				}
			})
		})
	}
}
