package operator

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Pages are of this size where nothing else is asked for, and of maxLimit at
// the most.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// filters are the parameters that select bills, as BillQuery reads them.
var filters = []string{"status", "account", "shop", "order", "from", "to", "amount", "late", "refund", "stuck", "untold"}

// Filters returns the names of the parameters that BillQuery reads.
func Filters() []string { return slices.Clone(filters) }

// Parameters reads a request's query: each parameter once, and none but the
// known ones, so that a misspelt filter does not select everything.
func Parameters(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the query could not be read: %w", err)
	}
	for name, given := range values {
		switch {
		case !slices.Contains(known, name):
			return nil, refuse(http.StatusBadRequest, "unknown parameter %.40q: there are %s", name, cmp.Or(strings.Join(known, ", "), "none"))
		case len(given) > 1:
			return nil, refuse(http.StatusBadRequest, "parameter %s is there twice", name)
		}
	}
	return values, nil
}

// BillQuery reads the filters of bills; what is "" selects all. Its error is one
// for StatusOf, in words for who wrote the query.
func BillQuery(values url.Values, now time.Time) (q bill.Query, err error) {
	q = bill.Query{
		Account: values.Get("account"), Shop: values.Get("shop"), Order: values.Get("order"),
		Amount: bill.Amount(values.Get("amount")), Limit: maxLimit,
	}
	if name := values.Get("status"); name != "" {
		q.Status = bill.Status(strings.ToUpper(name))
		if !slices.Contains(bill.Statuses(), q.Status) {
			return q, refuse(http.StatusBadRequest, "status %.40q is none of %v", name, bill.Statuses())
		}
	}
	if q.Amount != "" && strings.Trim(string(q.Amount), "0123456789.") != "" {
		return q, refuse(http.StatusBadRequest, "amount %.40q is no decimal number", string(q.Amount))
	}
	stuck := false
	for name, set := range map[string]*bool{"late": &q.Late, "refund": &q.Refund, "stuck": &stuck, "untold": &q.Untold} {
		if *set, err = flag(values, name); err != nil {
			return q, err
		}
	}
	if stuck {
		q.StuckAt = now
	}
	if q.From, err = timeOf(values, "from", now); err != nil {
		return q, err
	}
	q.To, err = timeOf(values, "to", now)
	return q, err
}

// flag reads a parameter that is true or false; one without a value is true.
func flag(values url.Values, name string) (bool, error) {
	if !values.Has(name) {
		return false, nil
	}
	switch text := values.Get(name); text {
	case "", "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	default:
		return false, refuse(http.StatusBadRequest, "%s is %.40q: it must be true or false", name, text)
	}
}

func timeOf(values url.Values, name string, now time.Time) (time.Time, error) {
	text := values.Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, ok := ParseTime(text, now)
	if !ok {
		return time.Time{}, refuse(http.StatusBadRequest,
			"%s is %.40q: it must be a time (2026-11-26T15:04:05Z), a date (2026-11-26, from midnight UTC) or a duration back from now (24h)", name, text)
	}
	return t, nil
}

// ParseTime reads a time as operators write it: RFC 3339, a date (midnight
// UTC), or a duration back from now. The result is UTC.
func ParseTime(text string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	if back, err := time.ParseDuration(text); err == nil && back >= 0 {
		return now.Add(-back).UTC(), true
	}
	return time.Time{}, false
}

func limitOf(values url.Values) (int, error) {
	text := values.Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxLimit {
		return 0, refuse(http.StatusBadRequest, "limit is %.40q: it must be a number from 1 to %d", text, maxLimit)
	}
	return limit, nil
}
