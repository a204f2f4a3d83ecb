package payment

import (
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// settleTime is how long after a change the two sides, and a shop, may differ
// without anything being wrong: webhooks, queries and notifications take their
// time.
const settleTime = 5 * time.Minute

// MismatchKind is a way in which a bill differs from the gateway's word.
type MismatchKind string

// The kinds of mismatches.
const (
	PaidThereOnly   MismatchKind = "paid_there_only"  // the gateway says paid, the bill does not
	PaidHereOnly    MismatchKind = "paid_here_only"   // the bill is paid, the gateway says otherwise or does not know it
	Contradiction   MismatchKind = "contradiction"    // its word names another bill, order, currency or amount
	UnknownThere    MismatchKind = "unknown_there"    // the bill waits to be paid, the gateway does not know it
	EndedThere      MismatchKind = "ended_there"      // the bill is open, the gateway says it has ended unpaid
	OpenThere       MismatchKind = "open_there"       // the bill has ended unpaid, and can still be paid at the gateway
	UndefinedStatus MismatchKind = "undefined_status" // the gateway's word is none that anybody has defined
)

// MismatchKinds returns every kind, the gravest first.
func MismatchKinds() []MismatchKind {
	return []MismatchKind{PaidThereOnly, PaidHereOnly, Contradiction, UnknownThere, EndedThere, OpenThere, UndefinedStatus}
}

// Finding says in plain words what k is.
func (k MismatchKind) Finding() string {
	switch k {
	case PaidThereOnly:
		return "paid at the gateway, not here"
	case PaidHereOnly:
		return "paid here, not at the gateway"
	case Contradiction:
		return "the gateway's answer names another bill, order, currency or amount"
	case UnknownThere:
		return "waits to be paid here, not known at the gateway"
	case EndedThere:
		return "open here, ended unpaid at the gateway"
	case OpenThere:
		return "ended unpaid here, can still be paid at the gateway"
	case UndefinedStatus:
		return "the gateway's status is none that its document defines"
	}
	return ""
}

// Remedy says in plain words what to do about k.
func (k MismatchKind) Remedy() string {
	switch k {
	case PaidThereOnly:
		return "unsettled here: refresh it, and the bill is paid and the shop told; if refreshing does not help, look at its history"
	case PaidHereOnly:
		return "hold the goods back; settledBy says who reported the payment; ask QLink about it by its billCode"
	case Contradiction:
		return "nothing is settled by such an answer: ask QLink what was booked under this tradeUuid"
	case UnknownThere:
		return "ask QLink about it by its billCode; nobody can pay it until then, so that the order may be cancelled by force"
	case EndedThere:
		return "unsettled here: refresh it"
	case OpenThere:
		return "have it cancelled at QLink; if it is paid before, the payment counts as a late one"
	case UndefinedStatus:
		return "ask QLink what the status means; until then it changes nothing"
	}
	return ""
}

// Mismatches are those of one kind.
type Mismatches struct {
	Kind     MismatchKind     `json:"kind"`
	Finding  string           `json:"finding"`
	Remedy   string           `json:"remedy"`
	Wrong    Listed[Mismatch] `json:"wrong"`
	InFlight Listed[Mismatch] `json:"inFlight"` // of the last minutes: expected to settle
	Resolved Listed[Mismatch] `json:"resolved"` // seen to by an operator, who said so
}

// Mismatch is a bill that differs from the gateway's word.
type Mismatch struct {
	Line

	GatewayStatus    string   `json:"gatewayStatus"` // WAIT, SUCCESS, FAIL, CANCELED, EXPIRED, UNKNOWN; NOT_KNOWN where the gateway does not know the bill
	GatewayWord      string   `json:"gatewayWord"`   // as received
	GatewayPayTime   string   `json:"gatewayPayTime"`
	GatewayErrorCode string   `json:"gatewayErrorCode"`
	Differs          []string `json:"differs"` // of a contradiction: tradeUuid, billCode, orderCode, currency, amount
}

// notKnown is the gateway's status of a bill that it certainly does not know.
const notKnown = "NOT_KNOWN"

// word is what the gateway says of a bill; not known, it has no row.
type word struct {
	known bool
	row   qlink.PayStatus
}

// difference is how a bill differs from the gateway's word; the zero value is
// that it does not.
type difference struct {
	kind     MismatchKind
	inFlight bool
	fields   []string
}

// standing says what something that was found means for the verdict.
type standing uint8

const (
	standsWrong standing = iota
	standsInFlight
	standsResolved
)

// standing weighs d. An operator's word excuses what nobody can mend, but never
// a payment that waits to be settled.
func (d difference) standing(b bill.Bill) standing {
	switch {
	case d.inFlight:
		return standsInFlight
	case !b.ResolvedAt.IsZero() && d.kind != PaidThereOnly:
		return standsResolved
	}
	return standsWrong
}

// unless is wrong, but for what an operator has resolved.
func unless(resolvedAt time.Time) standing {
	if resolvedAt.IsZero() {
		return standsWrong
	}
	return standsResolved
}

// compare holds a bill against the gateway's word. A bill that is being
// prepared may be known or not, and how one ended unpaid is told in other words
// by each side: neither is a difference.
func compare(b bill.Bill, w word, now time.Time) difference {
	fields := w.contradicts(b)
	switch code := w.row.Status.Code; {
	case len(fields) > 0:
		return difference{kind: Contradiction, fields: fields}
	case w.known && code == qlink.StatusSuccess:
		return paidThere(b, w, now)
	case b.Status == bill.Success:
		return difference{kind: PaidHereOnly, inFlight: w.known && code == qlink.StatusWait && lately(b.UpdatedAt, now)}
	case w.known && code == qlink.StatusUnknown:
		return difference{kind: UndefinedStatus}
	case b.Status.EndedUnpaid():
		if w.known && code == qlink.StatusWait {
			return difference{kind: OpenThere, inFlight: lately(b.UpdatedAt, now)}
		}
	case !w.known:
		if b.Status == bill.Wait {
			return difference{kind: UnknownThere, inFlight: lately(latest(b.CreatedAt, b.Apply.StartedAt), now)}
		}
	case code != qlink.StatusWait:
		return difference{kind: EndedThere, inFlight: now.Before(b.Due.Add(settleTime))}
	}
	return difference{}
}

// paidThere tells a payment that has just been made from one that was missed.
func paidThere(b bill.Bill, w word, now time.Time) difference {
	if b.Status == bill.Success {
		return difference{}
	}
	paidAt := w.row.PayTime
	if paidAt.IsZero() {
		paidAt = b.CreatedAt
	}
	return difference{kind: PaidThereOnly, inFlight: lately(paidAt, now) || lately(b.Reported.At, now)}
}

// lately reports whether t is within settleTime of now, on either side: clocks
// differ.
func lately(t, now time.Time) bool { return now.Sub(t).Abs() <= settleTime }

// contradicts names the fields in which the word speaks of another payment.
func (w word) contradicts(b bill.Bill) []string {
	if !w.known {
		return nil
	}
	fields := b.Contradictions(bill.Event{Kind: reportedKind(w.row.Status), Report: bill.Report{
		TradeUUID: w.row.TradeUUID, BillCode: w.row.BillCode, OrderCode: w.row.OrderCode, Currency: w.row.Currency,
	}})
	if told := bill.Amount(w.row.Amount); told.Readable() && !told.Equal(b.Amount) {
		fields = append(fields, "amount")
	}
	return fields
}

func mismatchOf(b bill.Bill, w word, d difference) Mismatch {
	m := Mismatch{Line: lineOf(b), GatewayStatus: notKnown, Differs: d.fields}
	if w.known {
		m.GatewayStatus, m.GatewayWord = w.row.Status.Code.String(), cut(w.row.Status.Raw)
		m.GatewayPayTime, m.GatewayErrorCode = bill.Timestamp(w.row.PayTime), cut(w.row.ErrorCode)
	}
	return m
}
