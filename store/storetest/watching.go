package storetest

import (
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
