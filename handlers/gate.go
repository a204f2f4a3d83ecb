package handlers

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// GatePayments is the engine as a gate uses it; *payment.Engine is one.
type GatePayments interface {
	Bill(ctx context.Context, s payment.Scope, id string) (bill.Bill, error)
	Details(ctx context.Context, s payment.Scope, id string) (bill.Details, error)
	Order(ctx context.Context, s payment.Scope, orderCode string) (payment.Order, error)
}

// Terms say which order opens a gate. OrderCode, Metadata's values and Bill are
// filled in for each request; where one of them turns out empty, the gate stays
// shut: what nobody has said must not count as what nobody asked for.
type Terms struct {
	OrderCode string            // the order's code; "": not asked
	Metadata  map[string]string // what the shop handed over with the bill that decides
	Bill      string            // id of one of the order's bills, which only its buyer and its shop know; "": not asked
	Cookie    bool              // the browser must hold a pass for the bill
	Statuses  []bill.Status     // of the bill that decides; none: paid
}

// Check says what a gate cannot stand on.
func (t Terms) Check() error {
	onlyPaid := len(t.Statuses) == 0 || slices.Equal(t.Statuses, []bill.Status{bill.Success})
	_, empty := t.Metadata[""]
	switch {
	case empty || slices.Contains(slices.Collect(maps.Values(t.Metadata)), ""):
		return errors.New("metadata wants a key and a value")
	case t.OrderCode == "" && len(t.Metadata) == 0:
		return errors.New("order_code or metadata is missing: without one, any other order's payment would do")
	case t.OrderCode == "" && t.Bill == "" && !t.Cookie:
		return errors.New("metadata alone names no order: cookie, bill or order_code is missing")
	case t.Cookie && t.Bill != "":
		return errors.New("cookie and bill are two ways to prove the same: there must be one of them")
	case t.Cookie && !onlyPaid:
		return errors.New("cookie knows of paid orders alone: status must be paid")
	}
	return nil
}

// ParseStatus reads the name of a status, or paid.
func ParseStatus(word string) (bill.Status, error) {
	switch {
	case word == "paid":
		return bill.Success, nil
	case slices.Contains(bill.Statuses(), bill.Status(word)):
		return bill.Status(word), nil
	}
	return "", fmt.Errorf("%q is neither paid nor one of %q", word, bill.Statuses())
}

// Gate decides whether a request comes for an order that opens it. It is safe
// for concurrent use, keeps nothing between requests, and asks the store each
// time.
//
// One bill decides: one that paid the order, or, while none has, the order's
// newest. It has to fit all terms by itself. An order whose cheap first attempt
// was paid is thus not opened by the metadata of a dear second one.
type Gate struct {
	payments GatePayments
	scope    payment.Scope
	terms    Terms
	passes   passes
	now      func() time.Time
}

// NewGate returns a gate for the orders of one account and shop.
func NewGate(payments GatePayments, s payment.Scope, t Terms, now func() time.Time) (*Gate, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if len(t.Statuses) == 0 {
		t.Statuses = []bill.Status{bill.Success}
	}
	p, err := newPasses(s)
	if err != nil {
		return nil, err
	}
	return &Gate{payments: payments, scope: s, terms: t, passes: p, now: now}, nil
}

// Open returns the bill that opens the gate to a request, and whether there is
// one. fill returns what a term stands for in this request; ok is false where
// that is not known. An error, such as bill.ErrUnavailable, means that nobody
// knows: the gate is neither open nor shut.
func (g *Gate) Open(r *http.Request, fill func(term string) (value string, ok bool)) (bill.Bill, bool, error) {
	want, ok := g.terms.filled(fill)
	if !ok {
		return bill.Bill{}, false, nil
	}
	switch {
	case g.terms.Cookie:
		return g.openByPass(r, want)
	case g.terms.Bill != "":
		b, err := g.payments.Bill(r.Context(), g.scope, canonicalID(want.Bill))
		if err != nil {
			return bill.Bill{}, false, unlessNotFound(err)
		}
		return g.openByOrder(r.Context(), b.OrderCode, want)
	}
	return g.openByOrder(r.Context(), want.OrderCode, want)
}

