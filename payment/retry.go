package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Retry begins a new attempt of the order of a bill of the scope, as its buyer
// wishes and as the shop handed it over: for so long after the hand-over, once
// the bill has certainly ended unpaid and is the order's latest. Where the order
// named no channel and the account offers ways, the buyer chooses anew. Buyers
// who press twice begin one attempt: the later ones are answered with it.
//
// Of the hand-over, Client and PayURL count: when the shop spoke is known from
// the bill.
//
// Errors: *Refusal with CodeAlreadyPaid, CodePreviousOpen or CodeRetryNotAllowed
// and the bill that is the reason; ErrTooManyOpen and ErrTooManyOpenOfClient,
// ErrCheckoutsClosed, bill.ErrNotFound, bill.ErrUnavailable.
func (e *Engine) Retry(ctx context.Context, s Scope, id string, within time.Duration, h HandOver) (c Created, err error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return Created{}, err
	}
	defer release()
	if _, err := ownBill(ctx, store, s, id); err != nil {
		return Created{}, err
	}
	defer func() { e.checkedOut(s.Account.Name, c.Outcome, err) }()
	if err := checkOpen(store); err != nil {
		return Created{}, err
	}
	w := e.work(ctx, store, s.Account)
	for range maxRounds {
		created, again, err := w.retry(s, id, within, h)
		if err == nil && !again {
			return created, nil
		}
		if err != nil && !errors.Is(err, bill.ErrConflict) {
			return Created{}, err
		}
	}
	return Created{}, fmt.Errorf("%w: order of bill %s kept changing", bill.ErrUnavailable, id)
}

// retry is one look at the order and one decision, as attempt is.
func (w *work) retry(s Scope, id string, within time.Duration, h HandOver) (c Created, again bool, err error) {
	b, err := w.store.Bill(w.ctx, id)
	if err != nil {
		return Created{}, false, err
	}
	record, err := w.store.Order(w.ctx, b.OrderKey())
	if err != nil {
		return Created{}, false, err
	}
	if paid, ok := record.Paid(); ok {
		return Created{}, false, w.refuse(CodeAlreadyPaid, paid.ID)
	}
	if latest, _ := record.Latest(); latest.ID != id {
		c, err = w.followed(id, latest)
		return c, false, err
	}
	h.At, h.Signed, h.Idempotency, h.retryOf = b.SignedAt, false, nil, id
	if reported, ok := record.Unconfirmed(); ok {
		return w.awaitConfirmation(s, h, b, reported)
	}
	switch {
	case !b.Status.Final():
		return Created{}, false, &Refusal{Code: CodePreviousOpen, Bill: &b}
	case !retryable(b, within, w.now()):
		return Created{}, false, &Refusal{Code: CodeRetryNotAllowed, Bill: &b}
	}
	details, err := w.store.Details(w.ctx, id)
	o, payable := s.Account.orderOf(b, details)
	switch {
	case isNotFound(err), err == nil && !payable:
		return Created{}, false, &Refusal{Code: CodeRetryNotAllowed, Bill: &b}
	case err != nil:
		return Created{}, false, err
	}
	return w.restart(s, o, h, record, b)
}

// followed answers about a bill that has a later attempt: with that one where
// it is what the buyer wished for.
func (w *work) followed(id string, latest bill.Attempt) (Created, error) {
	newer, err := w.store.Bill(w.ctx, latest.ID)
	switch {
	case err != nil:
		return Created{}, err
	case newer.RetryOf == id:
		return w.settled(newer)
	case !newer.Status.Final():
		return Created{}, &Refusal{Code: CodePreviousOpen, Bill: &newer}
	}
	return Created{}, &Refusal{Code: CodeRetryNotAllowed, Bill: &newer}
}

func (w *work) refuse(code Code, id string) error {
	b, err := w.store.Bill(w.ctx, id)
	if err != nil {
		return err
	}
	return &Refusal{Code: code, Bill: &b}
}

// retryable reports whether a buyer may follow b, his order's latest attempt, by
// another one of his own: b has ended unpaid for certain and not by an
// operator's word, the shop still stands by its order, and the hand-over is not
// longer ago than the site allows.
func retryable(b bill.Bill, within time.Duration, now time.Time) bool {
	return b.Status.EndedUnpaid() && !b.Unconfirmed() && !b.Withdrawn && b.ForgottenAt.IsZero() &&
		b.SettledBy != bill.ByOperator && b.Cancel.Reason != bill.CancelOperator &&
		now.Before(b.SignedAt.Add(within))
}

// orderOf returns the order that b was made for, to be paid the same way, or to
// be chosen anew; false where neither is possible any more.
func (a *Account) orderOf(b bill.Bill, d bill.Details) (bill.Order, bool) {
	o := bill.Order{
		OrderCode: b.OrderCode, Amount: b.Amount, Currency: b.Currency, Country: b.Country,
		PayType: b.PayType, PayChannel: b.PayChannel, ChannelSet: !b.Asked.AnyChannel,
		ExpiresIn: time.Duration(b.Asked.ExpiresIn), Details: d,
	}
	switch {
	case b.Asked.AnyChannel && a.Defaults.Choice:
		o.PayType, o.PayChannel = b.Asked.PayType, ""
		return o, true
	case o.PayChannel == "" && o.PayType == "":
		o.PayType, o.PayChannel = a.Defaults.PayType, a.Defaults.PayChannel
	case o.PayChannel == "":
		o.PayChannel = a.Defaults.PayChannel
	}
	return o, o.PayType != "" && o.PayChannel != ""
}
