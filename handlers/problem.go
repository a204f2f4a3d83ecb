package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// problem is what a stranger may read of an error: a row of the table below,
// and an error itself where HTTP is at fault rather than the engine.
type problem struct {
	Status     int
	Code       string // stable: part of the contract
	Title      string
	Detail     string
	RetryAfter time.Duration // 0: none
}

// Error returns the code.
func (p *problem) Error() string { return p.Code }

// Problems that this package finds itself.
var (
	errNoRoute        = &problem{Status: 404, Code: "not_found", Title: "Not found", Detail: "There is nothing here, or no longer."}
	errMethod         = &problem{Status: 405, Code: "method_not_allowed", Title: "Method not allowed", Detail: "The Allow header lists what this address takes."}
	errTooLarge       = &problem{Status: 413, Code: "body_too_large", Title: "Too large", Detail: "The request's body is too large."}
	errCutShort       = &problem{Status: 400, Code: "body_incomplete", Title: "Incomplete request", Detail: "The request's body ended early."}
	errOrigin         = &problem{Status: 403, Code: "origin_not_allowed", Title: "Not allowed from there", Detail: "This request came from a site that is not allowed to make it."}
	errSignature      = &problem{Status: 401, Code: "bad_signature", Title: "Not signed", Detail: "The header QLink-Signature is missing, malformed, repeated, or does not match this request."}
	errStale          = &problem{Status: 401, Code: "stale_signature", Title: "Signature out of date", Detail: "The signature's time is too far from this server's."}
	errBadWait        = &problem{Status: 400, Code: "bad_wait", Title: "Bad wait", Detail: "The parameter wait must be seconds or a duration, such as 30 or 30s."}
	errIdempotencyKey = &problem{Status: 400, Code: "bad_idempotency_key", Title: "Bad Idempotency-Key", Detail: "The header Idempotency-Key must come once, with 1 to 255 printable ASCII characters."}
	errForgeries      = &problem{Status: 429, Code: "too_many_bad_signatures", Title: "Too many bad signatures", Detail: "Too many requests from this address were not signed as they must be.", RetryAfter: time.Second}
	errBodyTimeout    = &problem{Status: 408, Code: "body_timeout", Title: "Too slow", Detail: "The request's body did not come in time."}
	errMediaType      = &problem{Status: 415, Code: "unsupported_media_type", Title: "Not a form", Detail: "The request's body must be JSON (application/json) or a form (application/x-www-form-urlencoded)."}
	errBadChoice      = &problem{Status: 400, Code: "bad_choice", Title: "Bad choice", Detail: "The request must name payTypeCode and payChannelCode, each once, as texts."}
	errNoQR           = &problem{Status: 404, Code: "no_qr_code", Title: "No QR code", Detail: "This payment is not made by QR code."}
	errUpstreamOrder  = &problem{Status: 502, Code: "bad_order", Title: "The shop's order cannot be paid", Detail: "The shop handed over an order that is not right. This is the shop's fault, not yours."}
)

// Problems of the engine.
var (
	notFound     = errNoRoute
	badOrder     = &problem{Status: 422, Code: "bad_order", Title: "Bad order", Detail: "The order cannot be paid as it is: see errors."}
	tooManyOpen  = &problem{Status: 429, Code: "too_many_open", Title: "Too many open payments", Detail: "Too many payments are under way. Please come back in a moment.", RetryAfter: 30 * time.Second}
	tooManyOfYou = &problem{Status: 429, Code: "too_many_open_of_client", Title: "Too many open payments", Detail: "Too many payments from your internet address are under way. Please pay or cancel one of them, or come back later.", RetryAfter: time.Minute}
	unavailable  = &problem{Status: 503, Code: "unavailable", Title: "Payments are not available now", Detail: "This is a passing fault. Please come back in a moment.", RetryAfter: 10 * time.Second}
	closed       = &problem{Status: 503, Code: "checkouts_closed", Title: "Payments are not available now", Detail: "No new payments can be started for a while. Please come back later.", RetryAfter: time.Minute}
	internal     = &problem{Status: 500, Code: "internal_error", Title: "Something went wrong", Detail: "The fault is ours and has been recorded."}
	refusalTable = map[payment.Code]*problem{
		payment.CodePreviousOpen:    {Status: 409, Title: "An earlier payment is still open", Detail: "An earlier payment of this order has not certainly ended yet. Please wait: a second one starts only when it has.", RetryAfter: 5 * time.Second},
		payment.CodePaidOtherwise:   {Status: 409, Title: "Paid already, at another amount", Detail: "This order is paid, but at another amount than is asked for now."},
		payment.CodeAlreadyPaid:     {Status: 409, Title: "Paid already", Detail: "This order is paid: it is neither cancelled nor paid again."},
		payment.CodeCancelRefused:   {Status: 409, Title: "Not cancelled", Detail: "The payment provider did not cancel this payment: it may still be paid."},
		payment.CodeStaleOrder:      {Status: 409, Title: "A newer order exists", Detail: "This order was signed before the one that is being paid now."},
		payment.CodeKeyRunning:      {Status: 409, Title: "Still running", Detail: "The first request with this Idempotency-Key has not ended yet.", RetryAfter: 2 * time.Second},
		payment.CodeNotChoosable:    {Status: 409, Title: "Nothing to choose", Detail: "How this bill is paid is not, or no longer, to be chosen."},
		payment.CodeNotOffered:      {Status: 422, Title: "Not offered", Detail: "This way to pay is not offered for this bill."},
		payment.CodeRetryNotAllowed: {Status: 409, Title: "Not to be tried again here", Detail: "A new attempt to pay this order cannot be started here. Please go back to the shop."},
		payment.CodeKeyReused:       {Status: 422, Title: "Idempotency-Key used before", Detail: "This Idempotency-Key came before with another body."},
	}
)

