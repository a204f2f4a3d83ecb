package payment

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// How what is due is shared by the workers of several processes.
const (
	// leaseFor is how long what is due is left to who took it: he begins it within
	// beginWithin or not at all, and the rest is more than one call to the gateway
	// or one delivery takes. It is also how long nothing is done about it where he
	// dies. What takes longer all the same is begun by two, which revisions sort
	// out.
	leaseFor    = 25 * time.Second
	beginWithin = 5 * time.Second

	// othersFirst is how long, from when it is due, something that cannot be done
	// here is left to who can: nodes may have different configurations while one
	// is being rolled out, or different networks.
	othersFirst = 5 * time.Second
)

// lessee takes what is due on behalf of one worker: for himself alone where the
// store is one that several processes share.
type lessee struct {
	holder string      // a name of his own
	leased atomic.Bool // he has leased something: it is to be given back at the end
}

// bills takes bills that are due at a time.
func (l *lessee) bills(ctx context.Context, store bill.Store, until time.Time, limit int) ([]string, error) {
	leaser, shared := store.(bill.Leaser)
	if !shared {
		return store.Due(ctx, until, limit)
	}
	l.leased.Store(true)
	return leaser.LeaseDue(ctx, bill.Lease{Holder: l.holder, For: leaseFor, Until: until, Limit: limit})
}

// notifications takes notifications that are due at a time.
func (l *lessee) notifications(ctx context.Context, store bill.Store, until time.Time, limit int) ([]string, error) {
	leaser, shared := store.(bill.Leaser)
	if !shared {
		return store.DueNotifications(ctx, until, limit)
	}
	l.leased.Store(true)
	return leaser.LeaseDueNotifications(ctx, bill.Lease{Holder: l.holder, For: leaseFor, Until: until, Limit: limit})
}

// leaveNotification gives one back before its time.
func (l *lessee) leaveNotification(ctx context.Context, store bill.Store, id string) error {
	if leaser, shared := store.(bill.Leaser); shared {
		return leaser.ReleaseNotification(ctx, l.holder, id)
	}
	return nil
}

// leave gives everything back.
func (l *lessee) leave(ctx context.Context, store bill.Store) error {
	if leaser, shared := store.(bill.Leaser); shared && l.leased.Load() {
		return leaser.Release(ctx, l.holder)
	}
	return nil
}

// giveBack ends the leases of workers that have ended, so that others need not
// wait for that. A store in which nothing was leased is left alone: it may have
// been closed since.
func (e *Engine) giveBack(ctx context.Context, lessees ...*lessee) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseWait)
	defer cancel()
	for _, l := range lessees {
		if !l.leased.Load() {
			continue
		}
		store, release, err := e.cfg.Store(ctx)
		if err == nil {
			err = l.leave(ctx, store)
			release()
		}
		if err != nil && !errors.Is(err, bill.ErrUnavailable) { // the leases end by themselves
			e.cfg.Logger.Warn("leases not given back", zap.Error(err))
		}
	}
}

// othersMay reports whether something that cannot be done here became due a
// moment ago, and others share the store.
func (e *Engine) othersMay(store bill.Store, due time.Time) bool {
	_, shared := store.(bill.Leaser)
	now := e.now()
	return shared && !due.After(now) && now.Before(due.Add(othersFirst))
}
