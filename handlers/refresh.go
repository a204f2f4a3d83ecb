package handlers

import "net/http"

// refresh answers POST /bills/{id}/refresh: "I have paid". The engine decides
// whether the gateway may be asked again already.
func (h *Handler) refresh(w http.ResponseWriter, r *http.Request, id string) {
	if !h.acceptPress(w, r) {
		return
	}
	b, err := h.Payments.Refresh(r.Context(), h.Scope, id)
	h.answerPress(w, r, id, b, http.StatusOK, err)
}
