package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// MaxReason bounds an operator's reason for force, in bytes.
const MaxReason = 512

// Errors of what an operator asks for.
var (
	// ErrReason: force wants a reason, in UTF-8 and of MaxReason bytes at most.
	ErrReason = errors.New("bad reason")
	// ErrAccountGone: the bill's account is no longer configured, so that there
	// is no gateway to ask.
	ErrAccountGone = errors.New("the bill's account is not configured")
)

// Force ends the bill with the given id on an operator's word, for the recorded
// reason, whatever the gateway says and whether or not its account is still
// configured; nothing is called. A bill that has ended stays as it is, but a
// payment that was reported and not confirmed no longer holds its order up. A
// payment that is seen later pays the bill all the same.
//
// Errors: ErrReason, a *Refusal (CodeAlreadyPaid), bill.ErrNotFound,
// bill.ErrUnavailable.
func (e *Engine) Force(ctx context.Context, id, reason string) (bill.Bill, error) {
	reason = strings.TrimSpace(reason)
	switch {
	case reason == "":
		return bill.Bill{}, fmt.Errorf("%w: there is none", ErrReason)
	case !utf8.ValidString(reason):
		return bill.Bill{}, fmt.Errorf("%w: it is not UTF-8", ErrReason)
	case len(reason) > MaxReason:
		return bill.Bill{}, fmt.Errorf("%w: it has %d bytes, %d at most", ErrReason, len(reason), MaxReason)
	}
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	b, err := store.Bill(ctx, id)
	if err != nil {
		return bill.Bill{}, err
	}
	account := e.accountOf(b)
	if account == nil {
		account = &Account{Name: b.Account, Ledger: b.Ledger}
	}
	step, err := e.work(ctx, store, account).record(id, bill.Event{
		Kind: bill.EventForced, At: e.now(), Source: bill.ByOperator, Note: reason,
	})
	switch {
	case errors.Is(err, bill.ErrForceRefused):
		return step.Bill, &Refusal{Code: CodeAlreadyPaid, Bill: &step.Bill}
	case err != nil:
		return bill.Bill{}, err
	}
	return step.Bill, nil
}

// ScopeOf returns the scope that the bill with the given id belongs to, for an
// operator, who is bound to no site.
//
// Errors: bill.ErrNotFound, ErrAccountGone, bill.ErrUnavailable.
func (e *Engine) ScopeOf(ctx context.Context, id string) (Scope, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return Scope{}, err
	}
	defer release()
	b, err := store.Bill(ctx, id)
	if err != nil {
		return Scope{}, err
	}
	account := e.accountOf(b)
	if account == nil {
		return Scope{}, ErrAccountGone
	}
	return Scope{Account: account, Shop: b.Shop}, nil
}

// accountOf returns b's own account, or nil where it is not configured.
func (e *Engine) accountOf(b bill.Bill) *Account {
	i := slices.IndexFunc(e.cfg.Accounts, func(a *Account) bool { return a.has(b) })
	if i < 0 {
		return nil
	}
	return e.cfg.Accounts[i]
}
