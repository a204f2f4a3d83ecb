package handlers

import (
	"net/http"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// view makes the public form of a bill, without metadata.
func (h *Handler) view(r *http.Request, b bill.Bill) bill.View {
	return b.View(h.payURL(r, b.ID))
}

// usualView is how long the JSON of most bills is at most, in bytes.
const usualView = 1024

// encodeView returns the JSON of the public form of a bill, without metadata.
func (h *Handler) encodeView(r *http.Request, b *bill.Bill) []byte {
	return b.AppendView(make([]byte, 0, usualView), h.payURL(r, b.ID))
}

// orderView is an order as its shop is told of it; its first fields are those
// of a notification's "order".
type orderView struct {
	Paid      bool        `json:"paid"`
	PaidBill  string      `json:"paidBill"`
	OpenBill  string      `json:"openBill"`
	OrderCode string      `json:"orderCode"`
	Account   string      `json:"account"`
	Shop      string      `json:"shop"`
	Bills     []bill.View `json:"bills"` // newest first
}
