package payment

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Cancel asks the gateway to end a bill of the scope. The bill it returns has
// ended, or not yet (the wish is stored); a *Refusal says that it is paid or
// that the gateway would not.
func (e *Engine) Cancel(ctx context.Context, s Scope, id string, reason bill.CancelReason) (bill.Bill, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	b, err := ownBill(ctx, store, s, id)
	if err != nil {
		return bill.Bill{}, err
	}
	return e.work(ctx, store, s.Account).cancelFor(b, reason)
}

// CancelOrder does the same for the open bill of an order: a shop that ran out
// of stock knows no bill's id.
func (e *Engine) CancelOrder(ctx context.Context, s Scope, orderCode string) (bill.Bill, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	record, err := store.Order(ctx, s.key(orderCode))
	if err != nil {
		return bill.Bill{}, err
	}
	target, _ := record.Latest()
	if paid, ok := record.Paid(); ok {
		target = paid
	} else if open, ok := record.Open(); ok {
		target = open
	}
	b, err := store.Bill(ctx, target.ID)
	if err != nil {
		return bill.Bill{}, err
	}
	// Whoever holds an order that the shop signed before must not revive it.
	w := e.work(ctx, store, s.Account)
	if b, err = w.withdraw(b, HandOver{At: w.now().Truncate(time.Second)}); err != nil {
		return bill.Bill{}, err
	}
	return w.cancelFor(b, bill.CancelShop)
}

// cancelFor is cancel for somebody who wants to know whether he may have it.
func (w *work) cancelFor(b bill.Bill, reason bill.CancelReason) (bill.Bill, error) {
	after, err := w.cancel(b, reason)
	switch {
	case errors.Is(err, bill.ErrAlreadyPaid):
		return after, &Refusal{Code: CodeAlreadyPaid, Bill: &after}
	case err != nil:
		return bill.Bill{}, err
	case !after.Status.Final() && (!after.Cancel.Requested || after.Unconfirmed()):
		return after, &Refusal{Code: CodeCancelRefused, Bill: &after}
	}
	return after, nil
}

// cancel stores the wish, then asks the gateway, then believes a query: the
// bill it returns is as stored. A payment that came first is
// bill.ErrAlreadyPaid.
func (w *work) cancel(b bill.Bill, reason bill.CancelReason) (bill.Bill, error) {
	step, err := w.record(b.ID, bill.Event{
		Kind: bill.EventCancelAsked, At: w.now(), Source: sourceOf(reason), Reason: reason,
	})
	if err == nil && step.Bill.Status == bill.Created && step.Bill.Apply.NotSent {
		// Nothing to cancel: the gateway was never reached.
		step, err = w.record(b.ID, bill.Event{Kind: bill.EventNotKnown, At: w.now(), Source: bill.ByModule})
	}
	if err != nil {
		return step.Bill, err
	}
	after, err := w.pursue(step)
	if err == nil && after.Status == bill.Success {
		err = bill.ErrAlreadyPaid
	}
	return after, err
}

func sourceOf(reason bill.CancelReason) bill.Source {
	switch reason {
	case bill.CancelBuyer:
		return bill.ByBuyer
	case bill.CancelShop, bill.CancelReplaced:
		return bill.ByShop
	case bill.CancelExpiry:
		return bill.ByExpiry
	case bill.CancelOperator:
		return bill.ByOperator
	case bill.CancelPaid, bill.CancelNoAction:
	}
	return bill.ByModule
}

// Refresh asks the gateway now what became of a bill of the scope, at most
// once per MinInterval, and does what follows from the answer.
func (e *Engine) Refresh(ctx context.Context, s Scope, id string) (bill.Bill, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	b, err := ownBill(ctx, store, s, id)
	if err != nil {
		return bill.Bill{}, err
	}
	return e.work(ctx, store, s.Account).refresh(b)
}

func (w *work) refresh(b bill.Bill) (bill.Bill, error) {
	now := w.now()
	switch {
	case b.Status == bill.Success, b.ApplyUnderWay(now, w.rules()):
		return b, nil
	case !b.Status.Final() && b.ExpiryPassed(now) && !b.Cancel.Requested && !b.Unconfirmed():
		after, err := w.cancel(b, bill.CancelExpiry)
		if errors.Is(err, bill.ErrAlreadyPaid) {
			err = nil
		}
		return after, err
	case b.Status == bill.Choose:
		return b, nil
	}
	first := bill.Event{Kind: bill.EventAsked, At: now, Source: bill.ByModule}
	if w.actor != "" {
		first.Source = bill.ByOperator
	}
	step, err := w.record(b.ID, first)
	if errors.Is(err, bill.ErrAskedAlready) {
		return step.Bill, nil
	}
	if err == nil && step.Bill.Status == bill.Created && step.Bill.Apply.NotSent {
		// No query is needed: the gateway was never reached.
		step, err = w.record(b.ID, bill.Event{Kind: bill.EventNotKnown, At: now, Source: bill.ByModule})
	}
	if err != nil {
		return b, err
	}
	return w.pursue(step)
}

// awaitLook is how often a waiting caller looks for an outcome of /apply that
// buyers cannot see.
const awaitLook = 200 * time.Millisecond

// awaitApply waits while somebody else's /apply for b may be under way, but
// no longer than that call may take or the caller waits.
func (w *work) awaitApply(b bill.Bill) (bill.Bill, error) {
	if b.Status != bill.Created || !b.ApplyUnderWay(w.now(), w.rules()) {
		return b, nil
	}
	versions, stop := w.store.Watch(b.ID)
	defer stop()
	timeout := time.NewTimer(w.account.CallTimeout + callSlack)
	defer timeout.Stop()
	look := time.NewTicker(awaitLook) // an unclear answer moves no version
	defer look.Stop()
	for {
		b, err := w.store.Bill(w.ctx, b.ID)
		if err != nil || b.Status != bill.Created || !b.ApplyUnderWay(w.now(), w.rules()) {
			return b, err
		}
		select {
		case _, open := <-versions:
			if !open {
				return b, nil
			}
		case <-look.C:
		case <-timeout.C:
			return b, nil
		case <-w.caller:
			return b, nil
		}
	}
}
