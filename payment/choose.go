package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Choose takes the buyer's choice of how to pay a bill of the scope, and then
// applies for it at the gateway: once, however many choose at a time. Who chose
// what was chosen already is answered with the bill as it is.
//
// Errors: *Refusal with CodeNotChoosable where the bill is not, or no longer, to
// be chosen, CodeNotOffered where Ways has no such way, or CodePreviousOpen where
// an earlier attempt is reported as paid and not confirmed yet;
// ErrCheckoutsClosed, bill.ErrNotFound, bill.ErrUnavailable.
func (e *Engine) Choose(ctx context.Context, s Scope, id, payType, payChannel string) (bill.Bill, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	b, err := ownBill(ctx, store, s, id)
	if err == nil {
		err = checkOpen(store)
	}
	if err != nil {
		return bill.Bill{}, err
	}
	w, way := e.work(ctx, store, s.Account), bill.Way{PayType: payType, PayChannel: payChannel}
	if b, err = w.endOverdue(b); err != nil {
		return bill.Bill{}, err
	}
	if b.Status != bill.Choose {
		return w.chosenBefore(b, way)
	}
	ways, err := e.Ways(ctx, s, b)
	if err != nil {
		return bill.Bill{}, err
	}
	if !slices.ContainsFunc(ways, func(o Way) bool { return o.PayType == payType && o.PayChannel == payChannel }) {
		return b, &Refusal{Code: CodeNotOffered, Bill: &b}
	}
	return w.choose(b, way)
}

// endOverdue ends a bill whose time to be chosen is over.
func (w *work) endOverdue(b bill.Bill) (bill.Bill, error) {
	if b.Status != bill.Choose || !b.ExpiryPassed(w.now()) {
		return b, nil
	}
	b, err := w.cancel(b, bill.CancelExpiry)
	if errors.Is(err, bill.ErrAlreadyPaid) {
		err = nil
	}
	return b, err
}

// choose stores the choice, which is the intent to call /apply, and then calls
// it. The bill's revision sees to it that only one caller gets past the commit.
func (w *work) choose(b bill.Bill, way bill.Way) (bill.Bill, error) {
	details, err := w.store.Details(w.ctx, b.ID)
	if err != nil {
		return bill.Bill{}, fmt.Errorf("details of bill %s: %w", b.ID, err)
	}
	now := w.now()
	step, err := w.record(b.ID, bill.Event{
		Kind: bill.EventChosen, At: now, Source: bill.ByBuyer, Way: way, ExpiresAt: w.account.chosenExpiry(b, way, now),
	})
	refusal, refused := errors.AsType[*Refusal](err)
	switch {
	case errors.Is(err, bill.ErrNotChoosable):
		return w.chosenBefore(step.Bill, way)
	case refused:
		return b, refusal
	case err != nil:
		return bill.Bill{}, err
	}
	return outcomeOf(w.apply(step.Bill, details)).Bill, nil
}

// chosenBefore answers a choice that comes too late: with the bill where it is
// paid in that very way, once the outcome of its /apply is known as far as it
// can be.
func (w *work) chosenBefore(b bill.Bill, way bill.Way) (bill.Bill, error) {
	if !b.Chosen || b.PayType != way.PayType || b.PayChannel != way.PayChannel {
		return b, &Refusal{Code: CodeNotChoosable, Bill: &b}
	}
	return w.awaitApply(b)
}

// chosenExpiry returns when a bill ends if nobody pays it in the chosen way;
// zero for never. A channel's own time begins with the choice; what the order
// or the account in general has set stays as it is.
func (a *Account) chosenExpiry(b bill.Bill, way bill.Way, now time.Time) time.Time {
	own, ok := a.ExpireChannel[way.PayChannel]
	switch {
	case !ok || b.Asked.ExpiresIn > 0:
		return b.ExpiresAt
	case own == 0:
		return time.Time{}
	}
	return now.Add(own)
}
