package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// lasting writes a bill in two changes, with all that goes along. The first
// tells the shop, the second supersedes that.
//
// story 15
func lasting(t *testing.T, store bill.Store, id string) bill.Bill {
	t.Helper()
	b := sample(id)
	c := only(b)
	c.Bills[0].Details = &bill.Details{Description: id}
	c.Bills[0].Events = []bill.Event{{Kind: bill.EventCreated, At: noon}}
	c.Order = &bill.OrderRecord{Key: b.OrderKey(), Revision: 1, Attempts: []bill.Attempt{{ID: id}}}
	c.Idempotency = &bill.Idempotency{Key: id, Bill: id, ExpiresAt: noon.AddDate(1, 0, 0)}
	c.Orphan = &bill.Orphan{Ledger: "l", ID: id, At: noon}
	c.Notifications = []bill.Notification{news("old-"+id, b)}
	commit(t, store, c)
	b = moved(b)
	b.Due = noon.Add(time.Hour)
	c = only(b)
	c.Notifications = []bill.Notification{became(news("old-"+id, b), bill.Superseded), news(id, b)}
	commit(t, store, c)
	return b
}

// wantLasting checks everything that lasting wrote.
func wantLasting(t *testing.T, store bill.Store, b bill.Bill) {
	t.Helper()
	wantBill(t, store, b)
	if d, err := store.Details(t.Context(), b.ID); err != nil || d.Description != b.ID {
		t.Errorf("Details: %v, %v", d, err)
	}
	if h, err := store.History(t.Context(), b.ID); err != nil || len(h) != 1 {
		t.Errorf("History: %v, %v", h, err)
	}
	if o, err := store.Order(t.Context(), b.OrderKey()); err != nil || len(o.Attempts) != 1 {
		t.Errorf("Order: %v, %v", o, err)
	}
	if i, err := store.Idempotent(t.Context(), b.ID, noon); err != nil || i.Bill != b.ID {
		t.Errorf("Idempotent: %v, %v", i, err)
	}
	wantNotification(t, store, became(news("old-"+b.ID, b), bill.Superseded))
	wantTold(t, store, b.ID, news(b.ID, b), became(news("old-"+b.ID, b), bill.Superseded))
	wantNotification(t, store, news(b.ID, b))
	wantPending(t, store, news(b.ID, b))
}

func wantAllLasting(t *testing.T, store bill.Store, bills []bill.Bill) {
	t.Helper()
	var ids []string
	for _, b := range bills {
		wantLasting(t, store, b)
		ids = append(ids, b.ID)
	}
	wantOpen(t, store, len(bills))
	wantDue(t, store, noon)
	wantDue(t, store, noon.Add(time.Hour), ids...)
	wantToTell(t, store, noon, ids...)
	wantSame(t, ids, pages(t, store, bill.Query{Limit: 100}))
	if orphans, _, err := store.Orphans(t.Context(), "", 100); err != nil || len(orphans) != len(bills) {
		t.Errorf("Orphans: %v, %v", orphans, err)
	}
	wantConflict(t, store, only(sample(ids[0])))
}

func (s Suite) whatWasCommittedIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	var bills []bill.Bill
	for _, id := range numbered(5) {
		store := s.open(t, dir)
		bills = append(bills, lasting(t, store, id))
		wantAllLasting(t, store, bills)
		if err := store.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	wantAllLasting(t, s.open(t, dir), bills)
}

func (s Suite) whatWasForgottenStaysSoAfterReopening(t *testing.T) {
	dir := t.TempDir()
	store := s.open(t, dir)
	was, kept := remembered(t, store, "a"), remembered(t, store, "b")
	forgot := forgetting(was.Bills[0].Bill)
	commit(t, store, forgot)
	if err := store.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	store = s.open(t, dir)
	wantForgotten(t, store, was, forgot)
	wantRemembered(t, store, kept)
	wantConflict(t, store, forgot)
}

// whatWasCommittedIsThereAfterACrash takes what is on disk while the store is
// open and busy with other commits.
func (s Suite) whatWasCommittedIsThereAfterACrash(t *testing.T) {
	dir := t.TempDir()
	store := s.open(t, dir)
	var bills []bill.Bill
	for _, id := range numbered(20) {
		bills = append(bills, lasting(t, store, id))
	}
	was := remembered(t, store, "forgotten")
	forgot := forgetting(was.Bills[0].Bill)
	commit(t, store, forgot)
	busy, stop := make(chan struct{}), make(chan struct{})
	var tasks sync.WaitGroup
	tasks.Go(func() { keepBusy(t, store, busy, stop) })
	<-busy
	left := s.Crash(t, dir)
	close(stop)
	tasks.Wait()
	if err := store.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	reopened := s.open(t, left)
	for _, b := range bills {
		wantLasting(t, reopened, b)
	}
	wantForgotten(t, reopened, was, forgot)
}

// keepBusy commits until stop, and closes busy after the first commit.
func keepBusy(t *testing.T, store bill.Store, busy chan<- struct{}, stop <-chan struct{}) {
	b := sample("busy")
	for {
		if err := store.Commit(t.Context(), only(b)); err != nil {
			t.Errorf("Commit: %v", err)
		}
		if b.Revision == 1 {
			close(busy)
		}
		b = moved(b)
		select {
		case <-stop:
			return
		default:
		}
	}
}
