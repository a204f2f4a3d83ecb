package payment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Redelivery is what became of an operator's wish to have a shop told again.
type Redelivery struct {
	Sent      []bill.Notification // made due, or due already
	Overtaken []Overtaken         // left alone
}

// Overtaken is a notification that was not sent again, because its URL was told
// something newer about the same order: an old "cancelled" must never follow a
// "paid".
type Overtaken struct {
	Notification string // id of the one that stays as it is
	Bill         string // id of the bill that the newer one is about: redeliver that one
}

// Redeliver sends again what an operator asks for, whatever became of it: to
// each URL that was told of the bill goes the newest notification about it,
// now, under its id, with the whole time to be delivered in before it. Where
// one about another attempt of the order waits for that URL, it is that one
// which goes now; where one was delivered or given up, the older is left alone.
// One whose URL is configured no longer fails as ever. Nothing is sent where
// nobody was to be told of the bill, or its notifications were forgotten.
//
// Errors, and then nothing was changed: bill.ErrNotFound for an unknown bill,
// bill.ErrUnavailable.
func (o Operator) Redeliver(ctx context.Context, billID string) (Redelivery, error) {
	store, release, err := o.engine.cfg.Store(ctx)
	if err != nil {
		return Redelivery{}, err
	}
	defer release()
	for range maxRounds {
		change, again, err := o.redelivery(ctx, store, billID)
		if err == nil && len(again.Sent) > 0 {
			err = o.engine.commit(context.WithoutCancel(ctx), store, change)
		}
		switch {
		case err == nil:
			o.engine.announce(change)
			return again, nil
		case !errors.Is(err, bill.ErrConflict):
			return Redelivery{}, fmt.Errorf("redeliver bill %s: %w", billID, err)
		}
	}
	return Redelivery{}, fmt.Errorf("%w: order of bill %s kept changing", bill.ErrUnavailable, billID)
}

// redelivery gathers the change. The order's record moves with it, as with
// every change that brings a notification, so that no newer one slips in
// between the look and the commit. One that is due already goes now anyway, and
// stays as it is: its delivery may be under way, here or elsewhere, and a write
// would let others begin beside it.
func (o Operator) redelivery(ctx context.Context, store bill.Store, billID string) (change bill.Change, again Redelivery, err error) {
	e := o.engine
	b, err := store.Bill(ctx, billID)
	if err != nil {
		return bill.Change{}, Redelivery{}, err
	}
	record, err := store.Order(ctx, b.OrderKey())
	if err != nil {
		return bill.Change{}, Redelivery{}, err
	}
	own := make(newest)
	if err := own.add(ctx, store, billID); err != nil {
		return bill.Change{}, Redelivery{}, err
	}
	all, forgotten, err := newestOf(ctx, store, record)
	if err != nil {
		return bill.Change{}, Redelivery{}, err
	}
	for _, url := range slices.Sorted(maps.Keys(own)) {
		n, by := all[url], all[url].Bill
		if forgotten.Told > n.Sequence {
			by = forgotten.ID
		}
		switch {
		case by != billID && n.State != bill.Pending:
			again.Overtaken = append(again.Overtaken, Overtaken{Notification: own[url].ID, Bill: by})
			continue
		case n.State != bill.Pending || n.Due.After(e.now()):
			n.State, n.Due, n.RedeliveredAt, n.Tries = bill.Pending, e.now(), e.now(), 0
			n.Revision++
			change.Notifications = append(change.Notifications, n)
		}
		again.Sent = append(again.Sent, n)
	}
	record.Revision++
	change.Order = &record
	step, err := b.Next(bill.Event{Kind: bill.EventRedelivered, At: e.now(), Source: bill.ByOperator, Actor: o.name}, bill.Rules{})
	change.Bills = []bill.BillChange{{Bill: step.Bill, Events: []bill.Event{step.Line}}}
	return change, again, err
}

// newest are the newest notifications by URL.
type newest map[string]bill.Notification

// add takes in those about a bill.
func (m newest) add(ctx context.Context, store bill.Store, billID string) error {
	told, err := store.Notifications(ctx, billID)
	for _, n := range told {
		if held, ok := m[n.URL]; !ok || held.Sequence < n.Sequence {
			m[n.URL] = n
		}
	}
	return err
}

// newestOf returns the newest notifications about any attempt of an order, and
// the attempt of which the newest was forgotten; to which URL that went is not
// known any more.
func newestOf(ctx context.Context, store bill.Store, record bill.OrderRecord) (all newest, forgotten bill.Bill, err error) {
	all = make(newest)
	for _, a := range record.Attempts {
		b, err := store.Bill(ctx, a.ID)
		if err == nil {
			err = all.add(ctx, store, a.ID)
		}
		if err != nil {
			return nil, bill.Bill{}, fmt.Errorf("attempt %s: %w", a.ID, err)
		}
		if b.Told > forgotten.Told {
			forgotten = b
		}
	}
	return all, forgotten, nil
}
