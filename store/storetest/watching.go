package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var watchTests = []test{
	{"AWatcherHearsOfLaterVersions", aWatcherHearsOfLaterVersions},
	{"VersionsThatNobodyTookCoalesce", versionsThatNobodyTookCoalesce},
	{"AWriteThatMovesNoVersionWakesNobody", aWriteThatMovesNoVersionWakesNobody},
	{"SubscribingBeforeReadingMissesNothing", subscribingBeforeReadingMissesNothing},
	{"AWatcherThatNeverReceivesDelaysNobody", aWatcherThatNeverReceivesDelaysNobody},
	{"StopClosesTheChannel", stopClosesTheChannel},
	{"AFeedTellsOfEachBillOnce", aFeedTellsOfEachBillOnce},
	{"AFeedWaitsAndEndsWithItsReader", aFeedWaitsAndEndsWithItsReader},
	{"AFeedMissesNoBillOfManyWriters", aFeedMissesNoBillOfManyWriters},
}

func aWatcherHearsOfLaterVersions(t *testing.T, store bill.Store) {
	b := sample("a")
	versions, stop := store.Watch(b.ID) // before it exists
	defer stop()
	commit(t, store, only(b))
	wantVersion(t, versions, 1)
	b = moved(b)
	commit(t, store, only(b, sample("other")))
	wantVersion(t, versions, 2)
	wantConflict(t, store, only(b))
	wantNoVersion(t, versions)
}

func wantVersion(t *testing.T, versions <-chan uint64, want uint64) {
	t.Helper()
	if got := <-versions; got != want {
		t.Fatalf("received version %d, want %d", got, want)
	}
}

func wantNoVersion(t *testing.T, versions <-chan uint64) {
	t.Helper()
	select {
	case got, open := <-versions:
		t.Fatalf("received version %d (channel open: %v), want none", got, open)
	default:
	}
}

// story 18
func versionsThatNobodyTookCoalesce(t *testing.T, store bill.Store) {
	b := sample("a")
	commit(t, store, only(b))
	versions, stop := store.Watch(b.ID)
	defer stop()
	for range 5 {
		b = moved(b)
		commit(t, store, only(b))
	}
	// A store may tell a moment after the commit: the last version still comes.
	for got := range versions {
		if got == b.Version {
			return
		}
	}
	t.Error("the channel was closed before the last version came")
}

func aWriteThatMovesNoVersionWakesNobody(t *testing.T, store bill.Store) {
	b := sample("a")
	commit(t, store, only(b))
	versions, stop := store.Watch(b.ID)
	defer stop()
	b.Revision++
	commit(t, store, only(b))
	b = moved(b)
	commit(t, store, only(b))
	wantVersion(t, versions, 2) // and nothing came before
	b.Revision++
	commit(t, store, only(b))
	wantNoVersion(t, versions)
}

func subscribingBeforeReadingMissesNothing(t *testing.T, store bill.Store) {
	const id, last = "a", 50
	b := sample(id)
	commit(t, store, only(b))
	var tasks sync.WaitGroup
	for range 4 {
		tasks.Go(func() {
			versions, stop := store.Watch(id)
			defer stop()
			now, err := store.Bill(t.Context(), id)
			if err != nil {
				t.Errorf("Bill: %v", err)
				return
			}
			for seen := now.Version; seen < last; {
				version, open := <-versions
				if !open {
					t.Errorf("closed at version %d", seen)
					return
				}
				seen = version
			}
		})
	}
	for b.Version < last {
		b = moved(b)
		commit(t, store, only(b))
	}
	tasks.Wait()
}

func aWatcherThatNeverReceivesDelaysNobody(t *testing.T, store bill.Store) {
	b := sample("a")
	for range 100 {
		_, stop := store.Watch(b.ID)
		defer stop()
	}
	for range 20 {
		commit(t, store, only(b))
		b = moved(b)
	}
}

func stopClosesTheChannel(t *testing.T, store bill.Store) {
	b := sample("a")
	versions, stop := store.Watch(b.ID)
	still, stopStill := store.Watch(b.ID)
	defer stopStill()
	stop()
	stop()
	commit(t, store, only(b))
	if version, open := <-versions; open {
		t.Errorf("received version %d after stop", version)
	}
	wantVersion(t, still, 1)
}

// wantNext checks what a feed tells, in any order.
func wantNext(t *testing.T, feed bill.Feed, want ...string) {
	t.Helper()
	got, err := feed.Next(t.Context())
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	slices.Sort(got)
	wantSame(t, want, got)
}

func aFeedTellsOfEachBillOnce(t *testing.T, store bill.Store) {
	commit(t, store, only(sample("before")))
	feed, other := store.WatchAll(), store.WatchAll()
	defer other.Stop()
	a, b := sample("a"), sample("b")
	commit(t, store, only(a, b))
	a = moved(a)
	commit(t, store, only(a))
	wantConflict(t, store, only(a))
	wantNext(t, feed, "a", "b")

	a.Revision++ // moves no version
	commit(t, store, only(a))
	b = moved(b)
	commit(t, store, only(b))
	wantNext(t, feed, "b")
	wantNext(t, other, "a", "b")

	feed.Stop()
	feed.Stop()
	commit(t, store, only(moved(a)))
	if ids, err := feed.Next(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("after Stop: %v, %v", ids, err)
	}
	wantNext(t, other, "a")
}

func aFeedWaitsAndEndsWithItsReader(t *testing.T, store bill.Store) {
	feed := store.WatchAll()
	defer feed.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := feed.Next(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	told := make(chan []string, 1)
	go func() {
		ids, _ := feed.Next(t.Context())
		told <- ids
	}()
	commit(t, store, only(sample("a")))
	wantSame(t, []string{"a"}, <-told)
}

func aFeedMissesNoBillOfManyWriters(t *testing.T, store bill.Store) {
	const writers, bills = 4, 25
	feed := store.WatchAll()
	defer feed.Stop()
	var tasks sync.WaitGroup
	for writer := range writers {
		tasks.Go(func() {
			for n := range bills {
				if err := store.Commit(t.Context(), only(sample(fmt.Sprint(writer, "-", n)))); err != nil {
					t.Errorf("Commit: %v", err)
				}
			}
		})
	}
	seen := make(map[string]int)
	for len(seen) < writers*bills {
		ids, err := feed.Next(t.Context())
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		for _, id := range ids {
			seen[id]++
		}
	}
	tasks.Wait()
	for id, times := range seen {
		if times > 1 { // each was written once
			t.Errorf("told of %s %d times", id, times)
		}
	}
}
