package console

import (
	"net/http"
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
)

// told is the page of notifications.
type told struct {
	frame

	States        []state
	State         bill.NotificationState
	Since         string
	Problem       string
	Notifications []bill.Notification
	First, Next   string
}

// state leads to the notifications of one, or of all.
type state struct {
	Name  bill.NotificationState
	Words string
}

// allStates stands for every state in an address.
const allStates bill.NotificationState = "all"

// notifications shows a page of what shops are, were or could not be told,
// newest first: what was given up, unless something else is asked for.
func (v *visit) notifications() error {
	values, err := v.parameters("state", "since", "cursor")
	if err != nil {
		return err
	}
	p := told{frame: v.frame("notifications", "Notifications"), Since: values.Get("since")}
	for _, s := range []bill.NotificationState{bill.Dead, bill.Pending, bill.Delivered, bill.Superseded} {
		p.States = append(p.States, state{s, stateWords[s]})
	}
	p.States = append(p.States, state{allStates, "all"})
	p.State = bill.NotificationState(values.Get("state"))
	if p.State == "" {
		p.State = bill.Dead
	}
	q := bill.NotificationQuery{State: p.State, Cursor: values.Get("cursor"), Limit: perPage}
	if p.State == allStates {
		q.State = ""
	}
	var ok bool
	switch q.Since, ok = operator.ParseTime(p.Since, v.Now()); {
	case p.Since != "" && !ok:
		p.Problem = "since must be a time (2026-11-26T15:04:05Z), a date (2026-11-26) or a duration back from now (24h)"
	case q.State != "" && !slices.Contains(bill.NotificationStates(), q.State):
		p.Problem = "there is no such state"
	default:
		var next string
		if p.Notifications, next, err = v.Payments.Notifications(v.r.Context(), q); err != nil {
			return err
		}
		p.First, p.Next = pages("notifications", values, next)
	}
	if p.Problem != "" {
		return v.show(http.StatusBadRequest, "notifications.html", p)
	}
	return v.show(http.StatusOK, "notifications.html", p)
}

// strays is the page of orphans.
type strays struct {
	frame

	All         bool // those that somebody has seen to as well
	Orphans     []bill.Orphan
	First, Next string
}

// orphans shows a page of payments of bills that nobody here knows.
func (v *visit) orphans() error {
	values, err := v.parameters("resolved", "cursor")
	if err != nil {
		return err
	}
	p := strays{frame: v.frame("orphans", "Orphans"), All: values.Get("resolved") == "true"}
	cursor := values.Get("cursor")
	for begun := time.Now(); ; {
		page, next, err := v.Payments.Orphans(v.r.Context(), cursor, perPage)
		if err != nil {
			return err
		}
		for _, o := range page {
			if p.All || o.Resolved == nil {
				p.Orphans = append(p.Orphans, o)
			}
		}
		cursor = next
		if len(p.Orphans) > 0 || next == "" || time.Since(begun) > patience {
			break
		}
	}
	p.First, p.Next = pages("orphans", values, cursor)
	return v.show(http.StatusOK, "orphans.html", p)
}
