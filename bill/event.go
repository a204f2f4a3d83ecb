package bill

import "time"

// MaxSilent bounds the history lines of one bill that record no change, so
// that a captured webhook replayed for ever cannot fill a disk.
const MaxSilent = 64

// Source says where an event came from.
type Source string

// The sources of events. The first five are also what SettledBy can hold.
const (
	ByWebhook  Source = "webhook"  // a signed notification
	ByQuery    Source = "query"    // an unsigned answer of /getPayStatus, or of a refused /apply confirmed by one
	ByCancel   Source = "cancel"   // an unsigned answer of /cancel
	ByExpiry   Source = "expiry"   // the bill's own time ran out
	ByOperator Source = "operator" // a person with access to the admin endpoint
	ByApply    Source = "apply"    // an unsigned answer of /apply
	ByBuyer    Source = "buyer"
	ByShop     Source = "shop"
	ByModule   Source = "module" // the engine itself
)

// EventKind is what happened to a bill.
type EventKind string

// The kinds of events, in the order of the rows of the contract's table.
const (
	EventCreated        EventKind = "created"         // the shop handed the order over
	EventChosen         EventKind = "chosen"          // the buyer chose how to pay
	EventApplyStarted   EventKind = "apply_started"   // the intent to call /apply again, stored before the call
	EventApplyAccepted  EventKind = "apply_accepted"  // an answer with a billCode
	EventApplyRefused   EventKind = "apply_refused"   // an answer that says no; on a first call a query has to confirm it
	EventRefusalStands  EventKind = "refusal_stands"  // the first /apply was refused and a query does not show the bill
	EventApplyUnclear   EventKind = "apply_unclear"   // time-out, cut, 5xx, 408, 429, bad signature, no billCode, no JSON
	EventApplyNotSent   EventKind = "apply_not_sent"  // the connection to the gateway was never made
	EventNotKnown       EventKind = "not_known"       // a query for this bill alone, 2xx, with an empty payload
	EventReportedWait   EventKind = "reported_wait"   // webhook or query
	EventReportedPaid   EventKind = "reported_paid"   // webhook or query
	EventReportedFail   EventKind = "reported_fail"   // webhook or query
	EventReportedCancel EventKind = "reported_cancel" // webhook or query
	EventReportedExpiry EventKind = "reported_expiry" // webhook or query
	EventReportedOther  EventKind = "reported_other"  // a status nobody has defined: kept as received
	EventContradiction  EventKind = "contradiction"   // names another bill, order or currency
	EventCancelAsked    EventKind = "cancel_asked"    // buyer, shop, expiry, replaced, operator
	EventCancelDone     EventKind = "cancel_done"     // the gateway answered that it cancelled
	EventCancelPending  EventKind = "cancel_pending"  // the gateway answered "not yet"
	EventCancelRefused  EventKind = "cancel_refused"  // the gateway answered that it did not cancel
	EventCancelUnclear  EventKind = "cancel_unclear"  // no answer that could be read
	EventCancelStands   EventKind = "cancel_stands"   // cancelled, and a query does not show a payment
	EventForced         EventKind = "forced"          // an operator ended it, with a reason
	EventAsked          EventKind = "asked"           // the gateway is being asked; written without a line
	EventHandedOver     EventKind = "handed_over"     // the order again, signed later; written without a line
	EventWithdrawn      EventKind = "withdrawn"       // the order taken back, or handed over with other terms; written without a line
	EventForgotten      EventKind = "forgotten"       // retention is over: its details, its history so far and what its shop was told are deleted
	EventRedelivered    EventKind = "redelivered"     // an operator had its shop told again
	EventResolved       EventKind = "resolved"        // an operator has seen to it, with a note
)

// Report is what the gateway said of a bill, as received and unbelieved.
type Report struct {
	TradeUUID        string    `json:"tradeUuid,omitzero"`
	BillCode         string    `json:"billCode,omitzero"`
	OrderCode        string    `json:"orderCode,omitzero"`
	PaymentRequestID string    `json:"requestId,omitzero"`
	Currency         string    `json:"currency,omitzero"`
	ActionValue      string    `json:"-"` // stored once, with the bill
	Status           string    `json:"status,omitzero"`
	PayTime          time.Time `json:"payTime,omitzero"`
	ErrorCode        string    `json:"errorCode,omitzero"`
	Message          string    `json:"message,omitzero"`
	HTTPStatus       int       `json:"httpStatus,omitzero"`
	BodySHA256       string    `json:"sha256,omitzero"` // of a webhook's body
}

// Event is something that happened to a bill: the input of Next, and with
// From, To and Version filled in, a line of its history.
type Event struct {
	Kind    EventKind    `json:"kind"`
	At      time.Time    `json:"at"`
	Source  Source       `json:"source"`
	From    Status       `json:"from,omitzero"`
	To      Status       `json:"to,omitzero"`
	Version uint64       `json:"version"`
	Reason  CancelReason `json:"reason,omitzero"` // of a cancel
	Note    string       `json:"note,omitzero"`   // words for the operator, or of one
	Report  Report       `json:"report,omitzero"`

	Actor string `json:"actor,omitzero"` // the operator whose act this is, or came of; such a line is always written
	Took  int64  `json:"took,omitzero"`  // nanoseconds that the call to the gateway took which this is the answer to

	Way       Way       `json:"way,omitzero"`       // that was chosen …
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // … and when the bill ends by it; zero: never

	Complaint bool `json:"complaint,omitzero"` // the gateway refused our signature or key
}
