package handlers

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// Checkout serves a request to a checkout route: next is asked, and where its
// answer is an order, the buyer gets the answer to that order instead. Any
// other answer passes through untouched. The error is next's own, returned
// only where nothing was answered here.
func (h *Handler) Checkout(w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) error) error {
	if h.answersPreflight(w, r) {
		return nil
	}
	if r.Method != http.MethodPost {
		return next(w, r)
	}
	client := h.client(r)
	if err := h.Payments.Ready(r.Context(), client); err != nil {
		h.Metrics.CheckedOut(h.Scope.Account.Name, payment.OutcomeOf(err))
		setCommonHeaders(w.Header())
		h.setCORS(w, r)
		h.boundBody(w, r) // which the shop does not get
		h.failBuyer(w, r, err, true)
		return nil
	}
	upstream := newTakeover(w)
	err := upstream.serve(r, next)
	if !upstream.isOrder() {
		return err
	}
	answeredAt := h.Now().UTC()
	setCommonHeaders(w.Header())
	h.setCORS(w, r)
	order, err := h.orderFrom(upstream, err)
	if err != nil {
		h.Metrics.CheckedOut(h.Scope.Account.Name, payment.OutcomeBadOrder)
		h.refuseUpstream(w, r, err)
		return nil
	}
	created, err := h.Payments.Create(r.Context(), h.Scope, order, payment.HandOver{
		At: answeredAt, Client: client, PayURL: func(id string) string { return h.payURL(r, id) },
	})
	if fieldErrors(err) != nil {
		h.refuseUpstream(w, r, err)
		return nil
	}
	h.answerOrder(w, r, created, err)
	return nil
}

// answersPreflight answers the preflight of a page on an allowed origin that
// is about to post: the shop need not know of it. Any other preflight is the
// shop's.
func (h *Handler) answersPreflight(w http.ResponseWriter, r *http.Request) bool {
	if !isPreflight(r) || !h.allowed(r.Header.Get("Origin")) {
		return false
	}
	setCommonHeaders(w.Header())
	h.setCORS(w, r)
	allowMethods(w, []string{http.MethodPost})
	return true
}

// orderFrom reads the order out of what upstream answered and returned.
func (h *Handler) orderFrom(upstream *takeover, err error) (bill.Order, error) {
	if err != nil {
		return bill.Order{}, errors.Join(errors.New("upstream failed while it handed over an order"), err)
	}
	body, err := upstream.order()
	if err != nil {
		return bill.Order{}, err
	}
	return bill.ParseOrder(body, h.Scope.Account.Defaults)
}

// refuseUpstream answers 502: the shop is wrong, not the buyer. What is wrong
// stands in the log, and in the answer only where the account is in test mode.
func (h *Handler) refuseUpstream(w http.ResponseWriter, r *http.Request, err error) {
	h.Logger.Error("the shop's answer is no order that can be paid", zap.String("shop", h.Scope.Shop), zap.Error(err))
	if prefersHTML(r) {
		h.failBuyer(w, r, errUpstreamOrder, true)
		return
	}
	fields := fieldErrors(err)
	switch {
	case h.Scope.Account.LiveMode:
		fields = nil
	case fields == nil:
		fields = []bill.FieldError{{Message: err.Error()}}
	}
	h.failJSON(w, r, errUpstreamOrder, fields)
}
