package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// MinRetention is the least retention: by then a bill that ended unpaid was
// asked after for the last time, with a day to spare for a gateway that is
// away, and its shop was told, or it is dead that it was not.
const MinRetention = 4 * 24 * time.Hour

// How the ended are looked through: a page at a time, so that a retention
// switched on after years is no burst of writes, and from the front again once
// the end was reached, since what is kept for its notifications or its late
// checks may be let go by then.
const (
	forgetPage  = 50
	forgetPause = time.Second // between two pages
	forgetRest  = time.Hour   // between two walks
	forgetRetry = time.Minute // after a page that could not be read or written
)

// retain deletes the details of bills that ended longer ago than Retention,
// for as long as ctx lives.
func (e *Engine) retain(ctx context.Context) {
	if e.cfg.Retention == 0 {
		return
	}
	cursor, wait := "", forgetPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		next, err := e.forgetSome(ctx, cursor)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			e.cfg.Logger.Warn("retention put off", zap.Error(err))
			wait = forgetRetry
		case next == "":
			cursor, wait = "", forgetRest
		default:
			cursor, wait = next, forgetPause
		}
	}
}

// forgetSome forgets what can be forgotten of one page of ended bills, and
// returns the cursor of the next. After an error the same page is to be looked
// at again.
func (e *Engine) forgetSome(ctx context.Context, cursor string) (next string, err error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	ids, next, err := store.Ended(ctx, e.now().Add(-e.cfg.Retention), cursor, forgetPage)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		err := e.forget(ctx, store, id)
		switch {
		case err == nil, errors.Is(err, bill.ErrConflict): // it changed just now: the next walk decides anew
		case errors.Is(err, bill.ErrTooLarge):
			e.cfg.Logger.Error("details are kept for ever", zap.String("bill", id), zap.Error(err))
		default:
			return "", fmt.Errorf("forget bill %s: %w", id, err)
		}
	}
	return next, nil
}

// forget reduces a bill to its stub, unless something of it is still wanted:
// it has to be asked after again, which waits while its account is configured
// no longer, or a notification of it was not delivered.
func (e *Engine) forget(ctx context.Context, store bill.Store, id string) error {
	b, err := store.Bill(ctx, id)
	if err != nil {
		return err
	}
	now := e.now()
	if !b.Forgettable() || b.UpdatedAt.After(now.Add(-e.cfg.Retention)) || !b.Due.IsZero() {
		return nil
	}
	told, err := store.Notifications(ctx, id)
	if err != nil {
		return err
	}
	step, err := b.Next(bill.Event{Kind: bill.EventForgotten, At: now, Source: bill.ByModule}, bill.Rules{})
	if err != nil {
		return err
	}
	for _, n := range told {
		if n.Undelivered() {
			return e.dropOvertaken(ctx, store, b, told)
		}
		step.Bill.Told = max(step.Bill.Told, n.Sequence)
	}
	err = e.commit(ctx, store, bill.Change{Bills: []bill.BillChange{{
		Bill: step.Bill, Events: []bill.Event{step.Line}, Forget: true,
	}}})
	if err == nil {
		e.cfg.Logger.Debug("details deleted", zap.String("bill", id), zap.Time("ended", b.UpdatedAt))
	}
	return err
}

// dropOvertaken marks as superseded what was given up and will never be sent
// again, because its URL was told something newer about the order since. That
// keeps the bill no longer: the next walk forgets it.
func (e *Engine) dropOvertaken(ctx context.Context, store bill.Store, b bill.Bill, told []bill.Notification) error {
	record, err := store.Order(ctx, b.OrderKey())
	if err != nil {
		return err
	}
	all, forgotten, err := newestOf(ctx, store, record)
	if err != nil {
		return err
	}
	var change bill.Change
	for _, n := range told {
		if n.State == bill.Dead && n.Sequence < max(all[n.URL].Sequence, forgotten.Told) {
			n.State = bill.Superseded
			n.Revision++
			change.Notifications = append(change.Notifications, n)
		}
	}
	if len(change.Notifications) == 0 {
		return nil
	}
	return e.commit(ctx, store, change)
}
