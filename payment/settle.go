package payment

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Settle records a notification whose signature the given accounts verified.
// It returns nil once the change is durable, or there is nothing to change;
// sha256 is the hex hash of the notification's bytes, for the history.
//
// Errors: bill.ErrNotFound for a bill that is none of these accounts' (a
// payment is kept as an orphan first), ErrContradiction, bill.ErrUnavailable.
func (e *Engine) Settle(ctx context.Context, accounts []*Account, n qlink.Notification, sha256 string) error {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return err
	}
	defer release()
	b, err := store.Bill(ctx, n.TradeUUID)
	if err != nil && !errors.Is(err, bill.ErrNotFound) {
		return err
	}
	account := e.ownAccount(accounts, b)
	if err != nil || account == nil {
		return e.unknown(ctx, store, accounts, n, sha256)
	}
	step, err := e.work(ctx, store, account).recordOn(b, notificationEvent(n, sha256, e.now()))
	switch {
	case err != nil:
		return err
	case step.Line.Kind == bill.EventContradiction:
		return ErrContradiction
	}
	e.later(ctx, account, step)
	return nil
}

// ownAccount returns b's own account where it is among the verified ones. Once
// its name is no longer configured, the ledger (endpoint and app key) decides.
func (e *Engine) ownAccount(verified []*Account, b bill.Bill) *Account {
	configured := slices.ContainsFunc(e.cfg.Accounts, func(a *Account) bool {
		return a.Name == b.Account && a.Ledger == b.Ledger
	})
	for _, a := range verified {
		if a.Ledger == b.Ledger && (!configured || a.Name == b.Account) {
			return a
		}
	}
	return nil
}

func notificationEvent(n qlink.Notification, sha256 string, now time.Time) bill.Event {
	return bill.Event{
		Kind: reportedKind(n.Status), At: now, Source: bill.ByWebhook,
		Report: notificationReport(n, sha256),
	}
}

func notificationReport(n qlink.Notification, sha256 string) bill.Report {
	return bill.Report{
		TradeUUID: n.TradeUUID, BillCode: n.BillCode, OrderCode: n.OrderCode, PaymentRequestID: n.PaymentRequestID,
		Status: cut(n.Status.Raw), PayTime: n.PayTime, ErrorCode: cut(n.ErrorCode), BodySHA256: sha256,
	}
}

// unknown keeps a payment that nobody here knows: it was real, and only an
// operator can tell what it was for.
func (e *Engine) unknown(ctx context.Context, store bill.Store, accounts []*Account, n qlink.Notification, sha256 string) error {
	if n.Status.Code == qlink.StatusSuccess {
		orphan := bill.Orphan{
			Ledger: accounts[0].Ledger, ID: n.TradeUUID, At: e.now(), Report: notificationReport(n, sha256),
		}
		if err := e.commit(context.WithoutCancel(ctx), store, bill.Change{Orphan: &orphan}); err != nil {
			return err
		}
		e.cfg.Logger.Error("payment of an unknown bill", zap.String("bill", cut(n.TradeUUID)),
			zap.String("order", cut(n.OrderCode)), zap.String("account", accounts[0].Name))
	}
	if slices.ContainsFunc(accounts, func(a *Account) bool { return a.AcceptUnknown }) {
		return nil
	}
	return bill.ErrNotFound
}
