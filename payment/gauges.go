package payment

import (
	"context"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Gauges is how the bills of a store stand at a moment, and what is around
// them, for who looks every few seconds.
type Gauges struct {
	Watchers int // event streams and long polls that follow a bill
	Gateways []Health

	bill.Counts
	PendingAge   time.Duration // of the notification that is pending the longest; 0: none is
	ReconcileLag time.Duration // how long the bill that is due the longest has been so; 0: none is
	StoreBytes   *uint64       // nil: the store cannot tell
	FreeBytes    *uint64       // likewise
	Closed       bool          // no new order is taken: see Ready, but for its limits
	ClosedSince  time.Time     // when the store was restored from a backup, until it is reopened
}

// Gauges reads them. What is not read from the store is there beside an error,
// too, when no order is taken either.
func (e *Engine) Gauges(ctx context.Context) (Gauges, error) {
	g := Gauges{Watchers: e.watchers.count(), Gateways: e.health(), Closed: true}
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return g, err
	}
	defer release()
	if g.Counts, err = store.Counts(ctx); err != nil {
		return g, err
	}
	g.PendingAge = e.since(g.OldestPending)
	g.ReconcileLag = e.since(g.OldestDue)
	g.Closed, g.ClosedSince = e.usable(store) != nil, bill.CheckoutsClosed(store)
	if sizer, ok := store.(bill.Sizer); ok {
		g.StoreBytes = told(sizer.Size)
	}
	if spacer, ok := store.(bill.FreeSpacer); ok {
		g.FreeBytes = told(spacer.FreeSpace)
	}
	return g, nil
}

// since returns how long ago a time is; 0 for one that is zero, or to come.
func (e *Engine) since(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(e.now().Sub(t), 0)
}

func told(ask func() (uint64, error)) *uint64 {
	n, err := ask()
	if err != nil {
		return nil
	}
	return &n
}
