package payment

import (
	"context"
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Showing is what the hosted page of a bill has to know.
type Showing struct {
	Bill     bill.Bill
	Details  bill.Details // zero where retention has deleted them
	Newer    string       // id of the order's latest attempt where that is another; else ""
	PaidBill string       // id of the attempt that paid the order, or ""
	Told     bool         // the shop has been told all that there was to tell about this bill
	MayRetry bool         // Retry would begin a new attempt, as far as is known without asking the gateway
}

// Showing gathers what is shown of a bill of the scope. within is for how long
// after the hand-over a buyer may begin a new attempt; 0: never.
//
// Errors: bill.ErrNotFound, bill.ErrUnavailable.
func (e *Engine) Showing(ctx context.Context, s Scope, id string, within time.Duration) (Showing, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return Showing{}, err
	}
	defer release()
	b, err := ownBill(ctx, store, s, id)
	if err != nil {
		return Showing{}, err
	}
	record, err := store.Order(ctx, b.OrderKey())
	if err != nil {
		return Showing{}, err
	}
	details, err := store.Details(ctx, id)
	forgotten := isNotFound(err)
	if err != nil && !forgotten {
		return Showing{}, err
	}
	notifications, err := store.Notifications(ctx, id)
	if err != nil {
		return Showing{}, err
	}
	shown := Showing{
		Bill: b, Details: details,
		Told: !slices.ContainsFunc(notifications, bill.Notification.Undelivered),
	}
	if latest, _ := record.Latest(); latest.ID != id {
		shown.Newer = latest.ID
	}
	if paid, ok := record.Paid(); ok {
		shown.PaidBill = paid.ID
	}
	_, reported := record.Unconfirmed()
	_, payable := s.Account.orderOf(b, details)
	shown.MayRetry = checkOpen(store) == nil && shown.Newer == "" && shown.PaidBill == "" && !reported && !forgotten && payable &&
		retryable(b, within, e.now())
	return shown, nil
}
