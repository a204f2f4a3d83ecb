package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// peerTests are promises of a store that two processes have open.
var peerTests = []struct {
	name string
	run  func(t *testing.T, one, other bill.Store)
}{
	{"ACommitThroughOneIsAtOnceVisibleThroughTheOther", aCommitThroughOneIsAtOnceVisibleThroughTheOther},
	{"ConcurrentHistoriesThroughBothAreLinearizable", concurrentHistoriesThroughBothAreLinearizable},
	{"AChangeThroughOneWakesAWatcherOfTheOther", aChangeThroughOneWakesAWatcherOfTheOther},
	{"AChangeThroughOneIsToldByAFeedOfTheOther", aChangeThroughOneIsToldByAFeedOfTheOther},
	{"OfManyCommitsOfOneRevisionThroughBothExactlyOneWins", ofManyCommitsOfOneRevisionThroughBothExactlyOneWins},
	{"OfManyFirstAttemptsOfAnOrderThroughBothExactlyOneWins", ofManyFirstAttemptsOfAnOrderThroughBothExactlyOneWins},
	{"OfManyFirstNotificationsThroughBothExactlyOneIsPending", ofManyFirstNotificationsThroughBothExactlyOneIsPending},
	{"WhatIsLeasedThroughOneIsNotThroughTheOther", whatIsLeasedThroughOneIsNotThroughTheOther},
	{"ManyHoldersAtBothShareOutWhatIsDue", manyHoldersAtBothShareOutWhatIsDue},
	{"ClosingOneLeavesTheOther", closingOneLeavesTheOther},
}

// hearsWithin bounds how long a process does not know of another one's change.
const hearsWithin = 3 * time.Second

// runPeers tries each promise both ways round.
func (s Suite) runPeers(t *testing.T) {
	for _, test := range peerTests {
		t.Run(test.name, func(t *testing.T) {
			one, other := s.openTwice(t)
			test.run(t, one, other)
			one, other = s.openTwice(t)
			test.run(t, other, one)
		})
	}
}

// openTwice opens an empty store in two ways, which the test's end closes.
func (s Suite) openTwice(t *testing.T) (one, other bill.Store) {
	t.Helper()
	dir := t.TempDir()
	one = s.open(t, dir)
	other = s.Peer(t, dir)
	t.Cleanup(func() { _ = other.Close() })
	return one, other
}

func aCommitThroughOneIsAtOnceVisibleThroughTheOther(t *testing.T, one, other bill.Store) {
	for _, id := range numbered(20) {
		b := due(id)
		n := news(b.ID, b)
		c := only(b)
		c.Bills[0].Details = &bill.Details{Description: b.ID}
		c.Bills[0].Events = []bill.Event{{Kind: bill.EventCreated, At: noon}}
		c.Order = &bill.OrderRecord{Key: b.OrderKey(), Revision: 1, Attempts: []bill.Attempt{{ID: b.ID}}}
		c.Notifications = []bill.Notification{n}
		commit(t, one, c)
		wantBill(t, other, b)
		wantNotification(t, other, n)
		wantPending(t, other, n)
		history, err := other.History(t.Context(), b.ID)
		record, err2 := other.Order(t.Context(), b.OrderKey())
		if err := errors.Join(err, err2); err != nil || len(history) != 1 || len(record.Attempts) != 1 {
			t.Fatalf("%d lines, %d attempts, %v", len(history), len(record.Attempts), err)
		}
		b = moved(b)
		commit(t, other, only(b))
		wantBill(t, one, b)
	}
	wantSame(t, pages(t, one, bill.Query{Limit: 7}), pages(t, other, bill.Query{Limit: 7}))
	counts, err := one.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantCounts(t, other, counts)
}

func concurrentHistoriesThroughBothAreLinearizable(t *testing.T, one, other bill.Store) {
	histories(t, []bill.Store{one, other}, 10, 2)
}

// aChangeThroughOneWakesAWatcherOfTheOther has both write, as they do where a
// webhook and a buyer's wish come to two nodes.
func aChangeThroughOneWakesAWatcherOfTheOther(t *testing.T, one, other bill.Store) {
	b := sample("a")
	versions, stop := other.Watch(b.ID)
	defer stop()
	commit(t, one, only(b))
	wantAfter(t, versions, 0, 1)
	for range 20 {
		b = moved(b)
		commit(t, one, only(b))
		b = moved(b)
		commit(t, other, only(b))
	}
	wantAfter(t, versions, 1, b.Version)
	b.Revision++ // which no buyer sees
	commit(t, one, only(b))
	b = moved(b)
	commit(t, one, only(b))
	wantAfter(t, versions, b.Version-1, b.Version)
}

// wantAfter receives until a version comes. None goes back behind the one before.
func wantAfter(t *testing.T, versions <-chan uint64, seen, want uint64) {
	t.Helper()
	late := time.After(hearsWithin)
	for seen < want {
		select {
		case version, open := <-versions:
			if !open || version < seen {
				t.Fatalf("received version %d (channel open: %v) after %d", version, open, seen)
			}
			seen = version
		case <-late:
			t.Fatalf("heard of version %d, not of %d within %v", seen, want, hearsWithin)
		}
	}
	if seen != want {
		t.Fatalf("received version %d, want %d", seen, want)
	}
}

