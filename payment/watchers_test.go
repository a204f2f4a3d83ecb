package payment_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

// counted is a store that counts its watches and leases, and can hold reads
// back or let them fail.
type counted struct {
	bill.Store

	mu      sync.Mutex
	begun   int // watches, ever
	open    int // watches that were not stopped
	leases  int
	reads   int
	failing error
	held    chan struct{} // reads wait until it is closed, or their context ends
	late    chan struct{} // what the next read has found is held back until it is closed
}

func (s *counted) WatchAll() bill.Feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	s.open++
	return &countedFeed{s.Store.WatchAll(), s}
}

type countedFeed struct {
	bill.Feed

	of *counted
}

func (f *countedFeed) Stop() {
	f.of.set(func() { f.of.open-- })
	f.Feed.Stop()
}

func (s *counted) Bill(ctx context.Context, id string) (bill.Bill, error) {
	s.mu.Lock()
	s.reads++
	held, failing, late := s.held, s.failing, s.late
	s.late = nil
	s.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return bill.Bill{}, ctx.Err()
		}
	}
	if failing != nil {
		return bill.Bill{}, failing
	}
	b, err := s.Store.Bill(ctx, id)
	if late != nil {
		<-late
	}
	return b, err
}

func (s *counted) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// take leaves out the reads before it.
func (s *counted) take() (begun, open, leases, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begun, open, leases, reads = s.begun, s.open, s.leases, s.reads
	s.reads = 0
	return begun, open, leases, reads
}

// lease is the engine's way to the store.
func (s *counted) lease(context.Context) (bill.Store, func(), error) {
	s.set(func() { s.leases++ })
	return s, sync.OnceFunc(func() { s.set(func() { s.leases-- }) }), nil
}

// observed runs a test over a store that counts. No goroutine outlives it, as
// every bubble makes sure.
func observed(t *testing.T, test func(t *testing.T, c *counter, s *counted)) {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := new(counted)
	lease := func(cfg *payment.Config) { cfg.Store = s.lease }
	atWith(t, lease, func(t *testing.T, c *counter) {
		s.Store = c.store
		test(t, c, s)
	})
	if _, open, leases, _ := s.take(); open != 0 || leases != 0 {
		t.Errorf("%d watches and %d leases are left", open, leases)
	}
}

func (c *counter) mustWatch(id string) payment.Watching {
	c.t.Helper()
	w, err := c.engine.Watch(c.t.Context(), c.scope, id)
	if err != nil {
		c.t.Fatal(err)
	}
	return w
}

// touch changes a bill so that a buyer can see it, and nothing else.
func (c *counter) touch(id string) bill.Bill {
	c.t.Helper()
	b := c.bill(id)
	b.Version++
	b.Revision++
	if err := c.store.Commit(c.t.Context(), bill.Change{Bills: []bill.BillChange{{Bill: b}}}); err != nil {
		c.t.Fatal(err)
	}
	return b
}

func TestThousandsWhoWatchOneBillAreOneWatchOfTheStoreAndOneReadOfEachChange(t *testing.T) {
	const watchers, waiters = 3000, 1000
	observed(t, func(t *testing.T, c *counter, s *counted) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		all := make([]payment.Watching, watchers)
		for i := range all {
			all[i] = c.mustWatch(b.ID)
		}
		var waits sync.WaitGroup
		for range waiters {
			waits.Go(func() {
				if after, err := c.engine.Wait(t.Context(), c.scope, b.ID, b.Version); err != nil || after.Version != b.Version+1 {
					t.Errorf("a wait brought version %d, %v", after.Version, err)
				}
			})
		}
		synctest.Wait()
		if begun, open, _, _ := s.take(); begun != 1 || open != 1 {
			t.Errorf("%d watches of the store, %d of them open", begun, open)
		}
		next := c.touch(b.ID)
		waits.Wait()
		for _, w := range all {
			if got := *<-w.Changes; w.Bill != b || got != next {
				t.Fatalf("version %d, then %d", w.Bill.Version, got.Version)
			}
		}
		if begun, _, _, reads := s.take(); begun != 1 || reads != 1 {
			t.Errorf("one change: %d watches of the store, %d reads", begun, reads)
		}
		for i, w := range all {
			if _, open, _, _ := s.take(); open != 1 {
				t.Fatalf("no watch of the store is left for %d", watchers-i)
			}
			w.Stop()
			w.Stop()
		}
		if _, open, leases, _ := s.take(); open != 0 || leases != 0 {
			t.Errorf("nobody watches: %d watches and %d leases are left", open, leases)
		}
	})
}

