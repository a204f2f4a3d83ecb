package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// order answers GET /orders/{orderCode}, signed: paid or not, and its bills.
func (h *Handler) order(w http.ResponseWriter, r *http.Request, code string) {
	if !h.acceptSigned(w, r) {
		return
	}
	order, err := h.Payments.Order(r.Context(), h.Scope, code)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	view := orderView{
		Paid: order.PaidBill != "", PaidBill: order.PaidBill, OpenBill: order.OpenBill,
		OrderCode: order.Key.OrderCode, Account: h.Scope.Account.Name, Shop: order.Key.Shop,
		Bills: make([]bill.View, 0, len(order.Bills)),
	}
	for _, b := range order.Bills {
		shown := h.view(r, b)
		shown.Metadata, err = h.metadata(r.Context(), b.ID)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		view.Bills = append(view.Bills, shown)
	}
	h.writeJSON(w, r, http.StatusOK, typeJSON, view)
}

// metadata returns what the shop gave along with a bill's order, nil where it
// gave nothing or retention has deleted it.
func (h *Handler) metadata(ctx context.Context, id string) (jsontext.Value, error) {
	details, err := h.Payments.Details(ctx, h.Scope, id)
	switch {
	case errors.Is(err, bill.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case details.Metadata == "":
		return nil, nil
	}
	return jsontext.Value(details.Metadata), nil
}

// cancelOrder answers POST /orders/{orderCode}/cancel, signed: the shop's
// wish, for which it needs no bill id.
func (h *Handler) cancelOrder(w http.ResponseWriter, r *http.Request, code string) {
	if !h.acceptSigned(w, r) {
		return
	}
	b, err := h.Payments.CancelOrder(r.Context(), h.Scope, code)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	write(w, r, cancelStatus(b), typeJSON, h.encodeView(r, &b))
}

// acceptSigned checks a signed request whose body says nothing; where it
// returns false, it has answered.
func (h *Handler) acceptSigned(w http.ResponseWriter, r *http.Request) bool {
	body, err := readBody(w, r, maxBody)
	if err != nil {
		h.fail(w, r, err)
		return false
	}
	if _, err := h.verify(r, body); err != nil {
		h.refuseSignature(w, r, err)
		return false
	}
	return true
}
