package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var commitTests = []test{
	{"AChangeWithOneWrongRevisionWritesNothing", aChangeWithOneWrongRevisionWritesNothing},
	{"AnOrderOfAnotherRevisionIsAConflict", anOrderOfAnotherRevisionIsAConflict},
	{"OnlyTheNextRevisionIsTaken", onlyTheNextRevisionIsTaken},
	{"ABillTwiceInOneChangeIsAConflict", aBillTwiceInOneChangeIsAConflict},
	{"OfManyCommitsOfOneRevisionExactlyOneWins", ofManyCommitsOfOneRevisionExactlyOneWins},
	{"OfManyFirstAttemptsOfAnOrderExactlyOneWins", ofManyFirstAttemptsOfAnOrderExactlyOneWins},
	{"CountersUnderConcurrencyLoseNothing", countersUnderConcurrencyLoseNothing},
	{"ConcurrentHistoriesOfOneBillAreLinearizable", concurrentHistoriesOfOneBillAreLinearizable},
	{"ACommitIsVisibleToItsCallerAtOnce", aCommitIsVisibleToItsCallerAtOnce},
	{"AnEmptyChangeIsNoError", anEmptyChangeIsNoError},
	{"ACancelledCommitBeforeItsStartWritesNothing", aCancelledCommitBeforeItsStartWritesNothing},
	{"TheStoreKeepsNothingOfTheCallersMemory", theStoreKeepsNothingOfTheCallersMemory},
	{"TextThatIsNotUTF8IsRefusedWhole", textThatIsNotUTF8IsRefusedWhole},
}

func aChangeWithOneWrongRevisionWritesNothing(t *testing.T, store bill.Store) {
	held := sample("held")
	commit(t, store, only(held))
	changed := moved(held)
	changed.Status, changed.Due = bill.Success, noon

	fresh, stale := sample("fresh"), sample("held") // stale's revision is held already
	c := only(fresh, stale)
	c.Bills[0].Details = &bill.Details{Description: "d"}
	c.Bills[0].Events = []bill.Event{{Kind: bill.EventCreated, At: noon}}
	c.Order = &bill.OrderRecord{Key: fresh.OrderKey(), Revision: 1}
	c.Idempotency = &bill.Idempotency{Key: "k", Bill: "fresh", ExpiresAt: noon}
	c.Orphan = &bill.Orphan{Ledger: "ledger", ID: "x", At: noon}
	c.Notifications = []bill.Notification{news("fresh", fresh)}
	wantConflict(t, store, c)

	wantConflict(t, store, only(changed, sample("held")))
	wantBill(t, store, held)
	wantNoBill(t, store, "fresh")
	wantOpen(t, store, 1)
	wantDue(t, store, noon)
	wantSame(t, []string{"held"}, pages(t, store, bill.Query{Limit: 10}))
	wantNothingElse(t, store, fresh)
}

// wantNothingElse checks that no record beside the bill was written.
func wantNothingElse(t *testing.T, store bill.Store, b bill.Bill) {
	t.Helper()
	if events, err := store.History(t.Context(), b.ID); err != nil || len(events) > 0 {
		t.Errorf("History: %v, %v", events, err)
	}
	if _, err := store.Details(t.Context(), b.ID); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("Details: %v", err)
	}
	if _, err := store.Order(t.Context(), b.OrderKey()); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("Order: %v", err)
	}
	if _, err := store.Idempotent(t.Context(), "k", noon.AddDate(-1, 0, 0)); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("Idempotent: %v", err)
	}
	wantNoNotification(t, store, b.ID)
	wantNonePending(t, store, news(b.ID, b))
	wantToTell(t, store, noon.AddDate(1, 0, 0))
	if orphans, _, err := store.Orphans(t.Context(), "", 10); err != nil || len(orphans) > 0 {
		t.Errorf("Orphans: %v, %v", orphans, err)
	}
}

