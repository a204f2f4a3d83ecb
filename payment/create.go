package payment

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// maxRounds bounds how often one operation starts over because somebody else
// changed the order meanwhile. Each round means that another one got ahead.
const maxRounds = 100

// idempotencyFor is how long an Idempotency-Key is remembered.
const idempotencyFor = 24 * time.Hour

// running holds the idempotency keys whose first request has not ended, over
// all configurations of the process. Of those at other processes the store tells
// once one of them has written: see bill.Idempotency.
var running sync.Map

// Ready reports whether a new order of this client (see HandOver) could be
// taken now: nil, ErrTooManyOpen, ErrTooManyOpenOfClient, ErrCheckoutsClosed or
// an error that wraps bill.ErrUnavailable. It is asked before a shop is, so that no shop creates an
// order in vain; and so before anybody knows whether the order has a bill
// already.
func (e *Engine) Ready(ctx context.Context, client string) error {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return err
	}
	defer release()
	return e.room(ctx, store, client)
}

// room reports whether store and limits leave room for one more open bill. It
// looks before the commit, not in it: callers who race may go beyond a limit by
// as many as they are.
func (e *Engine) room(ctx context.Context, store bill.Store, client string) error {
	if err := e.usable(store); err != nil {
		return err
	}
	open, err := store.OpenBills(ctx) // also without a limit: it shows whether the store can be reached
	if err != nil {
		return err
	}
	if e.cfg.OpenTotal > 0 && open >= e.cfg.OpenTotal {
		return ErrTooManyOpen
	}
	if e.cfg.OpenPerClient > 0 && client != "" {
		open, err := store.OpenBillsOf(ctx, client, e.cfg.OpenPerClient)
		if err != nil {
			return err
		}
		if open >= e.cfg.OpenPerClient {
			return ErrTooManyOpenOfClient
		}
	}
	return nil
}

// usable reports whether store and disk can take a new bill, and may.
func (e *Engine) usable(store bill.Store) error {
	if err := checkOpen(store); err != nil {
		return err
	}
	if err := bill.Broken(store); err != nil {
		return fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
	}
	if fs, ok := store.(bill.FreeSpacer); ok && e.cfg.MinFreeSpace > 0 {
		free, err := fs.FreeSpace()
		if err != nil {
			return fmt.Errorf("%w: free space: %w", bill.ErrUnavailable, err)
		}
		if free < e.cfg.MinFreeSpace {
			return fmt.Errorf("%w: %d bytes of free space left, min_free_space is %d", bill.ErrUnavailable, free, e.cfg.MinFreeSpace)
		}
	}
	return nil
}

// Create makes sure that the order has a bill, and returns it: the same for
// the same order while it is open, the paid one once it is paid, a new attempt
// where the earlier ones have certainly ended. However many callers hand over
// one order at a time, one payment is created at the gateway; the others wait
// for its outcome.
//
// Errors: *Refusal, ErrTooManyOpen and ErrTooManyOpenOfClient where a new bill
// is needed, ErrCheckoutsClosed whether or not one is, bill.ErrUnavailable.
func (e *Engine) Create(ctx context.Context, s Scope, o bill.Order, h HandOver) (c Created, err error) {
	defer func() { e.checkedOut(s.Account.Name, c.Outcome, err) }()
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return Created{}, err
	}
	defer release()
	if err := checkOpen(store); err != nil {
		return Created{}, err
	}
	w := e.work(ctx, store, s.Account)
	if h.Idempotency != nil {
		if _, taken := running.LoadOrStore(h.Idempotency.Key, true); taken {
			return Created{}, &Refusal{Code: CodeKeyRunning}
		}
		defer running.Delete(h.Idempotency.Key)
	}
	return w.create(s, o, h)
}

// answeredBefore answers a repeated request by the bill of the first; false for
// a first request.
func (w *work) answeredBefore(s Scope, h HandOver) (c Created, ok bool, err error) {
	if h.Idempotency == nil {
		return Created{}, false, nil
	}
	seen, err := w.store.Idempotent(w.ctx, h.Idempotency.Key, w.now())
	switch {
	case errors.Is(err, bill.ErrNotFound):
		return Created{}, false, nil
	case err != nil:
		return Created{}, false, err
	case seen.Request != h.Idempotency.Body:
		return Created{}, false, &Refusal{Code: CodeKeyReused}
	}
	b, err := w.store.Bill(w.ctx, seen.Bill)
	if err != nil {
		return Created{}, false, err
	}
	if !s.owns(b) { // two shops share a secret
		return Created{}, false, &Refusal{Code: CodeKeyReused}
	}
	c, err = w.settled(b)
	if c.Outcome == OutcomeRefused {
		c.Outcome = OutcomeExisting // it was refused then, to somebody who was told
	}
	return c, true, err
}

