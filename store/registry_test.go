package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house makes stores that must never be open twice, as a folder's lock would
// have it.
type house struct {
	open     atomic.Int32
	opened   atomic.Int32
	overlaps atomic.Int32
	closing  func() // called at the begin of each Close, if not nil
}

func (h *house) openStore(context.Context) (bill.Store, error) {
	if h.open.Add(1) > 1 {
		h.overlaps.Add(1)
	}
	h.opened.Add(1)
	return &guest{Store: memory.New(), house: h}, nil
}

type guest struct {
	bill.Store
	house *house
	fault atomic.Pointer[error]
}

var errFault = errors.New("no disk")

func (g *guest) fail() { g.fault.Store(&errFault) }

func (g *guest) Broken() error {
	if fault := g.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

func (g *guest) Close() error {
	if g.house.closing != nil {
		g.house.closing()
	}
	g.house.open.Add(-1)
	return g.Store.Close()
}

func mustAcquire(t *testing.T, r *registry, open func(context.Context) (bill.Store, error)) *Lease {
	t.Helper()
	lease, err := r.acquire(t.Context(), "key", open)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	return lease
}

func TestLeasesOfOneKeyShareOneStoreUntilTheLastRelease(t *testing.T) {
	var r registry
	var h house
	first := mustAcquire(t, &r, h.openStore)
	second := mustAcquire(t, &r, h.openStore)
	if first.Store() != second.Store() {
		t.Error("two stores for one key")
	}
	first.Release()
	first.Release()
	if _, err := second.Store().OpenBills(t.Context()); err != nil {
		t.Errorf("closed while leased: %v", err)
	}
	second.Release()
	if h.open.Load() != 0 || r.has("key") {
		t.Error("still open after the last release")
	}
}

func TestKeysAreApart(t *testing.T) {
	var r registry
	var h, other house
	lease := mustAcquire(t, &r, h.openStore)
	defer lease.Release()
	second, err := r.acquire(t.Context(), "another key", other.openStore)
	if err != nil {
		t.Fatal(err)
	}
	second.Release()
	if h.open.Load() != 1 || other.open.Load() != 0 {
		t.Errorf("open: %d and %d", h.open.Load(), other.open.Load())
	}
}

func TestManyAtOnceOpenOneStore(t *testing.T) {
	var r registry
	var h house
	leases := make([]*Lease, 64)
	var tasks sync.WaitGroup
	for i := range leases {
		tasks.Go(func() { leases[i] = mustAcquire(t, &r, h.openStore) })
	}
	tasks.Wait()
	if n := h.opened.Load(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	for _, lease := range leases {
		tasks.Go(lease.Release)
	}
	tasks.Wait()
	if h.open.Load() != 0 {
		t.Error("still open")
	}
}

// story 37
func TestReopeningWhileClosingWorksEveryTime(t *testing.T) {
	for range 1000 {
		reopenWhileClosing(t)
	}
}

func reopenWhileClosing(t *testing.T) {
	t.Helper()
	var r registry
	begun, proceed := make(chan struct{}), make(chan struct{})
	var h house
	h.closing = func() {
		h.closing = nil // the second Close is not slow
		close(begun)
		<-proceed
	}
	lease := mustAcquire(t, &r, h.openStore)
	var tasks sync.WaitGroup
	tasks.Go(lease.Release)
	<-begun
	if _, ok := r.tryAcquire("key"); ok || r.has("key") {
		t.Fatal("a closing store passes for an open one")
	}
	for range 2 {
		tasks.Go(func() { mustAcquire(t, &r, h.openStore).Release() })
	}
	close(proceed)
	tasks.Wait()
	if n := h.overlaps.Load(); n > 0 || h.open.Load() != 0 {
		t.Fatalf("%d times two stores were open; %d are still", n, h.open.Load())
	}
}

func TestAcquireAndReleaseInAnyOrderNeverOverlap(t *testing.T) {
	var r registry
	var h house
	var tasks sync.WaitGroup
	for range 16 {
		tasks.Go(func() {
			for range 200 {
				lease := mustAcquire(t, &r, h.openStore)
				if _, err := lease.Store().OpenBills(t.Context()); err != nil {
					t.Errorf("leased, and %v", err)
				}
				lease.Release()
			}
		})
	}
	tasks.Wait()
	if n := h.overlaps.Load(); n > 0 || h.open.Load() != 0 {
		t.Errorf("%d times two stores were open; %d are still", n, h.open.Load())
	}
}

func TestAFailedOpeningIsEverybodysErrorAndDoesNotStick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		failure, fail := errors.New("no disk"), make(chan struct{})
		failing := func(context.Context) (bill.Store, error) {
			<-fail
			return nil, failure
		}
		var tasks sync.WaitGroup
		for range 8 {
			tasks.Go(func() {
				if _, err := r.acquire(t.Context(), "key", failing); !errors.Is(err, failure) {
					t.Errorf("acquire: %v", err)
				}
			})
		}
		synctest.Wait() // all of them wait
		close(fail)
		tasks.Wait()
		var h house
		mustAcquire(t, &r, h.openStore).Release()
	})
}

