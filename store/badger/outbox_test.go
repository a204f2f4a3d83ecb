package badger

import (
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// telling is a change that tells a shop of an order.
func telling(id string, state bill.NotificationState, revision uint64) bill.Change {
	n := bill.Notification{
		ID: id, URL: "https://shop.example/hook", Ledger: "l", Account: "default", Shop: "default", OrderCode: "O1",
		Bill: "a", Type: bill.BillPaid, Payload: "{}", CreatedAt: noon, State: state, Revision: revision,
	}
	if state == bill.Pending {
		n.Due = noon
	}
	return bill.Change{Notifications: []bill.Notification{n}}
}

func pendingOf(s *store, n bill.Notification) error {
	_, err := s.PendingNotification(ctx, n.URL, n.OrderKey())
	return err
}

func TestANotificationThatEndedLeavesNoIndexEntry(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	for i, state := range []bill.NotificationState{bill.Pending, bill.Dead, bill.Pending, bill.Delivered} {
		if err := s.Commit(ctx, telling("n", state, uint64(i)+1)); err != nil {
			t.Fatal(err)
		}
		want := one(state == bill.Pending)
		for _, kind := range []byte{kindPending, kindNotificationDue} {
			if got := entries(t, s, kind); got != want {
				t.Errorf("%s: %d entries of the kind %c, want %d", state, got, kind, want)
			}
		}
	}
	for _, kind := range []byte{kindNotification, kindTold} {
		if got := entries(t, s, kind); got != 1 {
			t.Errorf("%d entries of the kind %c are kept", got, kind)
		}
	}
}

// entries counts the keys of one kind.
func entries(t *testing.T, s *store, kind byte) (count int) {
	t.Helper()
	err := s.db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, []byte{kind})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			count++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func TestADamagedNotificationIsToldFromAMissingOne(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	c := telling("n", bill.Pending, 1)
	if err := s.Commit(ctx, c); err != nil {
		t.Fatal(err)
	}
	flip(t, s.db, textKey(kindNotification, "n"))
	s.moments.renew()
	_, err := s.Notification(ctx, "n")
	wantDamage(t, "Notification", err)
	_, err = s.Notifications(ctx, "a")
	wantDamage(t, "Notifications", err)
	wantDamage(t, "PendingNotification", pendingOf(s, c.Notifications[0]))
	wantDamage(t, "Commit", s.Commit(ctx, telling("n", bill.Dead, 2)))
}

func TestADamagedPlaceOfThePendingIsNotTakenForAFreeOne(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	c := telling("n", bill.Pending, 1)
	if err := s.Commit(ctx, c); err != nil {
		t.Fatal(err)
	}
	n := c.Notifications[0]
	flip(t, s.db, pendingKey(n.URL, n.OrderKey()))
	s.moments.renew()
	wantDamage(t, "PendingNotification", pendingOf(s, n))
	wantDamage(t, "Commit", s.Commit(ctx, telling("another", bill.Pending, 1)))
}

func TestAPlaceOfThePendingWithoutItsNotificationIsDamage(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	c := telling("n", bill.Pending, 1)
	if err := s.Commit(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Update(func(txn *badgerdb.Txn) error { return txn.Delete(textKey(kindNotification, "n")) }); err != nil {
		t.Fatal(err)
	}
	s.moments.renew()
	wantDamage(t, "PendingNotification", pendingOf(s, c.Notifications[0]))
	_, err := s.Notifications(ctx, "a")
	wantDamage(t, "Notifications", err)
}
