package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var modelTests = []test{
	{"WhatOperatorsLookThroughIsWhatWasCommitted", whatOperatorsLookThroughIsWhatWasCommitted},
}

// model is what a store holds, as far as operators look through it, and
// answers in the plainest way.
type model struct {
	bills   map[string]bill.Bill
	outbox  map[string]bill.Notification
	orphans map[string]bill.Orphan
}

func (m *model) about(id string) (about []bill.Notification) {
	for _, n := range m.outbox {
		if n.Bill == id {
			about = append(about, n)
		}
	}
	return about
}

// billsWhere returns the ids of the bills that are wanted, in a listing's
// order.
func (m *model) billsWhere(wanted func(bill.Bill) bool) (ids []string) {
	for id, b := range m.bills {
		if wanted(b) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(m.bills[b].CreatedAt.Compare(m.bills[a].CreatedAt), strings.Compare(a, b))
	})
	return ids
}

func (m *model) list(q bill.Query) []string {
	return m.billsWhere(func(b bill.Bill) bool {
		return q.Selects(b) && (!q.Untold || slices.ContainsFunc(m.about(b.ID), bill.Notification.Undelivered))
	})
}

func (m *model) find(name string) []string {
	return m.billsWhere(func(b bill.Bill) bool {
		return b.ID == name || b.OrderCode == name || b.BillCode == name || b.PaymentRequestID == name
	})
}

func (m *model) notifications(q bill.NotificationQuery) (ids []string) {
	for id, n := range m.outbox {
		if (q.State == "" || q.State == n.State) && !n.CreatedAt.Before(q.Since) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(m.outbox[b].CreatedAt.Compare(m.outbox[a].CreatedAt), strings.Compare(a, b))
	})
	return ids
}

func (m *model) counts() bill.Counts {
	c := bill.Counts{Bills: make(map[bill.Status]uint64), Notifications: make(map[bill.NotificationState]uint64)}
	oldest := func(held *time.Time, t time.Time) {
		if !t.IsZero() && (held.IsZero() || t.Before(*held)) {
			*held = t
		}
	}
	for _, b := range m.bills {
		c.Bills[b.Status]++
		oldest(&c.OldestDue, b.Due)
		if b.LatePayment {
			c.Late++
		}
		if b.RefundDue {
			c.Refunds++
		}
	}
	for _, n := range m.outbox {
		c.Notifications[n.State]++
		if n.State == bill.Pending {
			oldest(&c.OldestPending, n.CreatedAt)
		}
	}
	for _, o := range m.orphans {
		if o.Resolved == nil {
			c.Orphans++
		}
	}
	return c
}

// story is one random history. What stories leave stays in the store, so each
// has an hour and names of its own, later than those before.
type story struct {
	*model

	begin time.Time
	name  string
	bills []string // ids
	told  []string // ids of notifications
}

// codes are what names are made of: beginnings of each other, and what keys
// have to escape.
var codes = []string{"", "a", "ab", "a\x00", "a\x00\x01b", "\uffff", strings.Repeat("a", 600), strings.Repeat("a", 600) + "b"}

func (s *story) code(t *rapid.T) string {
	return s.name + rapid.SampledFrom(codes).Draw(t, "code")
}

func (s *story) time(t *rapid.T, label string) time.Time {
	return s.begin.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, label)) * time.Minute)
}

func whatOperatorsLookThroughIsWhatWasCommitted(t *testing.T, store bill.Store) {
	m := &model{
		bills: make(map[string]bill.Bill), outbox: make(map[string]bill.Notification), orphans: make(map[string]bill.Orphan),
	}
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		number++
		s := &story{model: m, begin: noon.Add(time.Duration(number) * time.Hour), name: fmt.Sprint("story-", number, "-")}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			s.step(rt, t, store)
		}
		for range 8 {
			s.look(rt, t, store)
		}
		got, err := store.Counts(t.Context())
		if err != nil {
			rt.Fatalf("Counts: %v", err)
		}
		wantSame(rt, m.counts(), got)
	})
}

// step commits something.
func (s *story) step(rt *rapid.T, t *testing.T, store bill.Store) {
	var c bill.Change
	wants := error(nil)
	switch kind := rapid.IntRange(0, 9).Draw(rt, "kind"); {
	case len(s.bills) == 0 || kind < 2:
		b := sample(s.name + rapid.SampledFrom(codes[:5]).Draw(rt, "id") + fmt.Sprint(len(s.bills)))
		b.CreatedAt, b.Revision, b.Version = s.time(rt, "created"), 0, 0
		b.Attempt = len(s.bills) + 1 // orders may come to have several
		c = only(s.changed(rt, b))
		s.bills = append(s.bills, b.ID)
	case kind < 5:
		c = only(s.changed(rt, s.model.bills[rapid.SampledFrom(s.bills).Draw(rt, "bill")]))
	case kind < 6:
		c = forgetting(s.model.bills[rapid.SampledFrom(s.bills).Draw(rt, "bill")])
		c.Bills[0].Bill.PaymentRequestID = ""
		if slices.ContainsFunc(s.about(c.Bills[0].Bill.ID), bill.Notification.Undelivered) {
			wants = bill.ErrConflict
		}
	case kind < 9:
		c = telling(s.notification(rt))
	default:
		c, wants = s.orphan(rt)
	}
	if err := store.Commit(t.Context(), c); !is(err, wants) {
		rt.Fatalf("Commit: %v, want %v", err, wants)
	}
	if wants == nil {
		s.keep(c)
	}
}

