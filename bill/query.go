package bill

import (
	"strings"
	"time"
)

// Query selects bills for a listing; zero values select all.
type Query struct {
	Status  Status
	Account string
	Shop    string
	Order   string    // what the order code begins with
	Amount  Amount    // compared as a number, whatever the currency
	From    time.Time // created at or after
	To      time.Time // created before
	Late    bool      // paid after they had ended
	Refund  bool      // to be given back: another attempt of the order is paid too
	Untold  bool      // their shop has not taken what it is to be told: a notification is pending or dead
	StuckAt time.Time // stuck at this time, see Bill.Stuck
	Cursor  string    // of the page before; opaque
	Limit   int       // of the page; 1 to 1000
}

// Selects reports whether q selects b. What b itself does not tell is left to
// the store: Untold, and the page.
func (q Query) Selects(b Bill) bool {
	return (q.Status == "" || q.Status == b.Status) &&
		(q.Account == "" || q.Account == b.Account) &&
		(q.Shop == "" || q.Shop == b.Shop) &&
		strings.HasPrefix(b.OrderCode, q.Order) &&
		(q.Amount == "" || q.Amount.Equal(b.Amount)) &&
		(q.From.IsZero() || !b.CreatedAt.Before(q.From)) &&
		(q.To.IsZero() || b.CreatedAt.Before(q.To)) &&
		(!q.Late || b.LatePayment) &&
		(!q.Refund || b.RefundDue) &&
		(q.StuckAt.IsZero() || b.Stuck(q.StuckAt) != "")
}

// NotificationQuery selects notifications for a listing; zero values select
// all.
type NotificationQuery struct {
	State  NotificationState
	Since  time.Time // created at or after
	Cursor string    // of the page before; opaque
	Limit  int       // of the page; 1 to 1000
}

// Counts are what a store holds.
type Counts struct {
	Bills         map[Status]uint64
	Late          uint64 // bills paid after they had ended
	Refunds       uint64 // bills to be given back
	Notifications map[NotificationState]uint64
	Orphans       uint64    // that no operator has seen to
	OldestPending time.Time // when the longest pending notification was created; zero: none is pending
	OldestDue     time.Time // since when the bill that is due the longest is; zero: none has a time
}

// Open returns how many bills have not ended.
func (c Counts) Open() (n uint64) {
	for s, bills := range c.Bills {
		if !s.Final() {
			n += bills
		}
	}
	return n
}
