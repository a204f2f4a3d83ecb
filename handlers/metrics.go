package handlers

import (
	"errors"
	"net/http"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// Metrics is told what ends here, so that the engine never hears of it. Every
// text is an account's name or one of a fixed set.
type Metrics interface {
	// Webhook: a notification of the gateway was answered. account is "" where
	// none has the app key that it names.
	Webhook(account string, outcome WebhookOutcome)
	// CheckedOut: an order was refused before it reached the engine's Create.
	CheckedOut(account string, outcome payment.Outcome)
}

// WebhookOutcome is how a notification of the gateway was answered.
type WebhookOutcome string

// The outcomes of a notification.
const (
	WebhookSettled       WebhookOutcome = "settled"       // 200: what it says is stored, or was before
	WebhookForged        WebhookOutcome = "bad_signature" // 401, 429
	WebhookUnreadable    WebhookOutcome = "unreadable"    // its body did not arrive, or is too long
	WebhookMeaningless   WebhookOutcome = "meaningless"   // 400: signed, and no notification
	WebhookContradiction WebhookOutcome = "contradiction" // 409
	WebhookUnknownBill   WebhookOutcome = "unknown_bill"  // 404
	WebhookNotStored     WebhookOutcome = "unavailable"   // 503
	WebhookFault         WebhookOutcome = "error"         // 500
)

// WebhookOutcomes returns every outcome of a notification.
func WebhookOutcomes() []WebhookOutcome {
	return []WebhookOutcome{
		WebhookSettled, WebhookForged, WebhookUnreadable, WebhookMeaningless,
		WebhookContradiction, WebhookUnknownBill, WebhookNotStored, WebhookFault,
	}
}

// settled returns how a notification that the engine has seen was answered.
func settled(err error) WebhookOutcome {
	switch {
	case err == nil:
		return WebhookSettled
	case errors.Is(err, payment.ErrContradiction):
		return WebhookContradiction
	case errors.Is(err, bill.ErrNotFound):
		return WebhookUnknownBill
	case problemOf(err).Status == http.StatusServiceUnavailable:
		return WebhookNotStored
	}
	return WebhookFault
}

// uncounted are no metrics at all.
type uncounted struct{}

func (uncounted) Webhook(string, WebhookOutcome)     {}
func (uncounted) CheckedOut(string, payment.Outcome) {}