// filled returns the terms as they are for one request.
func (t Terms) filled(fill func(string) (string, bool)) (Terms, bool) {
	complete := true
	filled := func(term string) string {
		if term == "" {
			return ""
		}
		value, ok := fill(term)
		complete = complete && ok && value != ""
		return value
	}
	out := t
	out.OrderCode, out.Bill = filled(t.OrderCode), filled(t.Bill)
	out.Metadata = make(map[string]string, len(t.Metadata))
	for key, value := range t.Metadata {
		out.Metadata[key] = filled(value)
	}
	return out, complete
}

// openByPass looks through the bills that the browser has passes for.
func (g *Gate) openByPass(r *http.Request, want Terms) (bill.Bill, bool, error) {
	for _, id := range g.passes.bills(r, g.now()) {
		b, err := g.payments.Bill(r.Context(), g.scope, id)
		if errors.Is(err, bill.ErrNotFound) {
			continue
		}
		if err != nil {
			return bill.Bill{}, false, err
		}
		if fits, err := g.fits(r.Context(), b, want); fits || err != nil {
			return b, fits, err
		}
	}
	return bill.Bill{}, false, nil
}

func (g *Gate) openByOrder(ctx context.Context, code string, want Terms) (bill.Bill, bool, error) {
	if !bill.IsOrderCode(code) { // which may be anything that a stranger has sent
		return bill.Bill{}, false, nil
	}
	order, err := g.payments.Order(ctx, g.scope, code)
	if err != nil {
		return bill.Bill{}, false, unlessNotFound(err)
	}
	for _, b := range deciding(order) {
		if fits, err := g.fits(ctx, b, want); fits || err != nil {
			return b, fits, err
		}
	}
	return bill.Bill{}, false, nil
}

// deciding returns the bills that paid an order, or else the newest.
func deciding(o payment.Order) []bill.Bill {
	var paid []bill.Bill
	for _, b := range o.Bills {
		if b.Status == bill.Success {
			paid = append(paid, b)
		}
	}
	if len(paid) > 0 {
		return paid
	}
	return o.Bills[:min(len(o.Bills), 1)]
}

// fits reports whether a bill meets all terms.
func (g *Gate) fits(ctx context.Context, b bill.Bill, want Terms) (bool, error) {
	// An order belongs to a ledger, which two accounts may share.
	if b.Account != g.scope.Account.Name || !slices.Contains(want.Statuses, b.Status) {
		return false, nil
	}
	if want.OrderCode != "" && !same(want.OrderCode, b.OrderCode) {
		return false, nil
	}
	for key, value := range want.Metadata {
		got, err := g.Metadata(ctx, b.ID, key)
		if err != nil || !same(value, got) {
			return false, err
		}
	}
	return true, nil
}

// Metadata returns what the shop gave with a bill under a key: a text as it is,
// a number or a truth value as JSON writes it. It is "" for what else there may
// be, and once retention has deleted it.
func (g *Gate) Metadata(ctx context.Context, id, key string) (string, error) {
	details, err := g.payments.Details(ctx, g.scope, id)
	if err != nil {
		return "", unlessNotFound(err)
	}
	if details.Metadata == "" {
		return "", nil
	}
	var given map[string]jsontext.Value
	if err := json.Unmarshal([]byte(details.Metadata), &given); err != nil {
		return "", fmt.Errorf("read metadata of bill %s: %w", id, err)
	}
	switch value := given[key]; value.Kind() {
	case '"':
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return "", fmt.Errorf("read metadata of bill %s: %w", id, err)
		}
		return text, nil
	case '0', 't', 'f':
		return string(value), nil
	default:
		return "", nil
	}
}

// same compares in constant time: a value may be a secret between shop and
// buyer.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func unlessNotFound(err error) error {
	if errors.Is(err, bill.ErrNotFound) {
		return nil
	}
	return err
}
