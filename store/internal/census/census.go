// Package census counts what a store holds: each transaction says by how much it
// changes that, so that nobody ever has to go through it all. It exists so that
// stores count alike.
//
// It keeps nothing. The stores on disk call it, and who compares two of them.
package census

import "github.com/caddy-qlink/caddy-qlink/bill"

// Counts are how many records of a kind there are, or by how many that changes.
type Counts struct {
	Choose   int64 `json:"choose,omitzero"`
	Created  int64 `json:"created,omitzero"`
	Wait     int64 `json:"wait,omitzero"`
	Success  int64 `json:"success,omitzero"`
	Fail     int64 `json:"fail,omitzero"`
	Canceled int64 `json:"canceled,omitzero"`
	Expired  int64 `json:"expired,omitzero"`

	Late    int64 `json:"late,omitzero"`
	Refunds int64 `json:"refunds,omitzero"`

	Pending    int64 `json:"pending,omitzero"`
	Delivered  int64 `json:"delivered,omitzero"`
	Superseded int64 `json:"superseded,omitzero"`
	Dead       int64 `json:"dead,omitzero"`

	Orphans int64 `json:"orphans,omitzero"` // that no operator has seen to
}

// Plus adds both.
func (c Counts) Plus(d Counts) Counts {
	return Counts{
		Choose:   c.Choose + d.Choose,
		Created:  c.Created + d.Created,
		Wait:     c.Wait + d.Wait,
		Success:  c.Success + d.Success,
		Fail:     c.Fail + d.Fail,
		Canceled: c.Canceled + d.Canceled,
		Expired:  c.Expired + d.Expired,

		Late:    c.Late + d.Late,
		Refunds: c.Refunds + d.Refunds,

		Pending:    c.Pending + d.Pending,
		Delivered:  c.Delivered + d.Delivered,
		Superseded: c.Superseded + d.Superseded,
		Dead:       c.Dead + d.Dead,

		Orphans: c.Orphans + d.Orphans,
	}
}

// of returns the place of a status. One that nobody has defined is not counted.
func (c *Counts) of(s bill.Status) *int64 {
	switch s {
	case bill.Choose:
		return &c.Choose
	case bill.Created:
		return &c.Created
	case bill.Wait:
		return &c.Wait
	case bill.Success:
		return &c.Success
	case bill.Fail:
		return &c.Fail
	case bill.Canceled:
		return &c.Canceled
	case bill.Expired:
		return &c.Expired
	}
	return new(int64)
}

// in returns the place of a notification's state, as of does.
func (c *Counts) in(s bill.NotificationState) *int64 {
	switch s {
	case bill.Pending:
		return &c.Pending
	case bill.Delivered:
		return &c.Delivered
	case bill.Superseded:
		return &c.Superseded
	case bill.Dead:
		return &c.Dead
	}
	return new(int64)
}

// Bill counts b n times: once where it comes, -1 times where it goes.
func (c *Counts) Bill(b bill.Bill, n int64) {
	*c.of(b.Status) += n
	if b.LatePayment {
		c.Late += n
	}
	if b.RefundDue {
		c.Refunds += n
	}
}

// Notification does the same.
func (c *Counts) Notification(n bill.Notification, times int64) {
	*c.in(n.State) += times
}

// Orphan does the same.
func (c *Counts) Orphan(o bill.Orphan, n int64) {
	if o.Resolved == nil {
		c.Orphans += n
	}
}

// Columns are the places of all counts, in the order in which they are declared.
func (c *Counts) Columns() []*int64 {
	return []*int64{
		&c.Choose, &c.Created, &c.Wait, &c.Success, &c.Fail, &c.Canceled, &c.Expired,
		&c.Late, &c.Refunds, &c.Pending, &c.Delivered, &c.Superseded, &c.Dead, &c.Orphans,
	}
}

// Public returns them as stores tell them, without what there is none of.
func (c *Counts) Public() bill.Counts {
	shown := bill.Counts{
		Bills:         make(map[bill.Status]uint64),
		Notifications: make(map[bill.NotificationState]uint64),
		Late:          uint64(c.Late),    //nolint:gosec // never negative, as the next ones
		Refunds:       uint64(c.Refunds), //nolint:gosec // the same
		Orphans:       uint64(c.Orphans), //nolint:gosec // the same
	}
	for _, s := range bill.Statuses() {
		if n := *c.of(s); n > 0 {
			shown.Bills[s] = uint64(n)
		}
	}
	for _, s := range bill.NotificationStates() {
		if n := *c.in(s); n > 0 {
			shown.Notifications[s] = uint64(n)
		}
	}
	return shown
}