func aChangeThroughOneIsToldByAFeedOfTheOther(t *testing.T, one, other bill.Store) {
	feed := other.WatchAll()
	defer feed.Stop()
	ids := numbered(30)
	for _, id := range ids {
		commit(t, one, only(sample(id)))
	}
	wantTellsOf(t, feed, ids)
	commit(t, one, only(moved(sample(ids[0]))))
	wantTellsOf(t, feed, ids[:1])
}

// wantTellsOf reads a feed until it has told of all of the bills.
func wantTellsOf(t *testing.T, feed bill.Feed, ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hearsWithin)
	defer cancel()
	told := make(map[string]bool)
	missing := func(id string) bool { return !told[id] }
	for slices.ContainsFunc(ids, missing) {
		moved, err := feed.Next(ctx)
		if err != nil {
			t.Fatalf("told of %d bills, want %d: %v", len(told), len(ids), err)
		}
		for _, id := range moved {
			told[id] = true
		}
	}
}

func ofManyCommitsOfOneRevisionThroughBothExactlyOneWins(t *testing.T, one, other bill.Store) {
	b := sample("a")
	commit(t, one, only(b))
	try := func(i int) bill.Bill {
		next := moved(b)
		next.BillCode = fmt.Sprint(i)
		return next
	}
	winner := wantOneWinner(t, raceThrough(t, []bill.Store{one, other}, func(i int) bill.Change { return only(try(i)) }))
	wantBill(t, one, try(winner))
	wantBill(t, other, try(winner))
}

// story 4: two nodes find no bill of an order, and both make one.
func ofManyFirstAttemptsOfAnOrderThroughBothExactlyOneWins(t *testing.T, one, other bill.Store) {
	attempt := func(i int) bill.Bill {
		b := sample(fmt.Sprint("attempt-", i))
		b.OrderCode = "order"
		return b
	}
	winner := attempt(wantOneWinner(t, raceThrough(t, []bill.Store{one, other}, func(i int) bill.Change {
		c := only(attempt(i))
		record, _ := bill.OrderRecord{Key: attempt(i).OrderKey(), Revision: 1}.With(attempt(i))
		c.Order = &record
		return c
	})))
	for _, store := range []bill.Store{one, other} {
		record, err := store.Order(t.Context(), winner.OrderKey())
		if latest, _ := record.Latest(); err != nil || latest.ID != winner.ID || len(record.Attempts) != 1 {
			t.Errorf("the order has %v (%v), the winner was %s", record.Attempts, err, winner.ID)
		}
		wantSame(t, []string{winner.ID}, found(t, store, "order", 10))
	}
}

func ofManyFirstNotificationsThroughBothExactlyOneIsPending(t *testing.T, one, other bill.Store) {
	b := sample("a")
	commit(t, one, only(b))
	attempt := func(i int) bill.Notification { return news(fmt.Sprint(b.ID, "-", i), b) }
	winner := attempt(wantOneWinner(t, raceThrough(t, []bill.Store{one, other}, func(i int) bill.Change { return telling(attempt(i)) })))
	wantPending(t, one, winner)
	wantPending(t, other, winner)
}

// leasers returns both stores where work is leased, else nothing.
func leasers(stores ...bill.Store) (shared []leasing) {
	for _, store := range stores {
		if l, ok := store.(leasing); ok {
			shared = append(shared, l)
		}
	}
	return shared
}

func whatIsLeasedThroughOneIsNotThroughTheOther(t *testing.T, one, other bill.Store) {
	both := leasers(one, other)
	if len(both) == 0 {
		return
	}
	a, b := both[0], both[1]
	work, first, next := due("a"), news("first", sample("a")), news("next", sample("a"))
	c := only(work)
	c.Notifications = []bill.Notification{first}
	commit(t, a, c)
	wantLeased(t, a, lease("a", long), work.ID)
	wantLeasedToTell(t, a, lease("a", long), first.ID)
	wantLeased(t, b, lease("b", long))
	wantLeasedToTell(t, b, lease("b", long))

	commit(t, b, telling(became(first, bill.Superseded), next))
	wantLeasedToTell(t, b, lease("b", long))
	release(t, a, "a")
	wantLeased(t, b, lease("b", long), work.ID)
	wantLeasedToTell(t, b, lease("b", long), next.ID)
	wantLeased(t, a, lease("a", long))
	wantLeasedToTell(t, a, lease("a", long))

	done := moved(work)
	done.Due = time.Time{}
	commit(t, a, only(done)) // a write through either ends it
	commit(t, a, telling(became(next, bill.Delivered)))
	wantLeased(t, b, lease("b", long))
	wantLeasedToTell(t, b, lease("b", long))
}

func manyHoldersAtBothShareOutWhatIsDue(t *testing.T, one, other bill.Store) {
	both := leasers(one, other)
	if len(both) == 0 {
		return
	}
	ids := fill(t, one, 100, func(_ int, b *bill.Bill) { b.Due = noon })
	shareOut(t, ids, both[0].LeaseDue, both[1].LeaseDue)
}

func closingOneLeavesTheOther(t *testing.T, one, other bill.Store) {
	b := sample("a")
	versions, stop := other.Watch(b.ID)
	defer stop()
	closed := make(chan error, 1)
	go func() { closed <- one.Close() }()
	commit(t, other, only(b))
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	wantAfter(t, versions, 0, 1)
	b = moved(b)
	commit(t, other, only(b))
	wantBill(t, other, b)
	wantAfter(t, versions, 1, b.Version)
	for _, shared := range leasers(other) {
		wantLeased(t, shared, lease("a", long))
	}
}
