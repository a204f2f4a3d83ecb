package handlers

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// maxNotification bounds a webhook's body, in bytes.
const maxNotification = 64 << 10

// notificationAnswer is what the gateway reads (protocol.md 11: the document
// gives no form, so it is that of the gateway's own answers).
type notificationAnswer struct {
	Success bool   `json:"success"`
	Message string `json:"message,omitzero"`
}

// settledAnswer is the JSON of a notificationAnswer that says success.
var settledAnswer = []byte(`{"success":true}`)

// notification answers POST /payNotification (the document's section 8). No
// store is touched before the signature is verified, and 200 is only said once
// the change is durable.
func (h *Handler) notification(w http.ResponseWriter, r *http.Request, _ string) {
	sign, candidates := h.claims(r)
	if len(candidates) == 0 {
		h.refuseForgery(w, r, "")
		return
	}
	body, err := readBody(w, r, maxNotification)
	if err != nil {
		p := problemOf(err)
		h.Metrics.Webhook(candidates[0].Name, WebhookUnreadable)
		h.refuseNotification(w, p.Status, p.Detail)
		return
	}
	accounts := verified(candidates, body, sign)
	if len(accounts) == 0 {
		h.refuseForgery(w, r, candidates[0].Name)
		return
	}
	n, err := qlink.ParseNotification(body, accounts[0].Location)
	if err != nil {
		h.Logger.Warn("signed message is no notification", zap.String("account", accounts[0].Name), zap.Error(err))
		h.Metrics.Webhook(accounts[0].Name, WebhookMeaningless)
		h.refuseNotification(w, http.StatusBadRequest, "the body is not a payment notification")
		return
	}
	err = h.Payments.Settle(r.Context(), accounts, n, digest(body))
	h.Metrics.Webhook(accounts[0].Name, settled(err))
	if err != nil {
		h.answerUnsettled(w, n, err)
		return
	}
	answerNotification(w, http.StatusOK, settledAnswer)
}

// The gateway's headers under the names that net/http gives them.
var (
	signHeader   = http.CanonicalHeaderKey(qlink.HeaderSign)
	appKeyHeader = http.CanonicalHeaderKey(qlink.HeaderAppKey)
)

// claims returns the signature that a request claims, and the accounts of the
// app key it names; none unless both headers come exactly once.
func (h *Handler) claims(r *http.Request) (sign string, candidates []*payment.Account) {
	signs, keys := r.Header[signHeader], r.Header[appKeyHeader]
	if len(signs) != 1 || len(keys) != 1 || signs[0] == "" || keys[0] == "" {
		return "", nil
	}
	for _, account := range h.Accounts {
		if account.AppKey == keys[0] {
			candidates = append(candidates, account)
		}
	}
	return signs[0], candidates
}

// verified returns those of the accounts whose secrets made the signature.
func verified(candidates []*payment.Account, body []byte, sign string) []*payment.Account {
	var accounts []*payment.Account
	for _, a := range candidates {
		if qlink.Verify(a.Content, a.AppKey, a.Secrets, body, sign) == nil {
			accounts = append(accounts, a)
		}
	}
	return accounts
}

// answerUnsettled makes the gateway send a notification again: whatever is not
// stored must not be acknowledged.
func (h *Handler) answerUnsettled(w http.ResponseWriter, n qlink.Notification, err error) {
	log := h.Logger.With(zap.String("bill", n.TradeUUID), zap.String("status", n.Status.Raw), zap.Error(err))
	switch {
	case errors.Is(err, payment.ErrContradiction):
		log.Error("notification contradicts the stored bill")
		h.refuseNotification(w, http.StatusConflict, "billCode or orderCode is not that of the bill")
	case errors.Is(err, bill.ErrNotFound):
		log.Warn("notification about an unknown bill")
		h.refuseNotification(w, http.StatusNotFound, "unknown bill")
	case problemOf(err).Status == http.StatusServiceUnavailable:
		log.Error("notification not stored")
		w.Header().Set("Retry-After", "10")
		h.refuseNotification(w, http.StatusServiceUnavailable, "cannot be stored now: send it again")
	default:
		log.Error("notification not settled")
		h.refuseNotification(w, http.StatusInternalServerError, "internal error: send it again")
	}
}

// refuseForgery gives one answer to everything that is not signed as it must
// be, so that nobody learns which part was wrong. account is the one whose app
// key it names, if any.
func (h *Handler) refuseForgery(w http.ResponseWriter, r *http.Request, account string) {
	h.Metrics.Webhook(account, WebhookForged)
	if h.beyondForgeries(r, "notification refused: not signed by a known account") {
		p := errForgeries
		setRetryAfter(w, p.RetryAfter)
		h.refuseNotification(w, p.Status, p.Detail)
		return
	}
	h.refuseNotification(w, http.StatusUnauthorized, "appKey or sign is missing, repeated or wrong")
}

func (h *Handler) refuseNotification(w http.ResponseWriter, status int, message string) {
	body, err := encodeJSON(notificationAnswer{Message: message})
	if err != nil {
		// Two plain fields: it cannot happen, and must not look like success.
		status, body = http.StatusInternalServerError, []byte(`{"success":false}`)
	}
	answerNotification(w, status, body)
}

func answerNotification(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	// A gateway that has gone sends the notification again.
	_, _ = w.Write(body)
}
