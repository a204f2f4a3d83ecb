package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// MaxReason bounds an operator's reason or note, in bytes.
const MaxReason = 512

// maxActor bounds the name of an operator in the history, in bytes.
const maxActor = 128

// Errors of what an operator asks for.
var (
	// ErrReason: a reason or note is wanted, in UTF-8 and of MaxReason bytes at
	// most.
	ErrReason = errors.New("bad reason")
	// ErrAccountGone: the bill's account is no longer configured, so that there
	// is no gateway to ask.
	ErrAccountGone = errors.New("the bill's account is not configured")
)

// Operator is what a person may do who answers for all accounts and shops.
// Every act is written into the history of its bill, under his name, and so is
// what came of it at the gateway.
type Operator struct {
	engine *Engine
	name   string
}

// Operator returns what the operator of that name may do. The name is his own
// word: it is shortened where it is too long, and made printable.
func (e *Engine) Operator(name string) Operator {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "")))
	for len(name) > maxActor {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	if name == "" {
		name = string(bill.ByOperator)
	}
	return Operator{engine: e, name: name}
}

// on runs an act on the bill with the given id, on the store leased for it.
func (o Operator) on(ctx context.Context, id string, act func(w *work, b bill.Bill) (bill.Bill, error)) (bill.Bill, error) {
	store, release, err := o.engine.cfg.Store(ctx)
	if err != nil {
		return bill.Bill{}, err
	}
	defer release()
	b, err := store.Bill(ctx, id)
	if err != nil {
		return bill.Bill{}, err
	}
	account := o.engine.accountOf(b)
	if account == nil {
		account = &Account{Name: b.Account, Ledger: b.Ledger}
	}
	w := o.engine.work(ctx, store, account)
	w.actor = o.name
	return act(w, b)
}

// asking is an act that needs the gateway.
func asking(act func(w *work, b bill.Bill) (bill.Bill, error)) func(w *work, b bill.Bill) (bill.Bill, error) {
	return func(w *work, b bill.Bill) (bill.Bill, error) {
		if w.account.Gateway == nil {
			return bill.Bill{}, ErrAccountGone
		}
		return act(w, b)
	}
}

// Refresh asks the gateway now what became of a bill, at most once per
// MinInterval, and does what follows from the answer. A paid bill is not asked
// after.
//
// Errors: bill.ErrNotFound, ErrAccountGone, bill.ErrUnavailable.
func (o Operator) Refresh(ctx context.Context, id string) (bill.Bill, error) {
	return o.on(ctx, id, asking((*work).refresh))
}

// Cancel asks the gateway to end a bill. The bill it returns has ended, or not
// yet (the wish is stored).
//
// Errors: a *Refusal (it is paid, or the gateway would not), bill.ErrNotFound,
// ErrAccountGone, bill.ErrUnavailable.
func (o Operator) Cancel(ctx context.Context, id string) (bill.Bill, error) {
	return o.on(ctx, id, asking(func(w *work, b bill.Bill) (bill.Bill, error) {
		return w.cancelFor(b, bill.CancelOperator)
	}))
}

// Force ends a bill on the operator's word, for the recorded reason, whatever
// the gateway says and whether or not its account is still configured; nothing
// is called. A bill that has ended stays as it is, but a payment that was
// reported and not confirmed no longer holds its order up. A payment that is
// seen later pays the bill all the same.
//
// Errors: ErrReason, a *Refusal (CodeAlreadyPaid), bill.ErrNotFound,
// bill.ErrUnavailable.
func (o Operator) Force(ctx context.Context, id, reason string) (bill.Bill, error) {
	reason, err := words("reason", reason)
	if err != nil {
		return bill.Bill{}, err
	}
	return o.on(ctx, id, func(w *work, _ bill.Bill) (bill.Bill, error) {
		step, err := w.record(id, bill.Event{Kind: bill.EventForced, At: w.now(), Source: bill.ByOperator, Note: reason})
		switch {
		case errors.Is(err, bill.ErrForceRefused):
			return step.Bill, &Refusal{Code: CodeAlreadyPaid, Bill: &step.Bill}
		case err != nil:
			return bill.Bill{}, err
		}
		return step.Bill, nil
	})
}

// Resolve writes down that the operator has seen to a bill, with a note: it is
// stuck no longer, until it changes again. Nothing else of it changes.
//
// Errors: ErrReason, bill.ErrNotFound, bill.ErrUnavailable.
func (o Operator) Resolve(ctx context.Context, id, note string) (bill.Bill, error) {
	note, err := words("note", note)
	if err != nil {
		return bill.Bill{}, err
	}
	return o.on(ctx, id, func(w *work, _ bill.Bill) (bill.Bill, error) {
		step, err := w.record(id, bill.Event{Kind: bill.EventResolved, At: w.now(), Source: bill.ByOperator, Note: note})
		return step.Bill, err
	})
}

// ResolveOrphan does the same for the orphans with the given tradeUuid, of
// whichever ledger, and returns the last of them.
func (o Operator) ResolveOrphan(ctx context.Context, id, note string) (resolved bill.Orphan, err error) {
	note, err = words("note", note)
	if err != nil {
		return bill.Orphan{}, err
	}
	store, release, err := o.engine.cfg.Store(ctx)
	if err != nil {
		return bill.Orphan{}, err
	}
	defer release()
	err = bill.ErrNotFound
	for cursor := ""; ; {
		page, next, listErr := store.Orphans(ctx, cursor, mostListed)
		if listErr != nil {
			return bill.Orphan{}, listErr
		}
		for _, orphan := range page {
			if orphan.ID != id {
				continue
			}
			orphan.Resolved = &bill.Resolution{At: o.engine.now(), Note: note, Actor: o.name}
			resolved = orphan
			if err = o.engine.commit(context.WithoutCancel(ctx), store, bill.Change{Orphan: &orphan}); err != nil {
				return bill.Orphan{}, err
			}
		}
		if cursor = next; cursor == "" {
			return resolved, err
		}
	}
}

// mostListed is the largest page of a store's listings.
const mostListed = 1000

// words checks an operator's reason or note.
func words(what, text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", fmt.Errorf("%w: there is no %s", ErrReason, what)
	case !utf8.ValidString(text):
		return "", fmt.Errorf("%w: the %s is not UTF-8", ErrReason, what)
	case len(text) > MaxReason:
		return "", fmt.Errorf("%w: the %s has %d bytes, %d at most", ErrReason, what, len(text), MaxReason)
	}
	return text, nil
}

// accountOf returns b's own account, or nil where it is not configured.
func (e *Engine) accountOf(b bill.Bill) *Account {
	i := slices.IndexFunc(e.cfg.Accounts, func(a *Account) bool { return a.has(b) })
	if i < 0 {
		return nil
	}
	return e.cfg.Accounts[i]
}
