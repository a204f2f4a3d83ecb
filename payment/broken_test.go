package payment_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// fragile is a store that breaks when told to.
type fragile struct {
	bill.Store
	broken atomic.Bool
	ended  chan struct{} // closed when it breaks
}

var errDisk = fmt.Errorf("%w: no disk", bill.ErrUnavailable)

func newFragile(s bill.Store) *fragile { return &fragile{Store: s, ended: make(chan struct{})} }

func (f *fragile) fail() {
	if !f.broken.Swap(true) {
		close(f.ended)
	}
}

func (f *fragile) Broken() error {
	if f.broken.Load() {
		return errDisk
	}
	return nil
}

func (f *fragile) Commit(ctx context.Context, c bill.Change) error {
	if err := f.Broken(); err != nil {
		return err
	}
	return f.Store.Commit(ctx, c)
}

func (f *fragile) Bill(ctx context.Context, id string) (bill.Bill, error) {
	if err := f.Broken(); err != nil {
		return bill.Bill{}, err
	}
	return f.Store.Bill(ctx, id)
}

// WatchAll knows of no changes: it ends when the store breaks.
func (f *fragile) WatchAll() bill.Feed { return fragileFeed{f} }

type fragileFeed struct{ of *fragile }

func (f fragileFeed) Next(ctx context.Context) ([]string, error) {
	select {
	case <-f.of.ended:
		return nil, errDisk
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (fragileFeed) Stop() {}

func TestNoShopIsAskedForAnOrderThatABrokenStoreCouldNotKeep(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		store := newFragile(c.store)
		c.store = store
		if err := c.engine.Ready(t.Context(), ""); err != nil {
			t.Fatalf("whole: %v", err)
		}
		store.fail()
		if err := c.engine.Ready(t.Context(), ""); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("broken: %v", err)
		}
		if _, err := c.create(order("1")); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("an order all the same: %v", err)
		}
		if n := c.gateway.count("apply"); n != 0 {
			t.Errorf("%d calls of /apply", n)
		}
	})
}

func TestNobodyWaitsOnABrokenStore(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		b := c.mustCreate(order("15000"), payment.OutcomeNew)
		store := newFragile(c.store)
		c.store = store
		seen := make(chan bill.Bill)
		go func() {
			last, err := c.engine.Wait(context.Background(), c.scope, b.ID, b.Version)
			if err != nil {
				t.Error(err)
			}
			seen <- last
		}()
		synctest.Wait()
		store.fail()
		if last := <-seen; last != b {
			t.Errorf("last seen as %+v, and it was %+v", last, b)
		}
	})
}

func TestAPassEndsWhenTheStoreBreaks(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		for n := range 2 * c.account.StatusBatch {
			o := order("1")
			o.OrderCode = fmt.Sprint(n)
			c.mustCreate(o, payment.OutcomeNew)
		}
		store := newFragile(c.store)
		c.store = store
		c.gateway.onQuery = store.fail
		asked := c.gateway.count("query")
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		c.engine.Run(ctx)
		if n := c.gateway.count("query") - asked; n != 1 {
			t.Errorf("the gateway was asked %d times, and no answer could be kept", n)
		}
	})
}