func anOrderOfAnotherRevisionIsAConflict(t *testing.T, store bill.Store) {
	b := sample("a")
	record := bill.OrderRecord{Key: b.OrderKey(), Revision: 1}
	commit(t, store, bill.Change{Order: &record})

	c := only(b)
	c.Order = &record
	wantConflict(t, store, c)
	wantNoBill(t, store, b.ID)

	record.Revision = 2
	commit(t, store, c)
	wantBill(t, store, b)
}

func onlyTheNextRevisionIsTaken(t *testing.T, store bill.Store) {
	b := sample("a")
	for _, revision := range []uint64{0, 2, 1 << 63, ^uint64(0)} {
		b.Revision = revision
		wantConflict(t, store, only(b))
	}
	b.Revision = 1
	commit(t, store, only(b))
	for _, revision := range []uint64{0, 1, 3} {
		b.Revision = revision
		wantConflict(t, store, only(b))
	}
	b.Revision = 2
	commit(t, store, only(b))
	wantBill(t, store, b)
}

func aBillTwiceInOneChangeIsAConflict(t *testing.T, store bill.Store) {
	b := sample("a")
	wantConflict(t, store, only(b, b))
	wantConflict(t, store, only(b, moved(b)))
	wantNoBill(t, store, b.ID)
}

// story 7
func ofManyCommitsOfOneRevisionExactlyOneWins(t *testing.T, store bill.Store) {
	b := sample("a")
	commit(t, store, only(b))
	outcomes := race(t, store, func(i int) bill.Change {
		next := moved(b)
		next.BillCode = fmt.Sprint(i)
		return only(next)
	})
	winner := wantOneWinner(t, outcomes)
	next := moved(b)
	next.BillCode = fmt.Sprint(winner)
	wantBill(t, store, next)
}

// story 4
func ofManyFirstAttemptsOfAnOrderExactlyOneWins(t *testing.T, store bill.Store) {
	key := sample("order").OrderKey()
	attempt := func(i int) bill.Bill {
		b := sample(fmt.Sprint("attempt-", i))
		b.OrderCode = key.OrderCode
		return b
	}
	outcomes := race(t, store, func(i int) bill.Change {
		c := only(attempt(i))
		record, _ := bill.OrderRecord{Key: key, Revision: 1}.With(attempt(i))
		c.Order = &record
		return c
	})
	winner := wantOneWinner(t, outcomes)
	record, err := store.Order(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if latest, _ := record.Latest(); latest.ID != attempt(winner).ID || len(record.Attempts) != 1 {
		t.Errorf("the order has %v, the winner was %d", record.Attempts, winner)
	}
	wantSame(t, []string{attempt(winner).ID}, pages(t, store, bill.Query{Limit: 100}))
}

// race commits many changes at once and returns the errors.
func race(t *testing.T, store bill.Store, change func(i int) bill.Change) []error {
	t.Helper()
	return raceThrough(t, []bill.Store{store}, change)
}

// raceThrough has the changes take turns with the stores, which are one.
func raceThrough(t *testing.T, stores []bill.Store, change func(i int) bill.Change) []error {
	t.Helper()
	const n = 32
	outcomes := make([]error, n)
	start := make(chan struct{})
	var tasks sync.WaitGroup
	for i := range n {
		tasks.Go(func() {
			c := change(i)
			<-start
			outcomes[i] = stores[i%len(stores)].Commit(t.Context(), c)
		})
	}
	close(start)
	tasks.Wait()
	return outcomes
}

func wantOneWinner(t *testing.T, outcomes []error) int {
	t.Helper()
	winner, winners := 0, 0
	for i, err := range outcomes {
		switch {
		case err == nil:
			winner, winners = i, winners+1
		case !errors.Is(err, bill.ErrConflict):
			t.Errorf("commit %d: %v", i, err)
		}
	}
	if winners != 1 {
		t.Fatalf("%d of %d commits won, want one", winners, len(outcomes))
	}
	return winner
}

// countersUnderConcurrencyLoseNothing counts in two bills at once; that both
// always agree shows that no commit is seen by half.
func countersUnderConcurrencyLoseNothing(t *testing.T, store bill.Store) {
	const writers, each = 8, 25
	commit(t, store, only(sample("left"), sample("right")))
	var tasks sync.WaitGroup
	for range writers {
		tasks.Go(func() {
			for range each {
				if err := count(t.Context(), store); err != nil {
					t.Errorf("count: %v", err)
					return
				}
			}
		})
	}
	tasks.Wait()
	for _, id := range []string{"left", "right"} {
		b, err := store.Bill(t.Context(), id)
		if err != nil || b.Attempt != 1+writers*each || b.Revision != 1+writers*each {
			t.Errorf("%s has counted to %d at revision %d (%v), want %d", id, b.Attempt, b.Revision, err, 1+writers*each)
		}
	}
}

// count adds one to both bills, however often it takes.
func count(ctx context.Context, store bill.Store) error {
	for {
		left, err := store.Bill(ctx, "left")
		if err != nil {
			return err
		}
		right, err := store.Bill(ctx, "right")
		if err != nil {
			return err
		}
		if right.Revision < left.Revision {
			return fmt.Errorf("read revision %d of right after %d of left", right.Revision, left.Revision)
		}
		left, right = moved(left), moved(right)
		left.Attempt++
		right.Attempt++
		if err := store.Commit(ctx, only(left, right)); !errors.Is(err, bill.ErrConflict) {
			return err
		}
	}
}

func aCommitIsVisibleToItsCallerAtOnce(t *testing.T, store bill.Store) {
	var tasks sync.WaitGroup
	for _, id := range numbered(8) {
		tasks.Go(func() {
			b := sample(id)
			for range 20 {
				if err := store.Commit(t.Context(), only(b)); err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				if got, err := store.Bill(t.Context(), id); err != nil || got.Revision != b.Revision {
					t.Errorf("read revision %d (%v) after committing %d", got.Revision, err, b.Revision)
					return
				}
				b = moved(b)
			}
		})
	}
	tasks.Wait()
}

func anEmptyChangeIsNoError(t *testing.T, store bill.Store) {
	commit(t, store, bill.Change{})
}

func aCancelledCommitBeforeItsStartWritesNothing(t *testing.T, store bill.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Commit(ctx, only(sample("a"))); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v, want the context's error", err)
	}
	commit(t, store, only(sample("b"))) // whatever was queued before is through now
	wantNoBill(t, store, "a")
}

