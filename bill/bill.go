// Package bill is the domain: what a bill is, which amounts and currencies
// exist, how a bill changes (one pure transition function), what its history
// holds, and what a store has to promise (Store).
//
// It performs no I/O, knows no clock, no HTTP, no gateway and no database,
// and imports nothing else of this module. The engine (package payment) is
// its only writer; stores implement Store; handlers read.
package bill

import (
	"slices"
	"time"
)

// Bill is one attempt to be paid for one order: what is asked for, what the
// gateway made of it and how far it has come. All times are UTC; a zero time
// means "not known" or "does not apply".
//
// The JSON names are those of the stored record, not of the public answer,
// which package handlers writes.
type Bill struct {
	ID        string `json:"id"`      // tradeUuid: random, unique, the idempotency key at the gateway
	Ledger    string `json:"ledger"`  // one endpoint and appKey, see NewLedger
	Account   string `json:"account"` // name of the account in the configuration
	Shop      string `json:"shop"`
	OrderCode string `json:"order"`
	Attempt   int    `json:"attempt"` // 1 for the order's first bill
	LiveMode  bool   `json:"live,omitzero"`

	Status     Status   `json:"status"`
	Amount     Amount   `json:"amount"` // exactly as handed over, and as sent
	Currency   Currency `json:"currency"`
	Country    string   `json:"country"`
	PayType    string   `json:"type,omitzero"`
	PayChannel string   `json:"channel,omitzero"`

	Asked   Asked  `json:"asked,omitzero"`
	Chosen  bool   `json:"chosen,omitzero"`  // type and channel are a buyer's choice
	RetryOf string `json:"retryOf,omitzero"` // id of the attempt that a buyer began it after; "": the shop handed it over

	BillCode         string `json:"billCode,omitzero"` // the gateway's own name for the bill
	PaymentRequestID string `json:"requestId,omitzero"`
	Action           Action `json:"action,omitzero"`
	ErrorCode        string `json:"errorCode,omitzero"`

	PayURL string `json:"payUrl,omitzero"` // of its page, as its first buyer saw it; for notifications

	// Client is the address of the buyer who began it, where open bills are
	// counted by address; gone when the bill has ended, and shown to nobody.
	Client string `json:"client,omitzero"`

	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`          // of the last change a buyer can see, but for its being forgotten
	SignedAt  time.Time `json:"signedAt,omitzero"`  // of the hand-over: when the shop last signed or answered; a buyer's new attempt keeps it
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // zero: never
	PayTime   time.Time `json:"payTime,omitzero"`   // as the gateway reported it

	Apply  Applying   `json:"apply,omitzero"`
	Cancel Cancelling `json:"cancel,omitzero"`

	Reported Reported `json:"reported,omitzero"`

	LatePayment bool   `json:"late,omitzero"`   // paid after it had ended unpaid
	RefundDue   bool   `json:"refund,omitzero"` // another attempt of the order is paid too
	SettledBy   Source `json:"settledBy,omitzero"`

	AskedAt time.Time `json:"askedAt,omitzero"` // when the gateway was last asked after it
	Due     time.Time `json:"due,omitzero"`     // when it wants to be asked after next; indexed

	Version  uint64 `json:"version"`           // moves with every change a buyer can see
	Revision uint64 `json:"revision"`          // moves with every write: what compare-and-set compares
	Silent   int    `json:"silent,omitzero"`   // history lines without a change, see MaxSilent …
	Alarms   int    `json:"alarms,omitzero"`   // … and of those, the ones that an operator should see
	Unknowns int    `json:"unknowns,omitzero"` // queries that certainly did not know it, since the last /apply

	// Withdrawn is set where the shop has taken the order back, or handed it over
	// with other terms, since: no buyer begins another attempt like this one.
	Withdrawn bool `json:"withdrawn,omitzero"`

	ResolvedAt time.Time `json:"resolved,omitzero"` // when an operator had last seen to it; zero once it changed after that

	ForgottenAt time.Time `json:"forgotten,omitzero"` // when it was last reduced to its stub, see EventForgotten
	Told        uint64    `json:"told,omitzero"`      // Sequence of the newest notification that was deleted then; 0: none was
}

// Asked is what the order itself said of how, and how long, it can be paid. A
// buyer's new attempt is made by it again.
type Asked struct {
	AnyChannel bool   `json:"anyChannel,omitzero"` // it named no channel
	PayType    string `json:"type,omitzero"`       // that it named all the same: of the ways to choose from, only this type's
	ExpiresIn  int64  `json:"expiresIn,omitzero"`  // nanoseconds; 0: not given
}

// Applying is what is known of the calls to /apply (the document's section 4).
type Applying struct {
	Tries       int       `json:"tries,omitzero"`       // intents stored, each before its call, that may have reached the gateway
	StartedAt   time.Time `json:"startedAt,omitzero"`   // of the latest intent
	EndedAt     time.Time `json:"endedAt,omitzero"`     // zero while a call may be under way
	Accepted    bool      `json:"accepted,omitzero"`    // an answer with a billCode was read
	ActionAsked bool      `json:"actionAsked,omitzero"` // the latest call is the one for a lost action
	Refused     bool      `json:"refused,omitzero"`     // the first call was refused; a query has to confirm it
	NotSent     bool      `json:"notSent,omitzero"`     // the latest call never reached the gateway
	FirstMiss   time.Time `json:"firstMiss,omitzero"`   // first query since that certainly did not know the bill
	ErrorCode   string    `json:"errorCode,omitzero"`
	Complained  bool      `json:"complained,omitzero"` // the gateway refused our signature or key
}

// Cancelling is the cancel saga: the wish is stored before /cancel is called.
type Cancelling struct {
	Requested bool         `json:"requested,omitzero"`
	Reason    CancelReason `json:"reason,omitzero"`
	At        time.Time    `json:"at,omitzero"`
	Confirmed bool         `json:"confirmed,omitzero"` // the gateway answered "cancelled"; a query has to exclude a payment
	Refusals  int          `json:"refusals,omitzero"`
}

// CancelReason says who or what wanted the end of a bill.
type CancelReason string

// The reasons to end a bill.
const (
	CancelBuyer    CancelReason = "buyer"
	CancelShop     CancelReason = "shop"
	CancelExpiry   CancelReason = "expiry"
	CancelReplaced CancelReason = "replaced"  // the order came again with other terms
	CancelPaid     CancelReason = "paid"      // another attempt of the order was paid
	CancelNoAction CancelReason = "no_action" // the gateway knows the bill, but how to pay it was lost
	CancelOperator CancelReason = "operator"
)

// persists tells whether the wish outlives a refusal by the gateway: people
// drop theirs and may ask again, the rest tries again.
func (r CancelReason) persists() bool {
	return r == CancelExpiry || r == CancelPaid || r == CancelNoAction
}

// settles is what a bill that ended for this reason was settled by.
func (r CancelReason) settles() Source {
	if r == CancelExpiry {
		return ByExpiry
	}
	return ByCancel
}

// Details are what the shop handed over with the order and never changes: kept
// once, apart from the bill, since most reads do not want them.
type Details struct {
	Description string `json:"description,omitzero"`
	Metadata    string `json:"metadata,omitzero"` // JSON text; never shown on unsigned endpoints
	Items       []Item `json:"items,omitempty"`   // an empty list is none
	ReturnURL   string `json:"returnUrl,omitzero"`
}

// Item is one line of an order, names as in QLink's /apply.
type Item struct {
	SKUCode     string `json:"skuCode,omitzero"`
	SKUName     string `json:"skuName,omitzero"`
	Quantity    string `json:"quantity,omitzero"` // a JSON number, as text
	URL         string `json:"url,omitzero"`
	ImageURL    string `json:"imageUrl,omitzero"`
	Category    string `json:"category,omitzero"`
	Subcategory string `json:"subcategory,omitzero"`
	Description string `json:"description,omitzero"`
	Metadata    string `json:"metadata,omitzero"` // JSON text
}

// OrderKey names an order: a paid order in test is not a paid order in live,
// and two shops may use the same codes.
type OrderKey struct {
	Ledger    string
	Shop      string
	OrderCode string
}

// OrderKey returns the key of the order that b is an attempt to pay.
func (b Bill) OrderKey() OrderKey {
	return OrderKey{Ledger: b.Ledger, Shop: b.Shop, OrderCode: b.OrderCode}
}

// ActionLost reports whether the gateway has the bill while the answer that
// says how to pay it never came.
func (b Bill) ActionLost() bool {
	return b.Status == Wait && !b.Apply.Accepted
}

// NeverPayable reports whether b failed before anybody could have paid it: the
// gateway refused it, asked again did not know it, and never said otherwise.
func (b Bill) NeverPayable() bool {
	return b.Status == Fail && !b.Unconfirmed() && b.Apply.Refused && b.BillCode == "" && b.Action.Value == ""
}

// ExpiryPassed reports whether b's time to be paid is over at the given time.
func (b Bill) ExpiryPassed(now time.Time) bool {
	return !b.ExpiresAt.IsZero() && !now.Before(b.ExpiresAt)
}

// Forgettable reports whether b has ended for certain and holds more than its
// stub: it was never forgotten, or has changed since.
func (b Bill) Forgettable() bool {
	return b.Status.Final() && !b.Unconfirmed() && !b.ForgottenAt.After(b.UpdatedAt)
}

// stub is what is kept of b for ever: which order it was to pay and how that
// ended, what a late report of the gateway has to match, and the hand-over
// before which a signed order is stale.
func (b Bill) stub() Bill {
	return Bill{
		ID: b.ID, Ledger: b.Ledger, Account: b.Account, Shop: b.Shop, OrderCode: b.OrderCode, Attempt: b.Attempt, LiveMode: b.LiveMode,
		Status: b.Status, Amount: b.Amount, Currency: b.Currency, Country: b.Country, BillCode: b.BillCode,
		CreatedAt: b.CreatedAt, UpdatedAt: b.UpdatedAt, SignedAt: b.SignedAt, PayTime: b.PayTime,
		LatePayment: b.LatePayment, RefundDue: b.RefundDue, SettledBy: b.SettledBy,
		Version: b.Version, Revision: b.Revision, ResolvedAt: b.ResolvedAt, ForgottenAt: b.ForgottenAt, Told: b.Told,
	}
}

// OrderRecord ties the attempts of one order together. It is the unit that
// keeps the first promise: whoever starts an attempt, or changes the status
// of one, compares and sets the record's revision in the same transaction.
type OrderRecord struct {
	Key      OrderKey  `json:"-"`
	Attempts []Attempt `json:"attempts"` // oldest first, never removed
	Revision uint64    `json:"revision"`
}

// Attempt is the stub of a bill that outlives its details.
type Attempt struct {
	ID       string   `json:"id"`
	Status   Status   `json:"status"`
	Amount   Amount   `json:"amount"`
	Currency Currency `json:"currency"`

	Unconfirmed bool `json:"unconfirmed,omitzero"` // see Bill.Unconfirmed
}

// Latest returns the newest attempt, and whether there is one.
func (r OrderRecord) Latest() (Attempt, bool) {
	if len(r.Attempts) == 0 {
		return Attempt{}, false
	}
	return r.Attempts[len(r.Attempts)-1], true
}

// Paid returns the attempt that paid the order, the earliest where two did.
func (r OrderRecord) Paid() (Attempt, bool) {
	for _, a := range r.Attempts {
		if a.Status == Success {
			return a, true
		}
	}
	return Attempt{}, false
}

// Open returns the attempt that has not ended, and whether there is one.
func (r OrderRecord) Open() (Attempt, bool) {
	for _, a := range slices.Backward(r.Attempts) {
		if !a.Status.Final() {
			return a, true
		}
	}
	return Attempt{}, false
}

// With returns the record with b's stub added or brought up to date, and
// whether that changed anything. r itself is left alone.
func (r OrderRecord) With(b Bill) (OrderRecord, bool) {
	stub := Attempt{ID: b.ID, Status: b.Status, Amount: b.Amount, Currency: b.Currency, Unconfirmed: b.Unconfirmed()}
	i := slices.IndexFunc(r.Attempts, func(a Attempt) bool { return a.ID == b.ID })
	if i >= 0 && r.Attempts[i] == stub {
		return r, false
	}
	attempts := slices.Clone(r.Attempts)
	if i < 0 {
		attempts = append(attempts, stub)
	} else {
		attempts[i] = stub
	}
	r.Attempts = attempts
	return r, true
}

// New returns the first state of a bill for an order, and the line that
// begins its history. The caller sets what the configuration decides (Account,
// Ledger, Shop, LiveMode, ExpiresAt) in the template.
func New(template Bill, o Order, now time.Time) (Bill, Event) {
	b := template
	b.OrderCode, b.Amount, b.Currency, b.Country = o.OrderCode, o.Amount, o.Currency, o.Country
	b.PayType, b.PayChannel = o.PayType, o.PayChannel
	b.Asked = Asked{AnyChannel: !o.ChannelSet, ExpiresIn: int64(o.ExpiresIn)}
	b.CreatedAt, b.UpdatedAt = now, now
	b.Version, b.Revision = 1, 1
	b.Status = Choose
	if b.PayChannel != "" {
		b.Status = Created
		b.Apply = Applying{Tries: 1, StartedAt: now}
	} else {
		b.Asked.PayType = o.PayType
	}
	return b, Event{Kind: EventCreated, At: now, Source: ByShop, To: b.Status, Version: 1}
}

// Matches reports whether o asks for the very payment that b is: amount,
// currency and, where the order names one, the way to pay.
func (b Bill) Matches(o Order) bool {
	return b.Amount.Equal(o.Amount) && b.Currency == o.Currency &&
		(!o.ChannelSet || b.PayChannel == o.PayChannel && b.PayType == o.PayType)
}
