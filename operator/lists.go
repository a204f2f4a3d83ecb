package operator

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

type notificationsView struct {
	Notifications []notificationView `json:"notifications"`
	Next          string             `json:"next"`
}

// serveNotifications answers GET /qlink/notifications: a page, newest first.
func serveNotifications(d Desk, w http.ResponseWriter, r *http.Request) error {
	values, err := Parameters(r, "state", "since", "limit", "cursor")
	if err != nil {
		return err
	}
	q := bill.NotificationQuery{State: bill.NotificationState(values.Get("state")), Cursor: values.Get("cursor")}
	if q.State != "" && !slices.Contains(bill.NotificationStates(), q.State) {
		return refuse(http.StatusBadRequest, "state %.40q is none of %v", string(q.State), bill.NotificationStates())
	}
	if q.Since, err = timeOf(values, "since", d.Now()); err != nil {
		return err
	}
	if q.Limit, err = limitOf(values); err != nil {
		return err
	}
	page, next, err := d.Payments.Notifications(r.Context(), q)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, notificationsView{notificationsOf(page), next})
}

type orphansView struct {
	Orphans []orphanView `json:"orphans"`
	Next    string       `json:"next"`
}

// serveOrphans answers GET /qlink/orphans: a page of payments of bills that
// nobody here knows, those that an operator has seen to left out unless they
// are asked for.
func serveOrphans(d Desk, w http.ResponseWriter, r *http.Request) error {
	values, err := Parameters(r, "resolved", "limit", "cursor")
	if err != nil {
		return err
	}
	all, err := flag(values, "resolved")
	if err != nil {
		return err
	}
	limit, err := limitOf(values)
	if err != nil {
		return err
	}
	answer := orphansView{Orphans: []orphanView{}}
	page, next, err := d.Payments.Orphans(r.Context(), values.Get("cursor"), limit)
	if err != nil {
		return err
	}
	for _, o := range page {
		if all || o.Resolved == nil {
			answer.Orphans = append(answer.Orphans, orphanOf(o))
		}
	}
	answer.Next = next
	return send(w, http.StatusOK, answer)
}

type statsView struct {
	Bills         billCounts         `json:"bills"`
	Notifications notificationCounts `json:"notifications"`
	Orphans       uint64             `json:"orphans"`
	Reconcile     reconcileView      `json:"reconcile"`
	Store         storeView          `json:"store"`
	Watchers      int                `json:"watchers"`
	Accounts      []accountHealth    `json:"accounts"`
}

type billCounts struct {
	Total     uint64                 `json:"total"`
	Open      uint64                 `json:"open"`
	ByStatus  map[bill.Status]uint64 `json:"byStatus"`
	Late      uint64                 `json:"latePayments"`
	RefundDue uint64                 `json:"refundsDue"`
}

type notificationCounts struct {
	Pending         uint64 `json:"pending"`
	Dead            uint64 `json:"dead"`
	Delivered       uint64 `json:"delivered"`
	Superseded      uint64 `json:"superseded"`
	OldestPendingAt string `json:"oldestPendingAt"`
}

type reconcileView struct {
	OldestDueAt string `json:"oldestDueAt"` // the bill that is asked after next; in the past: it is late
}

type storeView struct {
	SizeBytes            uint64 `json:"sizeBytes"`
	FreeBytes            uint64 `json:"freeBytes"`
	CheckoutsClosedSince string `json:"checkoutsClosedSince"` // "" while they are open
}

type accountHealth struct {
	Name     string `json:"name"`
	LiveMode bool   `json:"livemode"`
	Answers  bool   `json:"gatewayReachable"`
}

// serveStats answers GET /qlink/stats: the figures of now.
func serveStats(d Desk, w http.ResponseWriter, r *http.Request) error {
	if _, err := Parameters(r); err != nil {
		return err
	}
	g, err := d.Payments.Gauges(r.Context())
	if err != nil {
		return err
	}
	v := statsView{
		Bills: billCounts{Open: g.Open(), ByStatus: make(map[bill.Status]uint64), Late: g.Late, RefundDue: g.Refunds},
		Notifications: notificationCounts{
			Pending: g.Notifications[bill.Pending], Dead: g.Notifications[bill.Dead],
			Delivered: g.Notifications[bill.Delivered], Superseded: g.Notifications[bill.Superseded],
			OldestPendingAt: bill.Timestamp(g.OldestPending),
		},
		Orphans: g.Orphans, Reconcile: reconcileView{bill.Timestamp(g.OldestDue)}, Watchers: g.Watchers,
		Store: storeView{SizeBytes: known(g.StoreBytes), FreeBytes: known(g.FreeBytes), CheckoutsClosedSince: bill.Timestamp(g.ClosedSince)},
	}
	for _, status := range bill.Statuses() {
		v.Bills.ByStatus[status] = g.Counts.Bills[status]
		v.Bills.Total += g.Counts.Bills[status]
	}
	for _, gateway := range g.Gateways {
		v.Accounts = append(v.Accounts, accountHealth{gateway.Account, gateway.LiveMode, gateway.Answers})
	}
	return send(w, http.StatusOK, v)
}

// known is what a store could tell, and 0 where it could not.
func known(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

// endless lifts the time limit that Caddy's admin endpoint sets on a request:
// a stream outlives it.
func endless(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // where there is none to lift, none was set
}