// changed returns b's next state, with anything that operators look for.
func (s *story) changed(t *rapid.T, b bill.Bill) bill.Bill {
	maybe := func(label string, at time.Time) time.Time {
		if rapid.Bool().Draw(t, label) {
			return at
		}
		return time.Time{}
	}
	b = moved(b)
	b.Status = rapid.SampledFrom(bill.Statuses()).Draw(t, "status")
	b.Account = rapid.SampledFrom([]string{"default", "other"}).Draw(t, "account")
	b.Amount = rapid.SampledFrom([]bill.Amount{"10", "10.00", "7"}).Draw(t, "amount")
	b.OrderCode, b.BillCode, b.PaymentRequestID = s.code(t), s.code(t), s.code(t)
	b.LatePayment, b.RefundDue = rapid.Bool().Draw(t, "late"), rapid.Bool().Draw(t, "refund")
	b.Reported.At, b.ResolvedAt = maybe("reported", b.CreatedAt), maybe("resolved", b.CreatedAt)
	b.ExpiresAt, b.Due = maybe("expires", b.CreatedAt), maybe("due", b.CreatedAt)
	b.UpdatedAt = s.time(t, "updated")
	b.Apply.Complained, b.Cancel.Requested = rapid.Bool().Draw(t, "complained"), rapid.Bool().Draw(t, "cancel")
	return b
}

// notification returns a new one, or the next state of one.
func (s *story) notification(t *rapid.T) bill.Notification {
	var held []string
	for _, id := range s.told {
		if _, there := s.outbox[id]; there {
			held = append(held, id)
		}
	}
	state := rapid.SampledFrom(bill.NotificationStates()).Draw(t, "state")
	if len(held) > 0 && rapid.Bool().Draw(t, "again") {
		return became(s.outbox[rapid.SampledFrom(held).Draw(t, "notification")], state)
	}
	about := s.model.bills[rapid.SampledFrom(s.bills).Draw(t, "about")]
	n := news(s.name+"n-"+fmt.Sprint(len(s.told)), about)
	n.URL += n.ID // so that any number are pending
	n.CreatedAt, n.BillCreatedAt, n.Revision = s.time(t, "told"), about.CreatedAt, 0
	s.told = append(s.told, n.ID)
	return became(n, state)
}

// orphan returns a change of one, and what is to come of it.
func (s *story) orphan(t *rapid.T) (bill.Change, error) {
	o := bill.Orphan{Ledger: "l", ID: s.name + fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "orphan")), At: noon}
	_, held := s.orphans[o.ID]
	if rapid.Bool().Draw(t, "seen to") {
		o.Resolved = &bill.Resolution{At: noon, Note: "given back"}
		if !held {
			return bill.Change{Orphan: &o}, bill.ErrConflict
		}
	}
	return bill.Change{Orphan: &o}, nil
}

// keep brings the model up to date.
func (s *story) keep(c bill.Change) {
	for _, b := range c.Bills {
		s.model.bills[b.Bill.ID] = b.Bill
		if b.Forget {
			for _, n := range s.about(b.Bill.ID) {
				delete(s.outbox, n.ID)
			}
		}
	}
	for _, n := range c.Notifications {
		s.outbox[n.ID] = n
	}
	if o := c.Orphan; o != nil {
		if _, held := s.orphans[o.ID]; !held || o.Resolved != nil {
			s.orphans[o.ID] = *o
		}
	}
}

// look compares what the store says with what the model says.
func (s *story) look(rt *rapid.T, t *testing.T, store bill.Store) {
	q := s.query(rt)
	wantSame(rt, s.list(q), pages(t, store, q))

	n := bill.NotificationQuery{Since: s.time(rt, "since"), Limit: rapid.SampledFrom([]int{1, 3, 100}).Draw(rt, "limit")}
	if rapid.Bool().Draw(rt, "of a state") {
		n.State = rapid.SampledFrom(bill.NotificationStates()).Draw(rt, "state")
	}
	wantSame(rt, s.notifications(n), notificationPages(t, store, n))

	name := s.code(rt)
	if rapid.IntRange(0, 3).Draw(rt, "by id") == 0 {
		name = rapid.SampledFrom(s.bills).Draw(rt, "id")
	}
	want := s.find(name)
	limit := rapid.IntRange(1, 4).Draw(rt, "at most")
	wantSame(rt, want[:min(limit, len(want))], found(t, store, name, limit))
}

func (s *story) query(t *rapid.T) bill.Query {
	some := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	q := bill.Query{From: s.time(t, "from"), Limit: rapid.SampledFrom([]int{1, 2, 5, 100}).Draw(t, "limit")}
	if some("of a status") {
		q.Status = rapid.SampledFrom(bill.Statuses()).Draw(t, "status")
	}
	if some("of an account") {
		q.Account = "other"
	}
	if some("of an amount") {
		q.Amount = "10.0"
	}
	if some("of orders") {
		q.Order = s.code(t)
	}
	if some("to a time") {
		q.To = s.time(t, "to")
	}
	if some("stuck") {
		q.StuckAt = s.time(t, "stuck at")
	}
	q.Late, q.Refund, q.Untold = some("late"), some("refund"), some("untold")
	return q
}