// create answers as the order and the key of its request stand; whoever gets
// ahead, at this node or another one, makes it look again.
func (w *work) create(s Scope, o bill.Order, h HandOver) (Created, error) {
	h.At = h.At.UTC().Truncate(time.Second)
	for range maxRounds {
		if c, ok, err := w.answeredBefore(s, h); ok || err != nil {
			return c, err
		}
		created, again, err := w.attempt(s, o, h)
		if err == nil && !again {
			if err = w.remember(created, h); err == nil {
				return created, nil
			}
		}
		if err != nil && !errors.Is(err, bill.ErrConflict) {
			return Created{}, err
		}
	}
	return Created{}, fmt.Errorf("%w: order %q kept changing", bill.ErrUnavailable, o.OrderCode)
}

// attempt is one look at the order and one decision. It asks to be called
// again where its decision changed the order and has to be followed by another.
func (w *work) attempt(s Scope, o bill.Order, h HandOver) (c Created, again bool, err error) {
	record, err := w.store.Order(w.ctx, s.key(o.OrderCode))
	if errors.Is(err, bill.ErrNotFound) {
		record, err = bill.OrderRecord{Key: s.key(o.OrderCode)}, nil
	}
	if err != nil {
		return Created{}, false, err
	}
	latest, known := record.Latest()
	if !known {
		c, err = w.start(s, o, h, record)
		return c, false, err
	}
	current, err := w.store.Bill(w.ctx, latest.ID)
	if err != nil {
		return Created{}, false, err
	}
	if h.Signed && h.At.Before(current.SignedAt) {
		return Created{}, false, &Refusal{Code: CodeStaleOrder, Bill: &current}
	}
	if paid, ok := record.Paid(); ok {
		c, err = w.alreadyPaid(paid, o)
		return c, false, err
	}
	_, open := record.Open()
	if open && current.Matches(o) && current.Account == s.Account.Name && !current.Cancel.Requested && !current.ExpiryPassed(w.now()) {
		c, err = w.rejoin(current, h)
		ended := c.Bill.Status.EndedUnpaid() && c.Outcome != OutcomeRefused
		return c, ended, err
	}
	if before := current; !before.Matches(o) {
		if current, err = w.withdraw(before, h); err != nil || !before.Withdrawn {
			return Created{}, true, err
		}
	}
	if reported, ok := record.Unconfirmed(); ok {
		return w.awaitConfirmation(s, h, current, reported)
	}
	if !open {
		return w.restart(s, o, h, record, current)
	}
	return w.replace(current, h)
}

// awaitConfirmation starts no new attempt beside one that may be paid: it asks
// the gateway after that one, and lets the next round see what that has shown.
func (w *work) awaitConfirmation(s Scope, h HandOver, current bill.Bill, reported bill.Attempt) (c Created, again bool, err error) {
	if _, err = w.handedOver(current, h); err != nil {
		return Created{}, false, err
	}
	b, err := w.store.Bill(w.ctx, reported.ID)
	if err == nil && b.Account == s.Account.Name {
		b, err = w.refresh(b)
	}
	if err != nil || !b.Unconfirmed() {
		return Created{}, true, err
	}
	return Created{}, false, &Refusal{Code: CodePreviousOpen, Bill: &b}
}

// restart begins a new attempt after one that ended unpaid, unless the gateway,
// asked once more, shows that one paid after all.
func (w *work) restart(s Scope, o bill.Order, h HandOver, record bill.OrderRecord, ended bill.Bill) (c Created, again bool, err error) {
	if !w.now().Before(ended.UpdatedAt.Add(w.engine.cfg.MinInterval)) && ended.Account == s.Account.Name {
		if ended, err = w.refresh(ended); err != nil || ended.Status == bill.Success {
			return Created{}, true, err
		}
	}
	c, err = w.start(s, o, h, record)
	return c, false, err
}

func (w *work) alreadyPaid(paid bill.Attempt, o bill.Order) (Created, error) {
	b, err := w.store.Bill(w.ctx, paid.ID)
	if err != nil {
		return Created{}, err
	}
	if !b.Amount.Equal(o.Amount) || b.Currency != o.Currency {
		return Created{}, &Refusal{Code: CodePaidOtherwise, Bill: &b}
	}
	return Created{Bill: b, Outcome: OutcomeExisting}, nil
}

// rejoin answers with the open bill.
func (w *work) rejoin(b bill.Bill, h HandOver) (Created, error) {
	b, err := w.handedOver(b, h)
	if err != nil {
		return Created{}, err
	}
	return w.settled(b)
}

// handedOver stores that the order came again later: what was signed before is
// stale from now on.
func (w *work) handedOver(b bill.Bill, h HandOver) (bill.Bill, error) {
	if !h.At.After(b.SignedAt) {
		return b, nil
	}
	step, err := w.record(b.ID, bill.Event{Kind: bill.EventHandedOver, At: h.At, Source: bill.ByShop})
	return step.Bill, err
}

// withdraw stores that the shop stands by b's terms no longer, whatever becomes
// of its new ones: no buyer begins another attempt by the old. It moves the
// order's revision, so that none who is about to gets ahead. Beside a payment
// there is no such attempt, and nothing to take back.
func (w *work) withdraw(b bill.Bill, h HandOver) (bill.Bill, error) {
	if b.Status == bill.Success {
		return w.handedOver(b, h)
	}
	step, err := w.record(b.ID, bill.Event{Kind: bill.EventWithdrawn, At: h.At, Source: bill.ByShop})
	return step.Bill, err
}

