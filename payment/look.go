package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// What an operator looks at: all accounts and shops, of the configuration or
// not. Nothing here changes anything.

// List returns a page of bills, newest first, and the cursor of the next page;
// "" after the last. A page may be short, or empty, before the last.
//
// Errors: bill.ErrCursor, bill.ErrUnavailable.
func (e *Engine) List(ctx context.Context, q bill.Query) (page []bill.Bill, next string, err error) {
	return leased(ctx, e, func(store bill.Store) ([]bill.Bill, string, error) { return store.List(ctx, q) })
}

// Notifications returns a page of notifications, as List does.
func (e *Engine) Notifications(ctx context.Context, q bill.NotificationQuery) (page []bill.Notification, next string, err error) {
	return leased(ctx, e, func(store bill.Store) ([]bill.Notification, string, error) {
		return store.ListNotifications(ctx, q)
	})
}

// Orphans returns a page of orphans by ledger and id, as List does.
func (e *Engine) Orphans(ctx context.Context, cursor string, limit int) (page []bill.Orphan, next string, err error) {
	return leased(ctx, e, func(store bill.Store) ([]bill.Orphan, string, error) { return store.Orphans(ctx, cursor, limit) })
}

// leased runs a read that returns a page.
func leased[T any](ctx context.Context, e *Engine, read func(bill.Store) ([]T, string, error)) ([]T, string, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return nil, "", err
	}
	defer release()
	return read(store)
}

// AmbiguousError says that a name is that of bills of several orders.
type AmbiguousError struct {
	Bills []bill.Bill // newest first, some of them where there are many
}

// Error says what to do instead.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("the name is that of %d bills of several orders: use the id of one", len(e.Bills))
}

// mostFound bounds the bills of one name that are looked at: an order has some
// attempts, and its code may be used by other shops.
const mostFound = 100

// Lookup returns the bill that a name means: its id, order code, billCode or
// paymentRequestId. Of an order's attempts it is the one that paid, else the
// newest.
//
// Errors: bill.ErrNotFound, an *AmbiguousError, bill.ErrUnavailable.
func (e *Engine) Lookup(ctx context.Context, name string) (bill.Bill, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	found, err := store.Find(ctx, name, mostFound)
	switch {
	case err != nil:
		return bill.Bill{}, err
	case len(found) == 0:
		return bill.Bill{}, bill.ErrNotFound
	}
	meant := found[0]
	for _, b := range found {
		switch {
		case b.ID == name:
			return b, nil // whatever else may be called so
		case b.OrderKey() != meant.OrderKey():
			return bill.Bill{}, &AmbiguousError{Bills: found}
		case b.Status == bill.Success:
			meant = b
		}
	}
	return meant, nil
}

// Timeline is a bill with all that is known of it.
type Timeline struct {
	Bill          bill.Bill
	Order         Order
	Details       *bill.Details // nil once retention has deleted them
	History       []bill.Event  // oldest first
	Notifications []bill.Notification
}

// Timeline returns all that is known of the bill with the given id: the parts
// are read one after the other, the bill first.
//
// Errors: bill.ErrNotFound, bill.ErrUnavailable.
func (e *Engine) Timeline(ctx context.Context, id string) (t Timeline, err error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return Timeline{}, err
	}
	defer release()
	if t.Bill, err = store.Bill(ctx, id); err != nil {
		return Timeline{}, err
	}
	if t.Order, err = orderOf(ctx, store, t.Bill.OrderKey()); err != nil {
		return Timeline{}, err
	}
	details, err := store.Details(ctx, id)
	switch {
	case err == nil:
		t.Details = &details
	case !isNotFound(err):
		return Timeline{}, err
	}
	if t.History, err = store.History(ctx, id); err != nil {
		return Timeline{}, err
	}
	t.Notifications, err = store.Notifications(ctx, id)
	return t, err
}

// DetailsOf returns what the shop handed over with any bill; nothing, and no
// error, once retention has deleted it.
func (e *Engine) DetailsOf(ctx context.Context, id string) (bill.Details, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Details{}, err
	}
	defer release()
	details, err := store.Details(ctx, id)
	if isNotFound(err) {
		err = nil
	}
	return details, err
}

// Follow calls each with every bill that changes from now on, as it is then,
// until ctx ends or each returns an error; a bill that changes twice in short
// order may be told of once. begun is called once nothing is missed any more.
//
// Errors: ctx's, that of each, bill.ErrUnavailable.
func (e *Engine) Follow(ctx context.Context, begun func(), each func(bill.Bill) error) error {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return err
	}
	defer release()
	feed := store.WatchAll()
	defer feed.Stop()
	begun()
	for {
		ids, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			b, err := store.Bill(ctx, id)
			if err == nil {
				err = each(b)
			}
			if err != nil {
				return err
			}
		}
	}
}

// Health is how an account's gateway does.
type Health struct {
	Account  string
	LiveMode bool
	Answers  bool // false after several calls in a row were not answered, until one is
}

func (e *Engine) health() (gateways []Health) {
	for _, a := range e.cfg.Accounts {
		gateway, ok := a.Gateway.(*watched)
		gateways = append(gateways, Health{Account: a.Name, LiveMode: a.LiveMode, Answers: !ok || gateway.breaker.IsClosed()})
	}
	return gateways
}

// orderOf returns what is known of an order: bill.ErrNotFound where no bill was
// ever made for it.
func orderOf(ctx context.Context, store bill.Store, key bill.OrderKey) (Order, error) {
	record, err := store.Order(ctx, key)
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