func TestTheBillsOfOneStoreAreToldEachForItself(t *testing.T) {
	observed(t, func(t *testing.T, c *counter, s *counted) {
		first := c.mustCreate(order("1"), payment.OutcomeNew)
		o := order("1")
		o.OrderCode = "O2"
		second := c.mustCreate(o, payment.OutcomeNew)
		one, two := c.mustWatch(first.ID), c.mustWatch(second.ID)
		defer one.Stop()
		defer two.Stop()
		next := c.touch(second.ID)
		synctest.Wait()
		if begun, _, _, _ := s.take(); begun != 1 || len(one.Changes) != 0 || *<-two.Changes != next {
			t.Errorf("%d watches of the store; the other bill changed %d times", begun, len(one.Changes))
		}
	})
}

func TestASlowWatcherMissesVersionsNeverTheLastAndDelaysNobody(t *testing.T) {
	observed(t, func(t *testing.T, c *counter, _ *counted) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		slow, quick := c.mustWatch(b.ID), c.mustWatch(b.ID)
		defer slow.Stop()
		defer quick.Stop()
		var last bill.Bill
		for range 10 {
			last = c.touch(b.ID)
			if got := *<-quick.Changes; got != last {
				t.Errorf("the quick one was told of version %d at %d", got.Version, last.Version)
			}
		}
		if got := *<-slow.Changes; got != last {
			t.Errorf("the slow one was told of version %d at %d", got.Version, last.Version)
		}
		synctest.Wait()
		if len(slow.Changes)+len(quick.Changes) != 0 {
			t.Error("a version came twice")
		}
	})
}

func TestNobodyIsToldOfAVersionTwiceOrOfAnOlderOne(t *testing.T) {
	observed(t, func(t *testing.T, c *counter, s *counted) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		early := c.mustWatch(b.ID)
		defer early.Stop()
		held := make(chan struct{})
		s.set(func() { s.held = held })
		next := c.touch(b.ID)
		synctest.Wait() // the change is being read, and the read takes its time
		s.set(func() { s.held = nil })
		late := c.mustWatch(b.ID)
		defer late.Stop()
		if late.Bill != next {
			t.Errorf("who comes late sees version %d", late.Bill.Version)
		}
		close(held)
		synctest.Wait()
		if got := *<-early.Changes; got != next || len(early.Changes) != 0 || len(late.Changes) != 0 {
			t.Errorf("version %d; then %d more, and %d for who knows it", got.Version, len(early.Changes), len(late.Changes))
		}
	})
}

// Others have been told of the change when the read returns what was before.
func TestAChangeDuringTheReadThatBeginsAWatchIsToldAllTheSame(t *testing.T) {
	observed(t, func(t *testing.T, c *counter, s *counted) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		others := c.mustWatch(b.ID)
		defer others.Stop()
		late := make(chan struct{})
		s.set(func() { s.late = late })
		watching := make(chan payment.Watching)
		go func() { watching <- c.mustWatch(b.ID) }()
		synctest.Wait()
		next := c.touch(b.ID)
		if got := *<-others.Changes; got != next {
			t.Errorf("others: version %d", got.Version)
		}
		close(late)
		w := <-watching
		defer w.Stop()
		synctest.Wait()
		if w.Bill != b || len(w.Changes) != 1 || *<-w.Changes != next {
			t.Errorf("version %d, and not the next", w.Bill.Version)
		}
	})
}

func TestAWatchOutlivesTheEndOfTheBillAndBringsALatePayment(t *testing.T) {
	observed(t, func(t *testing.T, c *counter, _ *counted) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		w := c.mustWatch(b.ID)
		defer w.Stop()
		for _, status := range []string{"FAIL", "SUCCESS"} {
			if err := c.notify(b, status); err != nil {
				t.Fatal(err)
			}
			if got := *<-w.Changes; string(got.Status) != status {
				t.Errorf("%s: told of %s", status, got.Status)
			}
		}
	})
}