// settled is the answer about a bill that exists, once the outcome of its
// /apply, and of a payment that was reported, is known as far as it can be.
func (w *work) settled(b bill.Bill) (Created, error) {
	b, err := w.awaitApply(b)
	if err == nil && (b.Status == bill.Created || b.Unconfirmed()) {
		w.keeping = true
		b, err = w.refresh(b)
		w.keeping = false
	}
	if err != nil {
		return Created{}, err
	}
	switch b.Status {
	case bill.Created:
		return Created{Bill: b, Outcome: OutcomeUnknown}, nil
	case bill.Fail:
		return Created{Bill: b, Outcome: OutcomeRefused}, nil
	default:
		return Created{Bill: b, Outcome: OutcomeExisting}, nil
	}
}

// replace ends an open bill whose terms are no longer wanted. Only when that
// is certain may the next round start a new attempt.
func (w *work) replace(b bill.Bill, h HandOver) (c Created, again bool, err error) {
	if b, err = w.handedOver(b, h); err != nil {
		return Created{}, false, err
	}
	b, err = w.awaitApply(b)
	if err != nil {
		return Created{}, false, err
	}
	reason := bill.CancelReplaced
	if b.ExpiryPassed(w.now()) {
		reason = bill.CancelExpiry
	}
	b, err = w.cancel(b, reason)
	switch {
	case err != nil && !errors.Is(err, bill.ErrAlreadyPaid):
		return Created{}, false, err
	case b.Status.Final():
		return Created{}, true, nil
	}
	return Created{}, false, &Refusal{Code: CodePreviousOpen, Bill: &b}
}

// start stores a new attempt and then applies for it at the gateway. The
// order's revision sees to it that only one caller gets past the commit.
func (w *work) start(s Scope, o bill.Order, h HandOver, record bill.OrderRecord) (Created, error) {
	if err := w.engine.room(w.ctx, w.store, h.Client); err != nil {
		return Created{}, err
	}
	now := w.now()
	template := bill.Bill{
		ID: w.engine.cfg.NewID(), Ledger: s.Account.Ledger, Account: s.Account.Name, Shop: s.Shop,
		Attempt: len(record.Attempts) + 1, LiveMode: s.Account.LiveMode,
		SignedAt: h.At, ExpiresAt: s.Account.expiry(o, now), RetryOf: h.retryOf,
	}
	if w.engine.cfg.OpenPerClient > 0 {
		template.Client = h.Client
	}
	if h.PayURL != nil {
		template.PayURL = h.PayURL(template.ID)
	}
	b, line := bill.New(template, o, now)
	b.Due = w.engine.due(b, now)
	record, _ = record.With(b)
	record.Revision++
	change := bill.Change{
		Order: &record,
		Bills: []bill.BillChange{{Bill: b, Details: &o.Details, Events: []bill.Event{line}}},
	}
	if h.Idempotency != nil {
		change.Idempotency = w.idempotency(b, h)
	}
	if err := w.tellShop(&change, b, bill.BillCreated, record, &o.Details); err != nil {
		return Created{}, err
	}
	if err := w.engine.commit(w.ctx, w.store, change); err != nil {
		return Created{}, fmt.Errorf("store bill of order %q: %w", o.OrderCode, err)
	}
	w.engine.announce(change)
	if b.Status == bill.Choose {
		return Created{Bill: b, Outcome: OutcomeNew}, nil
	}
	return outcomeOf(w.apply(b, o.Details)), nil
}

// outcomeOf is what the buyer is told of a bill just applied for. An error
// leaves the outcome unknown: the bill is stored, and is asked after.
func outcomeOf(b bill.Bill, _ error) Created {
	switch b.Status {
	case bill.Created:
		return Created{Bill: b, Outcome: OutcomeUnknown}
	case bill.Fail:
		return Created{Bill: b, Outcome: OutcomeRefused}
	default:
		return Created{Bill: b, Outcome: OutcomeNew}
	}
}

// remember keeps the answer to an Idempotency-Key where no commit of a new
// bill did.
func (w *work) remember(c Created, h HandOver) error {
	if h.Idempotency == nil || c.Outcome == OutcomeNew {
		return nil
	}
	return w.engine.commit(w.ctx, w.store, bill.Change{Idempotency: w.idempotency(c.Bill, h)})
}

func (w *work) idempotency(b bill.Bill, h HandOver) *bill.Idempotency {
	now := w.now()
	return &bill.Idempotency{
		Key: h.Idempotency.Key, Request: h.Idempotency.Body,
		Bill: b.ID, At: now, ExpiresAt: now.Add(idempotencyFor),
	}
}

// expiry returns when a bill for o ends if nobody pays it; zero for never.
func (a *Account) expiry(o bill.Order, now time.Time) time.Time {
	after := a.ExpireAfter
	if own, ok := a.ExpireChannel[o.PayChannel]; ok {
		after = own
	}
	if o.ExpiresIn > 0 {
		after = o.ExpiresIn
	}
	if after == 0 {
		return time.Time{}
	}
	return now.Add(after)
}