// problemOf is the one table from an error to what is answered.
func problemOf(err error) problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return *p
	}
	if refusal, ok := errors.AsType[*payment.Refusal](err); ok {
		if p := refusalTable[refusal.Code]; p != nil {
			row := *p
			row.Code = string(refusal.Code)
			return row
		}
		return *internal
	}
	_, isBadOrder := errors.AsType[*bill.OrderError](err)
	switch {
	case isBadOrder:
		return *badOrder
	case errors.Is(err, bill.ErrNotFound):
		return *notFound
	case errors.Is(err, payment.ErrTooManyOpenOfClient):
		return *tooManyOfYou
	case errors.Is(err, payment.ErrTooManyOpen):
		return *tooManyOpen
	case errors.Is(err, payment.ErrCheckoutsClosed):
		return *closed
	case errors.Is(err, bill.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return *unavailable
	}
	return *internal
}

// problemView is RFC 9457's object with our members.
type problemView struct {
	Title  string            `json:"title"`
	Status int               `json:"status"`
	Detail string            `json:"detail"`
	Code   string            `json:"code"`
	Errors []bill.FieldError `json:"errors,omitzero"` // of a bad order
	Bill   *bill.View        `json:"bill,omitzero"`
}

// fail answers a request of a program, or of whom nothing better is known.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	h.failJSON(w, r, err, fieldErrors(err))
}

func (h *Handler) failJSON(w http.ResponseWriter, r *http.Request, err error, fields []bill.FieldError) {
	p := h.begin(w, r, err)
	view := problemView{Title: p.Title, Status: p.Status, Detail: p.Detail, Code: p.Code, Errors: fields}
	if b := billOf(err); b != nil {
		shown := h.view(r, *b)
		view.Bill = &shown
	}
	h.writeJSON(w, r, p.Status, typeProblem, view)
}

// failBuyer answers a request that a browser may have made: with a page where
// HTML is preferred. notCharged says that nothing can have been paid by this
// request.
func (h *Handler) failBuyer(w http.ResponseWriter, r *http.Request, err error, notCharged bool) {
	if !prefersHTML(r) {
		h.fail(w, r, err)
		return
	}
	p := h.begin(w, r, err)
	failure := content.Failure{Reader: reader(r), Code: p.Code, Title: p.Title, Detail: p.Detail, NotCharged: notCharged}
	b := billOf(err)
	if b == nil {
		b = &bill.Bill{}
	} else {
		failure.PayURL, failure.Refresh = h.payURL(r, b.ID), p.RetryAfter
	}
	if !needsBill(h.ReturnURL) || b.ID != "" {
		failure.ReturnURL = fillIn(h.ReturnURL, *b)
	}
	document, err := h.Page.Failure(failure)
	if err != nil {
		h.Logger.Error("draw error page", zap.Error(err))
		http.Error(w, p.Title, p.Status)
		return
	}
	writePage(w, r, p.Status, document)
}

// begin looks an error up, logs what nobody is told (unless the client has
// gone, which is an error of nobody), and sets the headers that go with the
// answer whatever its form.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, err error) problem {
	p := problemOf(err)
	ours := p.Status == http.StatusInternalServerError || p.Status == http.StatusServiceUnavailable
	if ours && r.Context().Err() == nil {
		h.Logger.Error("request failed", zap.String("code", p.Code), zap.String("method", r.Method), zap.Error(err))
	}
	setRetryAfter(w, p.RetryAfter)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", SignatureHeader)
	}
	return p
}

// setRetryAfter says in how many seconds it is worth to ask again; 0: nothing.
func setRetryAfter(w http.ResponseWriter, after time.Duration) {
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(after/time.Second)))
	}
}

func billOf(err error) *bill.Bill {
	if refusal, ok := errors.AsType[*payment.Refusal](err); ok {
		return refusal.Bill
	}
	return nil
}

func fieldErrors(err error) []bill.FieldError {
	if bad, ok := errors.AsType[*bill.OrderError](err); ok {
		return bad.Fields
	}
	return nil
}
