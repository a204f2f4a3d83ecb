package integration

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// witness is the store of a sequence. It holds every commit against what the
// contract says of all of them, whatever the gateway did.
type witness struct {
	bill.Store

	o *ordeal
}

func (s *witness) Commit(ctx context.Context, c bill.Change) error {
	s.o.mu.Lock() // so that nobody acts on a commit before it was looked at
	defer s.o.mu.Unlock()
	err := s.Store.Commit(ctx, c)
	if err == nil {
		s.o.committed(c)
	}
	return err
}

// notice is a notification as it was stored.
type notice struct {
	bill    string
	kind    bill.NotificationType
	payload string
	place   int // among all of them
	taken   bool
}

// committed looks at a change that was stored.
func (o *ordeal) committed(c bill.Change) {
	for _, change := range c.Bills {
		before, known := o.bills[change.Bill.ID]
		after := change.Bill
		o.bills[after.ID] = after
		if !known {
			o.born(after)
		} else {
			o.changed(before, after)
		}
		if before.Status != after.Status {
			o.note("  %s: %s -> %s (%s)", after.ID, before.Status, after.Status, after.SettledBy)
			o.had[after.ID] = append(o.had[after.ID], after.Status)
			o.alongside(c, before, after)
		}
	}
	for _, n := range c.Notifications {
		if n.State == bill.Pending && n.Revision == 1 {
			o.notices[n.ID] = &notice{bill: n.Bill, kind: n.Type, payload: n.Payload, place: len(o.notices)}
			o.newest[n.OrderCode] = n.ID
		}
	}
}

// born begins a belief with the first state of a bill.
func (o *ordeal) born(b bill.Bill) {
	if b.Version != 1 || b.Revision != 1 || b.Status != bill.Choose && b.Status != bill.Created {
		o.blame("%s was born as %s, version %d", b.ID, b.Status, b.Version)
	}
	o.beliefs[b.ID] = &belief{id: b.ID, order: b.OrderCode, may: []bill.Status{b.Status}, expires: b.ExpiresAt}
	o.ids = append(o.ids, b.ID)
}

// changed holds a bill's new state against the old one.
func (o *ordeal) changed(before, after bill.Bill) {
	moved := after.Version - before.Version
	switch {
	case before.Status == bill.Success && after.Status != bill.Success:
		o.blame("%s is no longer paid, but %s", after.ID, after.Status)
	case before.Status.Final() && after.Status != before.Status && after.Status != bill.Success:
		o.blame("%s went from %s to %s", after.ID, before.Status, after.Status)
	case after.Revision != before.Revision+1:
		o.blame("%s went from revision %d to %d", after.ID, before.Revision, after.Revision)
	case moved > 1:
		o.blame("%s went from version %d to %d", after.ID, before.Version, after.Version)
	case (moved == 1) == reflect.DeepEqual(shown(before), shown(after)):
		o.blame("%s: version %d after %d, shown %+v after %+v", after.ID, after.Version, before.Version, shown(after), shown(before))
	case after.LatePayment != (after.Status == bill.Success && (before.LatePayment || before.Status.EndedUnpaid())):
		o.blame("%s went from %s to %s, late payment %v", after.ID, before.Status, after.Status, after.LatePayment)
	}
}

// shown is a bill as buyers and shops see it, but for what every change moves.
func shown(b bill.Bill) bill.View {
	b.UpdatedAt = time.Time{}
	view := b.View("")
	view.Version = 0
	return view
}

// alongside checks that what belongs to a new status was stored with it: the
// order's stub, and what the shop is told, once.
func (o *ordeal) alongside(c bill.Change, before, after bill.Bill) {
	stored := false
	if c.Order != nil {
		for _, stub := range c.Order.Attempts {
			stored = stored || stub.ID == after.ID && stub.Status == after.Status
		}
	}
	if !stored {
		o.blame("%s became %s, and its order was not told", after.ID, after.Status)
	}
	var told []bill.NotificationType
	for _, n := range c.Notifications {
		if n.Bill == after.ID && n.Revision == 1 {
			told = append(told, n.Type)
		}
	}
	want := kindOfNews(before, after)
	if want == "" && len(told) > 0 || want != "" && (len(told) != 1 || told[0] != want) {
		o.blame("%s became %s, and the shop is told %q, not %q", after.ID, after.Status, told, want)
	}
}

// kindOfNews is what the shop is told of a change, by section 5.
func kindOfNews(before, after bill.Bill) bill.NotificationType {
	switch after.Status {
	case bill.Success:
		if before.Status.Final() {
			return bill.BillLatePayment
		}
		return bill.BillPaid
	case bill.Fail:
		return bill.BillFailed
	case bill.Canceled:
		return bill.BillCanceled
	case bill.Expired:
		return bill.BillExpired
	case bill.Choose, bill.Created:
		return bill.BillCreated
	case bill.Wait:
	}
	return ""
}

// till is the shop's end of the notifications of a sequence.
type till struct {
	o    *ordeal
	shut bool
	last map[string]string // by order, the id of the last notification taken
	paid map[string]bool   // orders that it was told are paid
}

func (s *till) RoundTrip(r *http.Request) (*http.Response, error) {
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status := s.hear(r.Header.Get("Webhook-Id"), payload)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r,
	}, nil
}

// hear takes a notification, or not, and checks that it may come now.
func (s *till) hear(id string, payload []byte) (status int) {
	o := s.o
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.count("deliveries")
	n := o.notices[id]
	if n == nil || n.payload != string(payload) {
		o.blame("the shop got %s %s, which was not stored", id, payload)
		return http.StatusBadRequest
	}
	if s.shut {
		return http.StatusServiceUnavailable
	}
	var body struct {
		Data struct {
			OrderCode string
			Order     struct{ Paid bool }
		}
	}
	if err := json.Unmarshal(payload, &body); err != nil {
		o.blame("the shop got %s: %v", payload, err)
		return http.StatusBadRequest
	}
	order := body.Data.OrderCode
	switch last := o.notices[s.last[order]]; {
	case n.taken:
		o.blame("the shop got %s again, which it had taken", id)
	case last != nil && last.place > n.place:
		o.blame("the shop got %s of %s after %s of %s", n.kind, n.bill, last.kind, last.bill)
	case s.paid[order] && !body.Data.Order.Paid:
		o.blame("the shop got %s of %s after it was told that the order is paid", n.kind, n.bill)
	}
	o.note("  the shop took %s of %s", n.kind, n.bill)
	n.taken, s.last[order] = true, id
	s.paid[order] = s.paid[order] || body.Data.Order.Paid
	return http.StatusNoContent
}
