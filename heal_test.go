package caddyqlink

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

// disk is an opener whose stores break. What they were told is kept, and two
// of them must never be open at once.
type disk struct {
	t    *testing.T
	kept bill.Store

	mu    sync.Mutex
	full  bool // nothing can be opened
	tries int
	open  int
}

// disked is one opening of a disk.
type disked struct {
	bill.Store

	disk  *disk
	mu    sync.Mutex
	fault error
}

func newDisk(t *testing.T) *disk { return &disk{t: t, kept: memory.New()} }

func (d *disk) Key() (string, error) { return "disk:" + d.t.Name(), nil }

func (d *disk) Open(context.Context, bill.Env) (bill.Store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tries++
	if d.full {
		return nil, bill.ErrUnavailable
	}
	if d.open++; d.open > 1 {
		d.t.Error("two stores are open on one disk")
	}
	return &disked{Store: d.kept, disk: d}, nil
}

func (d *disk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// wantTries fails the test unless there were so many tries to open the disk.
func (d *disk) wantTries(n int) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tries != n {
		d.t.Errorf("it was tried %d times, want %d", d.tries, n)
	}
}

func (s *disked) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = bill.ErrUnavailable
}

func (s *disked) Broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

func (s *disked) Close() error {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	s.disk.open--
	return nil
}

// vault makes one that has not started.
func (d *disk) vault() *vault {
	d.t.Helper()
	v, err := newVault(d, zap.NewNop())
	if err != nil {
		d.t.Fatal(err)
	}
	return v
}

func mustStart(t *testing.T, v *vault) {
	t.Helper()
	if err := v.start(); err != nil {
		t.Fatal(err)
	}
}

// visit leases the store, and does with it what it is told.
func visit(t *testing.T, v *vault, use func(bill.Store)) {
	t.Helper()
	s, release, err := v.lease(t.Context())
	if err != nil {
		t.Fatalf("lease: %v", err)
	}
	defer release()
	use(s)
}

func breakStore(s bill.Store) { s.(*disked).fail() }

func wantUnavailable(t *testing.T, v *vault) {
	t.Helper()
	if _, _, err := v.lease(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("lease: %v", err)
	}
}

func TestAStoreThatBreaksHealsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		v := d.vault()
		mustStart(t, v)
		defer v.stop()
		advance(retryWait)
		visit(t, v, func(s bill.Store) { keepBill(t, s) })
		d.fill(true)
		visit(t, v, breakStore)
		for failed := range 2 {
			for range 100 {
				wantUnavailable(t, v)
			}
			d.wantTries(1 + failed + 1)
			advance(retryWait)
		}
		d.fill(false)
		visit(t, v, func(s bill.Store) {
			if _, err := s.Bill(t.Context(), someID); err != nil {
				t.Errorf("what was acknowledged: %v", err)
			}
		})
		d.wantTries(4)
		if !store.Has(v.key) {
			t.Error("the configuration does not hold the store it found again")
		}
	})
}

func TestAReloadWhileTheStoreIsBrokenWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		before, after := d.vault(), d.vault()
		mustStart(t, before)
		visit(t, before, breakStore)
		mustStart(t, after) // while the one before holds the broken store
		d.wantTries(2)
		visit(t, after, func(bill.Store) {})
		visit(t, before, func(bill.Store) {})
		before.stop()
		if !store.Has(after.key) {
			t.Error("the store of the one before was closed under the one after")
		}
		after.stop()
		if store.Has(after.key) {
			t.Error("the store is open after the end")
		}
		d.wantTries(2)
	})
}

func TestAReloadWhileTheDiskIsStillFullLoadsAndHealsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		before, after := d.vault(), d.vault()
		mustStart(t, before)
		visit(t, before, breakStore)
		d.fill(true)
		mustStart(t, after)
		before.stop()
		wantUnavailable(t, after)
		d.fill(false)
		advance(retryWait)
		visit(t, after, func(bill.Store) {})
		after.stop()
	})
}

func TestAStoreThatBreaksAtOnceIsNotOpenedByEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		v := d.vault()
		mustStart(t, v)
		defer v.stop()
		for seconds := range 3 {
			visit(t, v, breakStore)
			for range 100 {
				wantUnavailable(t, v)
			}
			d.wantTries(1 + seconds)
			advance(retryWait)
		}
	})
}

func TestARequestWaitsForWhoStillUsesTheBrokenStoreButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		v := d.vault()
		mustStart(t, v)
		defer v.stop()
		advance(retryWait)
		s, release, err := v.lease(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		breakStore(s)
		wantUnavailable(t, v) // after leaseWait
		advance(retryWait)
		var waiting sync.WaitGroup
		waiting.Go(func() { visit(t, v, func(bill.Store) {}) })
		synctest.Wait()
		d.wantTries(1)
		release()
		waiting.Wait()
		d.wantTries(2)
	})
}
