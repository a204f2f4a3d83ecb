package handlers

import (
	"errors"
	"net/http"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

// retry answers POST /bills/{id}/retry, "try again": as an order is answered,
// and browsers with the way to the page of the new bill, or of the one that
// stands in its way.
func (h *Handler) retry(w http.ResponseWriter, r *http.Request, id string) {
	if !h.acceptPress(w, r) {
		return
	}
	created, err := h.Payments.Retry(r.Context(), h.Scope, id, h.Retry, payment.HandOver{
		Client: h.client(r), PayURL: func(id string) string { return h.payURL(r, id) },
	})
	refusal, refused := errors.AsType[*payment.Refusal](err)
	switch {
	case prefersHTML(r) && refused && refusal.Bill != nil:
		seePage(w, r, refusal.Bill.ID)
	case prefersHTML(r) && err == nil:
		seePage(w, r, created.Bill.ID)
	case err != nil:
		h.failBuyer(w, r, err, false)
	default:
		h.answerOrder(w, r, created, nil)
	}
}
