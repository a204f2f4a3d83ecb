package handlers

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// create answers POST /bills: an order that the shop has signed.
func (h *Handler) create(w http.ResponseWriter, r *http.Request, _ string) {
	body, err := readBody(w, r, maxBody)
	if err != nil {
		h.failBuyer(w, r, err, true)
		return
	}
	signature, err := h.verify(r, body)
	if err != nil {
		h.refuseSignature(w, r, err)
		return
	}
	key, err := h.idempotency(r, signature.Secret, body)
	if err != nil {
		h.failBuyer(w, r, err, false)
		return
	}
	order, err := bill.ParseOrder(body, h.Scope.Account.Defaults)
	if err != nil {
		h.Metrics.CheckedOut(h.Scope.Account.Name, payment.OutcomeBadOrder)
		h.Logger.Warn("bad order", zap.String("shop", h.Scope.Shop), zap.Error(err))
		h.failBuyer(w, r, err, true)
		return
	}
	created, err := h.Payments.Create(r.Context(), h.Scope, order, payment.HandOver{
		At: signature.At, Signed: true, Idempotency: key, PayURL: func(id string) string { return h.payURL(r, id) },
	})
	h.answerOrder(w, r, created, err)
}

// refuseSignature answers and records a request that is not signed as it must
// be; the log says by whom, never what was sent. A signature that is merely
// late was made by who has the secret, and is no forgery.
func (h *Handler) refuseSignature(w http.ResponseWriter, r *http.Request, err error) {
	const what = "signed endpoint refused"
	code := zap.String("code", err.Error())
	switch {
	case errors.Is(err, errStale):
		h.Logger.Warn(what, code, zap.String("client", h.ClientIP(r)))
	case h.beyondForgeries(r, what, code):
		err = errForgeries
	}
	h.failBuyer(w, r, err, false)
}

// statusOf is the table "Answer to the buyer" where there is a bill.
var statusOf = map[payment.Outcome]int{
	payment.OutcomeNew:      http.StatusCreated,
	payment.OutcomeExisting: http.StatusOK,
	payment.OutcomeUnknown:  http.StatusAccepted,
	payment.OutcomeRefused:  http.StatusCreated,
}

// answerOrder tells whoever sent an order what became of it.
func (h *Handler) answerOrder(w http.ResponseWriter, r *http.Request, created payment.Created, err error) {
	html := prefersHTML(r)
	if err != nil {
		h.answerRefusedOrder(w, r, err, html)
		return
	}
	if html {
		seeOther(w, h.payURL(r, created.Bill.ID))
		return
	}
	status, ok := statusOf[created.Outcome]
	if !ok {
		status = http.StatusOK
	}
	h.admit(w, r, created.Bill)
	w.Header().Set("Location", h.billURL(r, created.Bill.ID))
	write(w, r, status, typeJSON, h.encodeView(r, &created.Bill))
}

// answerRefusedOrder words the engine's refusal. That the buyer was not
// charged is certain only where the engine refused before it created anything.
func (h *Handler) answerRefusedOrder(w http.ResponseWriter, r *http.Request, err error, html bool) {
	refusal, ok := errors.AsType[*payment.Refusal](err)
	if html && ok && refusal.Code == payment.CodePaidOtherwise && refusal.Bill != nil {
		seeOther(w, h.payURL(r, refusal.Bill.ID))
		return
	}
	notCharged := errors.Is(err, payment.ErrTooManyOpen) || errors.Is(err, payment.ErrCheckoutsClosed) || fieldErrors(err) != nil
	h.failBuyer(w, r, err, notCharged)
}
