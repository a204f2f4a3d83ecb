package shop

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"go.uber.org/zap"
)

// orderType marks an answer as an order for the qlink handler to bill.
const orderType = "application/vnd.qlink.order+json"

// qlinkOrder is what a checkout answers. The qlink handler in front of the shop
// takes it from there; it never reaches the buyer.
type qlinkOrder struct {
	OrderCode   string      `json:"orderCode"`
	Amount      string      `json:"amount"`
	Currency    string      `json:"currency"`
	Description string      `json:"description"`
	Items       []qlinkItem `json:"items"`
}

type qlinkItem struct {
	SKUCode  string `json:"skuCode"`
	SKUName  string `json:"skuName"`
	Quantity int    `json:"quantity"`
	Category string `json:"category"`
}

// checkout answers with the cart's order: 201 for a new one, 200 for one that
// was there. It reads no form: the cart alone says what is bought.
func (s *Shop) checkout(w http.ResponseWriter, r *http.Request, l *ledger) {
	id := cartID(r, l.cookieKey)
	s.learnBeforeAmending(r.Context(), l, id)
	o, created, err := l.place(id)
	switch {
	case errors.Is(err, errEmptyCart) && o.Code != "":
		// A second click that came after the payment.
		http.Redirect(w, r, "/orders/"+o.Code, http.StatusSeeOther)
	case errors.Is(err, errEmptyCart):
		s.refuse(w, r, http.StatusConflict, "empty_cart", "Your cart is empty.")
	case err != nil:
		s.fail(w, r, err)
	case created:
		s.sendJSON(w, http.StatusCreated, orderType, newQLinkOrder(o))
	default:
		s.sendJSON(w, http.StatusOK, orderType, newQLinkOrder(o))
	}
}

// learnBeforeAmending asks after the cart's order if the cart is no longer what
// was ordered: where the order is paid meanwhile, what was added belongs to a
// new one. Where the module cannot be asked, it refuses the changed amount
// itself once the order comes to it.
func (s *Shop) learnBeforeAmending(ctx context.Context, l *ledger, cartID string) {
	c := l.cart(cartID)
	o, known := l.order(c.OrderCode)
	if known && !o.Paid() && !slices.Equal(o.Items, priced(c.Lines)) {
		s.learn(ctx, l, o)
	}
}

func newQLinkOrder(o order) qlinkOrder {
	q := qlinkOrder{
		OrderCode:   o.Code,
		Amount:      o.Total.amount(),
		Currency:    currency,
		Description: "Warung Pasar Pagi, order " + o.Code,
	}
	for _, i := range o.Items {
		q.Items = append(q.Items, qlinkItem{SKUCode: i.SKU, SKUName: i.Name, Quantity: i.Quantity, Category: i.Category})
	}
	return q
}

// standing is what the shop can say about an order's payment.
type standing string

const (
	standingPaid     standing = "paid"
	standingWaiting  standing = "waiting"  // a bill is open
	standingUnpaid   standing = "unpaid"   // no bill, or none that can still be paid
	standingMismatch standing = "mismatch" // paid, but not what it costs: a person must look
	standingUnknown  standing = "unknown"  // the module could not be asked
)

// learn finds out how an order stands, and marks it as paid where the module
// says so and the payment is for what the order costs. With standingWaiting
// comes the open bill.
func (s *Shop) learn(ctx context.Context, l *ledger, o order) (order, standing, bill) {
	if o.Paid() {
		return o, standingPaid, bill{}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	a, err := s.till.ask(ctx, o.Code)
	switch {
	case errors.Is(err, errNeverBilled):
		return o, standingUnpaid, bill{}
	case err != nil:
		s.logger.Warn("asking after an order", zap.Error(err))
		return o, standingUnknown, bill{}
	case !a.Paid:
		if open, ok := a.find(a.OpenBill); ok {
			return o, standingWaiting, open
		}
		return o, standingUnpaid, bill{}
	}
	paid, _ := a.find(a.PaidBill)
	return s.fulfil(l, o, paid)
}

// fulfil marks an order as paid. A real shop would ship from here, once.
func (s *Shop) fulfil(l *ledger, o order, paid bill) (order, standing, bill) {
	settled, err := l.settle(o.Code, paid)
	switch {
	case errors.Is(err, errOtherAmount):
		s.logger.Error("an order was paid at another amount: refund it or agree with the buyer",
			zap.String("order", o.Code), zap.String("bill", paid.ID),
			zap.String("paid", paid.Currency+" "+paid.Amount), zap.String("due", currency+" "+settled.Total.amount()))
		return settled, standingMismatch, bill{}
	case err != nil:
		s.logger.Error("marking an order as paid", zap.String("order", o.Code), zap.Error(err))
		return o, standingUnknown, bill{}
	default:
		return settled, standingPaid, bill{}
	}
}

// orderView is an order as its page and its JSON show it.
type orderView struct {
	Code     string   `json:"orderCode"`
	Paid     bool     `json:"paid"`
	Standing standing `json:"standing"`
	Amount   string   `json:"amount"`
	Currency string   `json:"currency"`
	PaidBill string   `json:"paidBill,omitzero"`
	PayURL   string   `json:"payUrl,omitzero"`
	Items    []item   `json:"items"`
	Total    rupiah   `json:"-"`
}

func (s *Shop) showOrder(w http.ResponseWriter, r *http.Request, l *ledger) {
	code := r.PathValue("code")
	o, ok := l.order(code)
	if !ok {
		s.refuse(w, r, http.StatusNotFound, "unknown_order", "There is no order “"+code+"” here.")
		return
	}
	o, stand, open := s.learn(r.Context(), l, o)
	view := orderView{
		Code: o.Code, Paid: o.Paid(), Standing: stand, Amount: o.Total.amount(), Currency: currency,
		PaidBill: o.PaidBill, PayURL: open.PayURL, Items: o.Items, Total: o.Total,
	}
	if wantsJSON(r) {
		s.sendJSON(w, http.StatusOK, "application/json", view)
		return
	}
	p := s.newPage(r, l, "Order "+o.Code, view)
	if stand == standingWaiting || stand == standingUnknown {
		p.Refresh = 5
	}
	s.render(w, http.StatusOK, "order", p)
}