func theStoreKeepsNothingOfTheCallersMemory(t *testing.T, store bill.Store) {
	b := sample("a")
	c := only(b)
	c.Bills[0].Details = &bill.Details{Items: []bill.Item{{SKUCode: "given"}}}
	c.Bills[0].Events = []bill.Event{{Kind: bill.EventCreated, At: noon}}
	c.Order = &bill.OrderRecord{Key: b.OrderKey(), Revision: 1, Attempts: []bill.Attempt{{ID: "given"}}}
	commit(t, store, c)

	for range 2 { // what is given first, what is handed out then
		c.Bills[0].Bill.ID = "changed"
		c.Bills[0].Details.Items[0].SKUCode = "changed"
		c.Bills[0].Events[0].Kind = bill.EventForced
		c.Order.Attempts[0].ID = "changed"

		details, err := store.Details(t.Context(), b.ID)
		events, err2 := store.History(t.Context(), b.ID)
		record, err3 := store.Order(t.Context(), b.OrderKey())
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		if details.Items[0].SKUCode != "given" || events[0].Kind != bill.EventCreated || record.Attempts[0].ID != "given" {
			t.Fatalf("changed from outside: %v %v %v", details, events, record)
		}
		c.Bills[0].Details, c.Bills[0].Events, c.Order = &details, events, &record
	}
}

func textThatIsNotUTF8IsRefusedWhole(t *testing.T, store bill.Store) {
	broken := sample("broken")
	broken.ErrorCode = "\xff"
	err := store.Commit(t.Context(), only(sample("a"), broken))
	if err == nil || errors.Is(err, bill.ErrConflict) {
		t.Errorf("Commit: %v", err)
	}
	wantNoBill(t, store, "a")
	wantNoBill(t, store, "broken")
}
