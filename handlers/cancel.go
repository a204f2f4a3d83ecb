package handlers

import (
	"errors"
	"net/http"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// cancelBill answers POST /bills/{id}/cancel, the buyer's wish.
func (h *Handler) cancelBill(w http.ResponseWriter, r *http.Request, id string) {
	if !h.acceptPress(w, r) {
		return
	}
	b, err := h.Payments.Cancel(r.Context(), h.Scope, id, bill.CancelBuyer)
	h.answerPress(w, r, id, b, cancelStatus(b), err)
}

// cancelStatus tells a bill that has ended from one that is still to end.
func cancelStatus(b bill.Bill) int {
	if b.Status.Final() {
		return http.StatusOK
	}
	return http.StatusAccepted
}

// acceptPress checks a POST that a button on a page made; where it returns
// false, it has answered. The body, the browser's own form, says nothing.
func (h *Handler) acceptPress(w http.ResponseWriter, r *http.Request) bool {
	_, ok := h.readPress(w, r)
	return ok
}

// readPress is acceptPress for a button whose form says something.
func (h *Handler) readPress(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	if !h.fromHere(r) {
		h.failBuyer(w, r, errOrigin, false)
		return nil, false
	}
	body, err := readBody(w, r, maxBody)
	if err != nil {
		h.failBuyer(w, r, err, false)
		return nil, false
	}
	return body, true
}

// answerPress answers such a POST: programs with the bill, browsers with the
// way to the page, which shows a refusal's reason better than an error could.
func (h *Handler) answerPress(w http.ResponseWriter, r *http.Request, id string, b bill.Bill, status int, err error) {
	_, refused := errors.AsType[*payment.Refusal](err)
	switch {
	case prefersHTML(r) && (err == nil || refused):
		seePage(w, r, id)
	case err != nil:
		h.failBuyer(w, r, err, false)
	default:
		h.admit(w, r, b)
		write(w, r, status, typeJSON, h.encodeView(r, &b))
	}
}

// seePage sends a browser on to a bill's page, in the language that the form's
// address asked for. The address is relative, because the one that the browser
// used is the one it trusts: the page allows forms to lead to its own origin
// alone.
func seePage(w http.ResponseWriter, r *http.Request, id string) {
	seeOther(w, keepLanguage(r, "../../pay/"+id))
}