func TestABillThatHasEndedIsNotAskedAfterMoreOftenBecauseSomebodyWatches(t *testing.T) {
	reconciled(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		w := c.mustWatch(b.ID)
		defer w.Stop()
		if err := c.notify(b, "FAIL"); err != nil {
			t.Fatal(err)
		}
		<-w.Changes
		before := c.gateway.count("query")
		pass(4 * time.Minute) // the first late check comes after five
		if n := c.gateway.count("query") - before; n != 0 {
			t.Errorf("%d questions", n)
		}
	})
}

func TestAWatchEndsWhenTheStoreClosesOrCannotBeRead(t *testing.T) {
	for name, fault := range map[string]func(c *counter, s *counted, id string) error{
		"closes": func(c *counter, s *counted, _ string) error {
			c.store = memory.New() // for the test's own end
			return s.Close()
		},
		"cannot be read": func(c *counter, s *counted, id string) error {
			s.set(func() { s.failing = errDisk })
			c.touchBehind(s, id)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			observed(t, func(t *testing.T, c *counter, s *counted) {
				b := c.mustCreate(order("15000"), payment.OutcomeNew)
				w := c.mustWatch(b.ID)
				if err := fault(c, s, b.ID); err != nil {
					t.Fatal(err)
				}
				if got, more := <-w.Changes; more {
					t.Errorf("told of version %d", got.Version)
				}
				synctest.Wait()
				s.set(func() { s.failing = nil })
				again, err := c.engine.Watch(t.Context(), c.scope, b.ID)
				if closed := name == "closes"; errors.Is(err, bill.ErrUnavailable) != closed {
					t.Errorf("who comes again while the first has not left: %v", err)
				}
				if err == nil {
					c.touchBehind(s, b.ID)
					if got := *<-again.Changes; got.Version <= b.Version {
						t.Errorf("told of version %d", got.Version)
					}
					again.Stop()
				}
				w.Stop()
				if _, open, leases, _ := s.take(); open != 0 || leases != 0 {
					t.Errorf("%d watches and %d leases hold the store open", open, leases)
				}
			})
		})
	}
}

// touchBehind is touch where reads through the double fail.
func (c *counter) touchBehind(s *counted, id string) {
	c.t.Helper()
	c.store = s.Store
	c.touch(id)
}

// A database that does not answer holds up nobody who leaves.
func TestALastWatcherLeavesThoughAReadHangs(t *testing.T) {
	observed(t, func(t *testing.T, c *counter, s *counted) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		w := c.mustWatch(b.ID)
		held := make(chan struct{})
		s.set(func() { s.held = held })
		c.touch(b.ID)
		synctest.Wait()
		w.Stop() // the bubble is dead if this waits
		if _, open, leases, _ := s.take(); open != 0 || leases != 0 {
			t.Errorf("%d watches and %d leases are left", open, leases)
		}
		s.set(func() { s.held = nil })
	})
}

// story 36
func TestOnlyABillOfOnesOwnShopCanBeWatched(t *testing.T) {
	observed(t, func(t *testing.T, c *counter, s *counted) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		other := payment.Scope{Account: c.account, Shop: "other"}
		for id, scope := range map[string]payment.Scope{b.ID: other, "unknown": c.scope} {
			if _, err := c.engine.Watch(t.Context(), scope, id); !errors.Is(err, bill.ErrNotFound) {
				t.Errorf("%s: %v", id, err)
			}
		}
		if _, open, leases, _ := s.take(); open != 0 || leases != 0 {
			t.Errorf("%d watches and %d leases are left", open, leases)
		}
	})
}

// Under the race detector: watchers come and go while the bill changes, and
// each sees versions rise up to the last.
func TestWatchersComeAndGoWhileTheBillChanges(t *testing.T) {
	observed(t, func(t *testing.T, c *counter, _ *counted) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		const changes, watchers = 200, 50
		last := b.Version + changes
		var all sync.WaitGroup
		for range watchers {
			all.Go(func() {
				for seen := uint64(0); seen < last; {
					w, err := c.engine.Watch(t.Context(), c.scope, b.ID)
					if err != nil {
						t.Error(err)
						return
					}
					if w.Bill.Version < seen {
						t.Errorf("version %d after %d", w.Bill.Version, seen)
					}
					seen = w.Bill.Version
					if seen < last {
						next := *<-w.Changes
						if next.Version <= seen {
							t.Errorf("version %d after %d", next.Version, seen)
						}
						seen = next.Version
					}
					w.Stop()
				}
			})
		}
		for range changes {
			c.touch(b.ID)
		}
		all.Wait()
	})
}
