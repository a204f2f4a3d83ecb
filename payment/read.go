package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

// Wait returns the bill once its version is not the given one, or as it is
// when ctx ends. Where the store breaks meanwhile, that ends the wait too, so
// that the store can be closed: the bill is returned as it was last seen.
func (e *Engine) Wait(ctx context.Context, s Scope, id string, version uint64) (bill.Bill, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	versions, stop := store.Watch(id) // before the read, so that no change falls between
	defer stop()
	reading := context.WithoutCancel(ctx) // a wait that is over still tells how the bill stands
	b, err := ownBill(reading, store, s, id)
	if err != nil || b.Version != version {
		return b, err
	}
	if !b.Status.Final() {
		defer e.watchers.add(id)()
	}
	select {
	case <-versions:
	case <-ctx.Done():
	}
	after, err := ownBill(reading, store, s, id)
	if errors.Is(err, bill.ErrUnavailable) {
		return b, nil
	}
	return after, err
}

// Order returns what is known of an order: bill.ErrNotFound where no bill was
// ever made for it.
func (e *Engine) Order(ctx context.Context, s Scope, orderCode string) (Order, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return Order{}, err
	}
	defer release()
	record, err := store.Order(ctx, s.key(orderCode))
	if err != nil {
		return Order{}, err
	}
	order := Order{Key: record.Key}
	if paid, ok := record.Paid(); ok {
		order.PaidBill = paid.ID
	}
	if open, ok := record.Open(); ok {
		order.OpenBill = open.ID
	}
	for _, a := range slices.Backward(record.Attempts) {
		b, err := store.Bill(ctx, a.ID)
		if err != nil && !errors.Is(err, bill.ErrNotFound) {
			return Order{}, fmt.Errorf("read bill %s: %w", a.ID, err)
		}
		if err == nil {
			order.Bills = append(order.Bills, b)
		}
	}
	return order, nil
}
