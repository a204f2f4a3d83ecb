package payment

import (
	"context"
	"errors"
	"sync"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Bill returns a bill of the scope; bill.ErrNotFound for any other, whether it
// exists or not.
func (e *Engine) Bill(ctx context.Context, s Scope, id string) (bill.Bill, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	return ownBill(ctx, store, s, id)
}

func ownBill(ctx context.Context, store bill.Store, s Scope, id string) (bill.Bill, error) {
	b, err := store.Bill(ctx, id)
	if err != nil {
		return bill.Bill{}, err
	}
	if !s.owns(b) {
		return bill.Bill{}, bill.ErrNotFound
	}
	return b, nil
}

// Details returns what the shop handed over with a bill of the scope.
func (e *Engine) Details(ctx context.Context, s Scope, id string) (bill.Details, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Details{}, err
	}
	defer release()
	if _, err := ownBill(ctx, store, s, id); err != nil {
		return bill.Details{}, err
	}
	return store.Details(ctx, id)
}

// Watching is a bill that somebody follows.
type Watching struct {
	// Bill is the bill as it was when the watch began.
	Bill bill.Bill
	// Changes holds the newest later version not yet received: who is slow misses
	// versions, never the last, and delays nobody. It does not end with the bill,
	// since a late payment may come. It is closed when nothing more can be learnt
	// because the store closes or breaks. Its bills are shared by all who watch.
	Changes <-chan *bill.Bill
	// Stop has to be called: the store stays leased until then. Changes is not
	// closed by it.
	Stop func()

	store bill.Store
}

// Watch follows a bill of the scope until Stop, whether or not ctx ends before.
func (e *Engine) Watch(ctx context.Context, s Scope, id string) (Watching, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return Watching{}, err
	}
	r := e.watchers.join(store, id) // before the read, so that no change falls between
	end := func() {
		e.watchers.leave(r)
		release()
	}
	// Who has gone is still told how the bill stands: see Wait.
	b, err := ownBill(context.WithoutCancel(ctx), store, s, id)
	if err != nil {
		end()
		return Watching{}, err
	}
	changes, leave := r.follow(&b)
	stop := sync.OnceFunc(func() {
		leave()
		end()
	})
	return Watching{Bill: b, Changes: changes, Stop: stop, store: store}, nil
}

// Wait returns the bill once its version is not the given one, or as it is
// when ctx ends. Where the store breaks meanwhile, that ends the wait too, so
// that the store can be closed: the bill is returned as it was last seen.
func (e *Engine) Wait(ctx context.Context, s Scope, id string, version uint64) (bill.Bill, error) {
	w, err := e.Watch(ctx, s, id)
	if err != nil {
		return bill.Bill{}, err
	}
	defer w.Stop()
	if w.Bill.Version != version {
		return w.Bill, nil
	}
	select {
	case b, more := <-w.Changes:
		if more {
			return *b, nil
		}
	case <-ctx.Done():
	}
	b, err := ownBill(context.WithoutCancel(ctx), w.store, s, id)
	if errors.Is(err, bill.ErrUnavailable) {
		return w.Bill, nil
	}
	return b, err
}

// Order returns what is known of an order: bill.ErrNotFound where no bill was
// ever made for it.
func (e *Engine) Order(ctx context.Context, s Scope, orderCode string) (Order, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return Order{}, err
	}
	defer release()
	return orderOf(ctx, store, s.key(orderCode))
}
