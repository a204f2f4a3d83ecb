package operator

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// patience is how long a listing looks for more bills that match a filter
// which no index knows, before it answers with what it has and the way on.
const patience = 30 * time.Millisecond

type billsView struct {
	Bills []view `json:"bills"`
	Next  string `json:"next"` // the cursor of the next page; "" after the last
}

// serveBills answers GET /qlink/bills: a page of bills, newest first.
func serveBills(d Desk, w http.ResponseWriter, r *http.Request) error {
	values, err := Parameters(r, append([]string{"limit", "cursor"}, filters...)...)
	if err != nil {
		return err
	}
	now := d.Now()
	q, err := BillQuery(values, now)
	if err != nil {
		return err
	}
	if q.Limit, err = limitOf(values); err != nil {
		return err
	}
	q.Cursor = values.Get("cursor")
	page, next, err := Page(r.Context(), d.Payments, q)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, billsView{viewsOf(page, now), next})
}

// Page returns the next page of bills that is not empty, and the cursor of the
// one after it, "" after the last. Where it finds none for a while it gives up:
// the page is empty then, and the cursor leads on.
func Page(ctx context.Context, payments Payments, q bill.Query) (page []bill.Bill, next string, err error) {
	for begun := time.Now(); ; q.Cursor = next {
		page, next, err = payments.List(ctx, q)
		if err != nil || len(page) > 0 || next == "" || time.Since(begun) > patience {
			return page, next, err
		}
	}
}

// serveBill answers GET /qlink/bills/{id}: all that is known of one bill, by
// any of its names.
func serveBill(d Desk, w http.ResponseWriter, r *http.Request) error {
	if _, err := Parameters(r); err != nil {
		return err
	}
	b, going, err := meant(d, w, r)
	if err != nil || !going {
		return err
	}
	text, err := timelineText(r.Context(), d.Payments, b.ID, d.Now())
	if err != nil {
		return named(r, err)
	}
	tag := etagOf(text)
	w.Header().Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	sendText(w, http.StatusOK, text)
	return nil
}

// Describe returns what GET /qlink/bills/{name} answers, for who has a store and
// no admin endpoint.
//
// Errors: bill.ErrNotFound, a *payment.AmbiguousError, bill.ErrUnavailable.
func Describe(ctx context.Context, payments Payments, name string, now time.Time) ([]byte, error) {
	b, err := payments.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	return timelineText(ctx, payments, b.ID, now)
}

func timelineText(ctx context.Context, payments Payments, id string, now time.Time) ([]byte, error) {
	line, err := payments.Timeline(ctx, id)
	if err != nil {
		return nil, err
	}
	return encode(timelineOf(line, now))
}

// meant looks the named bill up; false where it has answered that the name
// means several.
func meant(d Desk, w http.ResponseWriter, r *http.Request) (b bill.Bill, going bool, err error) {
	b, err = d.Payments.Lookup(r.Context(), r.PathValue("id"))
	if several, ok := errors.AsType[*payment.AmbiguousError](err); ok {
		p := problem{Error: several.Error(), Code: "ambiguous"}
		for _, b := range several.Bills {
			p.Bills = append(p.Bills, b.ID)
		}
		return bill.Bill{}, false, send(w, http.StatusConflict, p)
	}
	return b, err == nil, named(r, err)
}

// named says which bill is not there.
func named(r *http.Request, err error) error {
	if errors.Is(err, bill.ErrNotFound) {
		return refuse(http.StatusNotFound, "no bill has the id, order code, billCode or paymentRequestId %.200q", r.PathValue("id"))
	}
	return err
}
