package bill

import (
	"net/url"
	"slices"
	"time"
)

// Notification tells a shop's URL of one change of one bill. It is stored in the
// same transaction as the change, and kept until its URL has answered 2xx or
// it was given up; then its record stays, with its state, until its bill is
// forgotten.
type Notification struct {
	ID        string            `json:"id"` // the webhook-id header: the same over all tries
	URL       string            `json:"url"`
	Ledger    string            `json:"ledger"`
	Account   string            `json:"account"`
	Shop      string            `json:"shop"`
	OrderCode string            `json:"order"`
	Bill      string            `json:"bill"` // id
	Type      NotificationType  `json:"type"`
	Payload   string            `json:"payload"` // JSON, as it is sent and signed
	CreatedAt time.Time         `json:"createdAt"`
	Due       time.Time         `json:"due,omitzero"` // of the next try; indexed; zero unless pending
	State     NotificationState `json:"state"`
	Tries     int               `json:"tries,omitzero"`     // since it was last made pending
	TriedAt   time.Time         `json:"triedAt,omitzero"`   // of the latest try
	LastError string            `json:"lastError,omitzero"` // why the latest try failed
	Revision  uint64            `json:"revision"`           // as of a bill

	// Sequence tells the newer of two about one order, over its attempts, where
	// times cannot: it is the revision of the order's record that came with it.
	Sequence      uint64    `json:"seq,omitzero"`
	RedeliveredAt time.Time `json:"redeliveredAt,omitzero"` // when an operator last had it sent again

	BillCreatedAt time.Time `json:"billCreatedAt,omitzero"` // the bill's CreatedAt; orders the listing of what shops were not told
	Log           []Try     `json:"log,omitempty"`          // the latest tries, MaxLog of them at most, oldest first; an empty list is none
}

// MaxLog bounds the tries that a notification remembers one by one: more than
// three days of growing waits hold.
const MaxLog = 32

// Try is one try to deliver a notification.
type Try struct {
	At     time.Time `json:"at"`              // when it had ended
	Took   int64     `json:"took,omitzero"`   // nanoseconds
	Status int       `json:"status,omitzero"` // of the URL's answer; 0: there was none
	Error  string    `json:"error,omitzero"`  // why it failed; "" where it was taken
}

// Tried returns n with one more try in its log.
func (n Notification) Tried(t Try) Notification {
	log := append(slices.Clone(n.Log), t)
	n.Log = log[max(0, len(log)-MaxLog):]
	return n
}

// OrderKey returns the key of the order that n is about.
func (n Notification) OrderKey() OrderKey {
	return OrderKey{Ledger: n.Ledger, Shop: n.Shop, OrderCode: n.OrderCode}
}

// Undelivered reports whether n is still to be delivered, now or once an
// operator says so.
func (n Notification) Undelivered() bool { return n.State == Pending || n.State == Dead }

// ShownURL is a configured URL as people may read it: a query or a user in it may
// be a password.
func ShownURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a URL that cannot be read"
	}
	query := ""
	if u.RawQuery != "" {
		query = "?…"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String() + query
}

// NotificationState says what became of a notification.
type NotificationState string

// The states of a notification.
const (
	Pending    NotificationState = "pending"    // to be delivered when due
	Delivered  NotificationState = "delivered"  // its URL answered 2xx
	Superseded NotificationState = "superseded" // a newer one about the same order came before it was delivered
	Dead       NotificationState = "dead"       // given up, until an operator sends it again
)

// NotificationType is what a shop is told.
type NotificationType string

// The types of notifications.
const (
	BillCreated     NotificationType = "bill.created"
	BillPaid        NotificationType = "bill.paid"
	BillLatePayment NotificationType = "bill.late_payment"
	BillFailed      NotificationType = "bill.failed"
	BillCanceled    NotificationType = "bill.canceled"
	BillExpired     NotificationType = "bill.expired"
)

// NotificationStates returns every state.
func NotificationStates() []NotificationState {
	return []NotificationState{Pending, Delivered, Superseded, Dead}
}

// NotificationTypes returns every type.
func NotificationTypes() []NotificationType {
	return []NotificationType{BillCreated, BillPaid, BillLatePayment, BillFailed, BillCanceled, BillExpired}
}

// NotificationType returns what a shop is told of b's end; "" while it has not
// ended.
func (b Bill) NotificationType() NotificationType {
	switch b.Status {
	case Success:
		if b.LatePayment {
			return BillLatePayment
		}
		return BillPaid
	case Fail:
		return BillFailed
	case Canceled:
		return BillCanceled
	case Expired:
		return BillExpired
	case Choose, Created, Wait:
	}
	return ""
}
