package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var closingTests = []test{
	{"AClosedStoreIsUnavailable", aClosedStoreIsUnavailable},
	{"AReadWhoseCallerIsGoneEndsWithThat", aReadWhoseCallerIsGoneEndsWithThat},
	{"ClosingEndsWatches", closingEndsWatches},
	{"ClosingEndsFeeds", closingEndsFeeds},
	{"ClosingWaitsForCommitsAndReadsUnderWay", closingWaitsForCommitsAndReadsUnderWay},
}

// calls are all methods that can fail.
func calls(store bill.Store) map[string]func(context.Context) error {
	b, n := sample("a"), news("n", sample("a"))
	calls := map[string]func(context.Context) error{
		"Commit":       func(ctx context.Context) error { return store.Commit(ctx, only(sample("new"))) },
		"Bill":         func(ctx context.Context) error { _, err := store.Bill(ctx, b.ID); return err },
		"Details":      func(ctx context.Context) error { _, err := store.Details(ctx, b.ID); return err },
		"Order":        func(ctx context.Context) error { _, err := store.Order(ctx, b.OrderKey()); return err },
		"History":      func(ctx context.Context) error { _, err := store.History(ctx, b.ID); return err },
		"Idempotent":   func(ctx context.Context) error { _, err := store.Idempotent(ctx, "k", noon); return err },
		"List":         func(ctx context.Context) error { _, _, err := store.List(ctx, bill.Query{Limit: 1}); return err },
		"Orphans":      func(ctx context.Context) error { _, _, err := store.Orphans(ctx, "", 1); return err },
		"Due":          func(ctx context.Context) error { _, err := store.Due(ctx, noon, 1); return err },
		"Notification": func(ctx context.Context) error { _, err := store.Notification(ctx, n.ID); return err },
		"PendingNotification": func(ctx context.Context) error {
			_, err := store.PendingNotification(ctx, n.URL, n.OrderKey())
			return err
		},
		"DueNotifications": func(ctx context.Context) error { _, err := store.DueNotifications(ctx, noon, 1); return err },
		"Notifications":    func(ctx context.Context) error { _, err := store.Notifications(ctx, b.ID); return err },
		"Ended":            func(ctx context.Context) error { _, _, err := store.Ended(ctx, noon, "", 1); return err },
		"OpenBillsOf":      func(ctx context.Context) error { _, err := store.OpenBillsOf(ctx, "c", 1); return err },
		"Find":             func(ctx context.Context) error { _, err := store.Find(ctx, b.ID, 1); return err },
		"ListNotifications": func(ctx context.Context) error {
			_, _, err := store.ListNotifications(ctx, bill.NotificationQuery{Limit: 1})
			return err
		},
		"Counts":    func(ctx context.Context) error { _, err := store.Counts(ctx); return err },
		"OpenBills": func(ctx context.Context) error { _, err := store.OpenBills(ctx); return err },
	}
	if l, shared := store.(bill.Leaser); shared {
		calls["LeaseDue"] = func(ctx context.Context) error { _, err := l.LeaseDue(ctx, lease("a", long)); return err }
		calls["LeaseDueNotifications"] = func(ctx context.Context) error {
			_, err := l.LeaseDueNotifications(ctx, lease("a", long))
			return err
		}
		calls["ReleaseNotification"] = func(ctx context.Context) error { return l.ReleaseNotification(ctx, "a", n.ID) }
		calls["Release"] = func(ctx context.Context) error { return l.Release(ctx, "a") }
	}
	return calls
}

func aClosedStoreIsUnavailable(t *testing.T, store bill.Store) {
	c := only(sample("a"))
	c.Notifications = []bill.Notification{news("n", sample("a"))}
	commit(t, store, c)
	if err := store.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for name, call := range calls(store) {
		if err := call(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

func aReadWhoseCallerIsGoneEndsWithThat(t *testing.T, store bill.Store) {
	c := only(sample("a"))
	c.Notifications = []bill.Notification{news("n", sample("a"))}
	commit(t, store, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(store) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want Canceled", name, err)
		}
	}
}

func closingEndsFeeds(t *testing.T, store bill.Store) {
	before := store.WatchAll()
	defer before.Stop()
	commit(t, store, only(sample("a")))
	if err := store.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	after := store.WatchAll()
	defer after.Stop()
	wantNext(t, before, "a") // what came before the end is not lost
	for _, feed := range []bill.Feed{before, after} {
		if ids, err := feed.Next(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("Next: %v, %v, want ErrUnavailable", ids, err)
		}
	}
}

func closingEndsWatches(t *testing.T, store bill.Store) {
	before, stopBefore := store.Watch("a")
	if err := store.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	after, stopAfter := store.Watch("a")
	for _, versions := range []<-chan uint64{before, after} {
		if version, open := <-versions; open {
			t.Errorf("received version %d", version)
		}
	}
	stopBefore()
	stopAfter()
}

func closingWaitsForCommitsAndReadsUnderWay(t *testing.T, store bill.Store) {
	var begun, tasks sync.WaitGroup
	for _, id := range numbered(8) {
		begun.Add(1)
		tasks.Go(func() {
			b := sample(id)
			for first := true; ; first = false {
				err := store.Commit(t.Context(), only(b))
				if err == nil {
					_, err = store.Bill(t.Context(), b.ID)
				}
				if first {
					begun.Done()
				}
				if err != nil {
					if !errors.Is(err, bill.ErrUnavailable) {
						t.Errorf("while closing: %v", err)
					}
					return
				}
				b = moved(b)
			}
		})
	}
	begun.Wait()
	if err := store.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	tasks.Wait()
}
