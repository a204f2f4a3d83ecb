package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// perPage is how many rows a list shows.
const perPage = 50

// row is a bill in a list.
type row struct {
	bill.Bill

	Stuck bill.StuckReason
}

func (v *visit) rows(bills []bill.Bill) []row {
	now := v.Now()
	var rows []row
	for _, b := range bills {
		rows = append(rows, row{b, b.Stuck(now)})
	}
	return rows
}

// list is the page of bills that match a query.
type list struct {
	frame

	Query    url.Values // as it was asked for
	Set      bool       // something is asked for
	Statuses []bill.Status
	Problem  string // what is wrong with the query
	Bills    []row
	First    string // address of the first page; "": this is it
	Next     string // of the next page; "": this is the last
}

// bills shows a page of bills, newest first.
func (v *visit) bills() error {
	l := list{frame: v.frame("bills", "Bills"), Statuses: bill.Statuses()}
	values, err := v.parameters(append(operator.Filters(), "cursor")...)
	l.Query = values
	q, next := bill.Query{}, ""
	if err == nil {
		q, err = operator.BillQuery(values, v.Now())
	}
	if err == nil {
		var page []bill.Bill
		q.Limit, q.Cursor = perPage, values.Get("cursor")
		page, next, err = operator.Page(v.r.Context(), v.Payments, q)
		l.Bills = v.rows(page)
	}
	status := http.StatusOK
	if err != nil {
		if status = operator.StatusOf(err); status != http.StatusBadRequest {
			return err
		}
		l.Problem = err.Error()
	}
	for _, filter := range operator.Filters() {
		l.Set = l.Set || values.Has(filter) && values.Get(filter) != ""
	}
	l.First, l.Next = pages("bills", values, next)
	return v.show(status, "bills.html", l)
}

// pages returns the addresses of a list's first and next page, "" where it is
// this one or there is none.
func pages(list string, values url.Values, cursor string) (first, next string) {
	kept := make(url.Values)
	for name, given := range values {
		if name != "cursor" && name != "said" && name != "n" && given[0] != "" {
			kept[name] = given
		}
	}
	if values.Get("cursor") != "" {
		first = list + "?" + kept.Encode()
	}
	if cursor != "" {
		kept.Set("cursor", cursor)
		next = list + "?" + kept.Encode()
	}
	return first, next
}

// found is the page of a name that is not that of exactly one bill.
type found struct {
	frame

	Bills []row // of several orders
	Few   bool  // there may be more of them
}

// find leads to the bill of a name, or shows which bills may be meant.
func (v *visit) find() error {
	values, err := v.parameters("name")
	if err != nil {
		return err
	}
	name := strings.TrimSpace(values.Get("name"))
	if name == "" {
		return v.seeOther("bills", "")
	}
	f := found{frame: v.frame("bills", "Search")}
	f.Name = name
	b, err := v.Payments.Lookup(v.r.Context(), name)
	several, ambiguous := errors.AsType[*payment.AmbiguousError](err)
	switch {
	case ambiguous:
		f.Bills = v.rows(several.Bills)
		return v.show(http.StatusOK, "found.html", f)
	case errors.Is(err, bill.ErrNotFound):
		return v.show(http.StatusNotFound, "found.html", f)
	case err != nil:
		return err
	}
	return v.seeOther("bills/"+url.PathEscape(b.ID), "")
}
