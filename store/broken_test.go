package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func mustHold(t *testing.T, r *registry) *Holding {
	t.Helper()
	held, ok := r.hold("key")
	if !ok {
		t.Fatal("the open store is not held")
	}
	return held
}

func TestAHeldStoreStaysOpenBetweenLeases(t *testing.T) {
	var r registry
	var h house
	if _, ok := r.hold("key"); ok {
		t.Fatal("a store that nobody opened is held")
	}
	lease := mustAcquire(t, &r, h.openStore)
	held, too := mustHold(t, &r), mustHold(t, &r)
	lease.Release()
	again, ok := r.tryAcquire("key")
	if !ok || again.Store() != lease.Store() {
		t.Fatal("it was closed")
	}
	held.Release()
	held.Release()
	again.Release()
	if h.open.Load() != 1 || too.Lost() != nil {
		t.Error("it was closed while somebody held it")
	}
	too.Release()
	if h.open.Load() != 0 {
		t.Error("it is open, and nobody holds it")
	}
}

func TestABrokenStoreIsLeasedToNobodyAndOpenedAnewAfterItsLastLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		var h house
		lease, last := mustAcquire(t, &r, h.openStore), mustAcquire(t, &r, h.openStore)
		held := mustHold(t, &r)
		lease.Store().(*guest).fail()
		if _, ok := r.tryAcquire("key"); ok || r.has("key") {
			t.Error("a broken store passes for a good one")
		}
		if _, ok := r.hold("key"); ok || !errors.Is(held.Lost(), errFault) {
			t.Error("a broken store is held")
		}
		var tasks sync.WaitGroup
		for range 8 {
			tasks.Go(func() {
				next := mustAcquire(t, &r, h.openStore)
				if next.Store() == lease.Store() {
					t.Error("the broken store was leased")
				}
				next.Release()
			})
		}
		lease.Release()
		synctest.Wait()
		if n := h.opened.Load(); n != 1 || h.open.Load() != 1 {
			t.Errorf("opened %d times while somebody uses the broken one, %d are open", n, h.open.Load())
		}
		last.Release()
		tasks.Wait()
		held.Release()
		if h.overlaps.Load() > 0 || h.open.Load() != 0 {
			t.Errorf("%d times two stores were open; %d are still", h.overlaps.Load(), h.open.Load())
		}
	})
}

func TestABrokenStoreThatIsOnlyHeldGivesWay(t *testing.T) {
	var r registry
	var h house
	lease := mustAcquire(t, &r, h.openStore)
	old := []*Holding{mustHold(t, &r), mustHold(t, &r)}
	lease.Release()
	lease.Store().(*guest).fail()
	next := mustAcquire(t, &r, h.openStore)
	held := mustHold(t, &r)
	next.Release()
	for _, o := range old {
		o.Release() // of the one that is gone
	}
	if !r.has("key") || held.Lost() != nil || h.overlaps.Load() > 0 {
		t.Error("the new store was not left alone")
	}
	held.Release()
	if h.open.Load() != 0 {
		t.Error("still open")
	}
}

func TestWaitingForABrokenStoreEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		var h house
		lease := mustAcquire(t, &r, h.openStore)
		lease.Store().(*guest).fail()
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		tasks.Go(func() {
			if _, err := r.acquire(ctx, "key", h.openStore); !errors.Is(err, context.Canceled) {
				t.Errorf("acquire: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		tasks.Wait()
		lease.Release()
	})
}

func TestTheLastUserOfABrokenStoreDoesNotWaitForItsClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		var h house
		proceed := make(chan struct{})
		h.closing = func() {
			h.closing = nil
			<-proceed
		}
		lease := mustAcquire(t, &r, h.openStore)
		lease.Store().(*guest).fail()
		lease.Release() // else the bubble is dead
		var tasks sync.WaitGroup
		tasks.Go(func() { mustAcquire(t, &r, h.openStore).Release() })
		synctest.Wait()
		if n := h.opened.Load(); n != 1 {
			t.Errorf("opened %d times while the broken one closes", n)
		}
		close(proceed)
		tasks.Wait()
		if h.overlaps.Load() > 0 {
			t.Error("two stores were open")
		}
	})
}

func TestStoresThatBreakUnderManyHoldersNeverOverlap(t *testing.T) {
	var r registry
	var h house
	var tasks sync.WaitGroup
	for worker := range 16 {
		tasks.Go(func() {
			var held *Holding
			for n := range 200 {
				lease := mustAcquire(t, &r, h.openStore)
				if held == nil || held.Lost() != nil {
					if next, ok := r.hold("key"); ok {
						held = next
					}
				}
				if (n+worker)%5 == 0 {
					lease.Store().(*guest).fail()
				}
				if _, err := lease.Store().OpenBills(t.Context()); err != nil {
					t.Errorf("closed while leased: %v", err)
				}
				lease.Release()
			}
			if held != nil {
				held.Release()
			}
		})
	}
	tasks.Wait()
	mustAcquire(t, &r, h.openStore).Release() // waits for one that closes
	if h.overlaps.Load() > 0 || h.open.Load() != 0 {
		t.Errorf("%d times two stores were open; %d are still", h.overlaps.Load(), h.open.Load())
	}
	if h.opened.Load() < 2 {
		t.Error("none was opened anew")
	}
}
