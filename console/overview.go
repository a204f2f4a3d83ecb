package console

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// The charts are drawn from the newest bills of their time and from what shops
// were told in it: so many at the most, and for so long.
const (
	mostWalked = 20_000
	walkFor    = 2 * time.Second
	walkPage   = 1000 // of a listing
)

// patience is how long a list looks for what it shows, see operator.Page.
const patience = 30 * time.Millisecond

// period is a stretch of time that the charts may cover, up to now.
type period struct {
	Name, Words string
	step        time.Duration // that a bar stands for
	steps       int
	layout      string // of the time below a bar
	by          string // what a bar stands for, in words
}

var periods = []period{
	{"24h", "24 hours", time.Hour, 24, "15:04", "by hour"},
	{"7d", "7 days", 6 * time.Hour, 28, "Jan 2", "by quarter of a day"},
	{"30d", "30 days", 24 * time.Hour, 30, "Jan 2", "by day"},
}

// begin is the time of the first bar, so that the last one holds now.
func (p period) begin(now time.Time) time.Time {
	return now.UTC().Truncate(p.step).Add(-time.Duration(p.steps-1) * p.step)
}

// overview is the first page.
type overview struct {
	frame

	payment.Gauges
	Statuses []count
	Pending  uint64 // notifications
	Dead     uint64 // likewise
	Stuck    string // how many, or "50 or more"
	AnyStuck bool
	Periods  []period
	Period   period
	Charts   []chart
	Bills    int       // that the charts were drawn from
	CutAt    time.Time // older bills were left out; zero: none
	CutTold  time.Time // likewise of notifications
}

// count is how many bills have a status.
type count struct {
	Status bill.Status
	Bills  uint64
}

// overview shows the figures of now, and charts of some time.
func (v *visit) overview() error {
	values, err := v.parameters("range")
	if err != nil {
		return err
	}
	o := overview{frame: v.frame("overview", "Overview"), Periods: periods, Period: periods[0]}
	if name := values.Get("range"); name != "" {
		found := false
		for _, p := range periods {
			if p.Name == name {
				o.Period, found = p, true
			}
		}
		if !found {
			return operator.Refuse(http.StatusBadRequest, fmt.Errorf("there is no range %.20q", name))
		}
	}
	if o.Gauges, err = v.Payments.Gauges(v.r.Context()); err != nil {
		return err
	}
	o.Pending, o.Dead = o.Notifications[bill.Pending], o.Notifications[bill.Dead]
	for _, status := range bill.Statuses() {
		o.Statuses = append(o.Statuses, count{status, o.Counts.Bills[status]})
	}
	stuck, next, err := operator.Page(v.r.Context(), v.Payments, bill.Query{StuckAt: v.Now(), Limit: perPage})
	if err != nil {
		return err
	}
	o.AnyStuck = len(stuck) > 0
	if o.Stuck = fmt.Sprint(len(stuck)); next != "" {
		o.Stuck += " or more"
	}
	if err := v.draw(&o); err != nil {
		return err
	}
	return v.show(http.StatusOK, "overview.html", o)
}

// draw walks what happened in the period, and makes charts of it.
func (v *visit) draw(o *overview) error {
	begun, begin := time.Now(), o.Period.begin(v.Now())
	t := tally{period: o.Period, begin: begin, now: v.Now()}
	ended := func(n int) bool { return n >= mostWalked || time.Since(begun) > walkFor }
	q := bill.Query{From: begin, Limit: walkPage}
	for {
		page, next, err := v.Payments.List(v.r.Context(), q)
		if err != nil {
			return err
		}
		for _, b := range page {
			t.takeBill(b)
			o.Bills++
			o.CutAt = b.CreatedAt
		}
		if q.Cursor = next; next == "" {
			o.CutAt = time.Time{}
			break
		}
		if ended(o.Bills) {
			break
		}
	}
	// What was to be told before and waits still is part of every bar's backlog.
	for _, q := range []bill.NotificationQuery{{Since: begin, Limit: walkPage}, {State: bill.Pending, Limit: walkPage}} {
		cut, err := v.walkTold(q, &t, ended)
		if err != nil {
			return err
		}
		if cut.After(o.CutTold) {
			o.CutTold = cut
		}
	}
	o.Charts = t.charts()
	return nil
}

// walkTold takes in the notifications of a query, and returns how far back it
// got where that is not all.
func (v *visit) walkTold(q bill.NotificationQuery, t *tally, ended func(int) bool) (cut time.Time, err error) {
	for n := 0; ; {
		page, next, err := v.Payments.Notifications(v.r.Context(), q)
		if err != nil {
			return time.Time{}, err
		}
		for _, told := range page {
			if q.Since.IsZero() == told.CreatedAt.Before(t.begin) {
				t.takeTold(told)
			}
			cut = told.CreatedAt
		}
		if q.Cursor = next; next == "" {
			return time.Time{}, nil
		}
		if n += len(page); ended(n) {
			return cut, nil
		}
	}
}