func TestAPanicWhileOpeningIsAnErrorAndDoesNotStick(t *testing.T) {
	var r registry
	_, err := r.acquire(t.Context(), "key", func(context.Context) (bill.Store, error) { panic("oh") })
	if err == nil || err.Error() != "panic in the store: oh" {
		t.Errorf("acquire: %v", err)
	}
	var h house
	mustAcquire(t, &r, h.openStore).Release()
}

func TestAPanicWhileClosingFreesTheKey(t *testing.T) {
	var r registry
	var h house
	h.closing = func() { panic("oh") }
	mustAcquire(t, &r, h.openStore).Release()
	var next house
	mustAcquire(t, &r, next.openStore).Release()
}

func TestWaitingForTheOpeningEndsWithTheContextAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		var h house
		proceed := make(chan struct{})
		slow := func(ctx context.Context) (bill.Store, error) {
			<-proceed
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return h.openStore(ctx)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		tasks.Go(func() { // the first, whose context the opening was begun with
			if _, err := r.acquire(ctx, "key", slow); !errors.Is(err, context.Canceled) {
				t.Errorf("acquire: %v", err)
			}
		})
		synctest.Wait()
		tasks.Go(func() { mustAcquire(t, &r, slow).Release() })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(proceed)
		tasks.Wait()
		if n := h.opened.Load(); n != 1 {
			t.Errorf("opened %d times", n)
		}
	})
}

func TestAnOpeningThatNobodyWaitsForIsGivenUpAndClosed(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		t.Run(fmt.Sprintf("HeedsTheContext=%v", heeds), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { giveUp(t, heeds) })
		})
	}
}

// giveUp leaves an opening alone and asks for the store again before it ends.
func giveUp(t *testing.T, heeds bool) {
	var r registry
	var h house
	proceed := make(chan struct{})
	slow := func(ctx context.Context) (bill.Store, error) {
		<-proceed
		if err := ctx.Err(); heeds && err != nil {
			return nil, err
		}
		return h.openStore(ctx)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if _, err := r.acquire(ctx, "key", slow); !errors.Is(err, context.Canceled) {
			t.Errorf("acquire: %v", err)
		}
	})
	synctest.Wait()
	cancel()
	tasks.Wait()
	tasks.Go(func() { mustAcquire(t, &r, h.openStore).Release() })
	synctest.Wait()
	close(proceed)
	tasks.Wait()
	if h.overlaps.Load() > 0 || h.open.Load() != 0 {
		t.Errorf("%d times two stores were open; %d are still", h.overlaps.Load(), h.open.Load())
	}
}

func TestWaitingForTheClosingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r registry
		var h house
		proceed := make(chan struct{})
		h.closing = func() { <-proceed }
		lease := mustAcquire(t, &r, h.openStore)
		var tasks sync.WaitGroup
		tasks.Go(lease.Release)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		tasks.Go(func() {
			if _, err := r.acquire(ctx, "key", h.openStore); !errors.Is(err, context.Canceled) {
				t.Errorf("acquire: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(proceed)
		tasks.Wait()
	})
}

func TestTryAcquireNeverOpens(t *testing.T) {
	if _, ok := TryAcquire("key"); ok || Has("key") {
		t.Fatal("there is a store that nobody opened")
	}
	var h house
	lease, err := Acquire(t.Context(), "key", h.openStore)
	if err != nil {
		t.Fatal(err)
	}
	second, ok := TryAcquire("key")
	if !ok || second.Store() != lease.Store() || !Has("key") {
		t.Error("the open store was not leased")
	}
	lease.Release()
	if h.open.Load() != 1 {
		t.Error("closed while leased")
	}
	second.Release()
	if h.open.Load() != 0 {
		t.Error("still open")
	}
}
