package handlers

import (
	"errors"
	"net/http"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// healthView is what a load balancer is told.
type healthView struct {
	Status string `json:"status"`
}

// health answers GET /health: 200 while this node can read its store, else what
// every other endpoint would answer. It is asked every second or so: nothing is
// logged, the store says once that it is gone.
func (h *Handler) health(w http.ResponseWriter, r *http.Request, _ string) {
	_, err := h.Payments.Bill(r.Context(), h.Scope, "") // no bill has that id
	if err == nil || errors.Is(err, bill.ErrNotFound) {
		h.writeJSON(w, r, http.StatusOK, typeJSON, healthView{"ok"})
		return
	}
	p := problemOf(err)
	setRetryAfter(w, p.RetryAfter)
	h.writeJSON(w, r, p.Status, typeProblem, problemView{Title: p.Title, Status: p.Status, Detail: p.Detail, Code: p.Code})
}
