package payment

import (
	"errors"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Metrics is told what is to be counted, once it is certain. Its methods are
// called on the way of a payment: they return at once. No id reaches it: every
// text is a name from the configuration or one of a fixed set.
type Metrics interface {
	// GatewayCalled: a call to an account's gateway has ended.
	GatewayCalled(account string, op Operation, outcome CallOutcome, took time.Duration)
	// CheckedOut: an order that was handed over, or that a buyer tries again, has
	// been answered.
	CheckedOut(account string, outcome Outcome)
	// Moved: a bill's new status is stored; from is "" for a new bill.
	Moved(account string, from, to bill.Status, source bill.Source)
	// Paid: a payment is stored, so long after the bill's creation.
	Paid(account string, after time.Duration)
	// HeardOf: the payment is stored so long after the time that the gateway gives
	// for it, by this source. Not told where the gateway gives none.
	HeardOf(account string, source bill.Source, late time.Duration)
	// Alarmed: something happened that an operator has to look at.
	Alarmed(account string, alarm Alarm)
	// Notified: a try to tell a shop has ended.
	Notified(account string, outcome NotifyOutcome, took time.Duration)
	// Emitted: an event was handed on, or dropped because those before it are not
	// taken.
	Emitted(dropped bool)
}

// Operation is a call to the gateway, as in its URL.
type Operation string

// The operations of the gateway.
const (
	OpApply           Operation = "apply"
	OpGetPayStatus    Operation = "getPayStatus"
	OpCancel          Operation = "cancel"
	OpQueryPayAccount Operation = "queryPayAccount"
)

// Operations returns every operation.
func Operations() []Operation {
	return []Operation{OpApply, OpGetPayStatus, OpCancel, OpQueryPayAccount}
}

// CallOutcome is how a call to the gateway ended.
type CallOutcome string

// The outcomes of a call.
const (
	CallAnswered CallOutcome = "answered" // it did as asked, or told what was asked
	CallRefused  CallOutcome = "refused"  // it said no
	CallUnclear  CallOutcome = "unclear"  // no answer that proves anything: a time-out, a cut, a fault of its own
	CallNotSent  CallOutcome = "not_sent" // no connection was made
	CallAuth     CallOutcome = "auth"     // it complained about our key or signature
	CallInvalid  CallOutcome = "invalid"  // never sent: the request would have been a bad one
)

// CallOutcomes returns every outcome of a call.
func CallOutcomes() []CallOutcome {
	return []CallOutcome{CallAnswered, CallRefused, CallUnclear, CallNotSent, CallAuth, CallInvalid}
}

func callOutcome(err error) CallOutcome {
	if err == nil {
		return CallAnswered
	}
	if failure, ok := errors.AsType[*qlink.Error](err); ok {
		switch failure.Kind {
		case qlink.KindRefused:
			return CallRefused
		case qlink.KindNotSent:
			return CallNotSent
		case qlink.KindAuth:
			return CallAuth
		case qlink.KindInvalid:
			return CallInvalid
		case qlink.KindUnclear:
		}
	}
	return CallUnclear
}

// What becomes of an order besides the outcomes of Create and its refusals,
// each of which counts under its Code.
const (
	OutcomeBadOrder          Outcome = "bad_order"               // the shop's order cannot be paid
	OutcomeTooMany           Outcome = "too_many_open"           // ErrTooManyOpen
	OutcomeTooManyOfClient   Outcome = "too_many_open_of_client" // ErrTooManyOpenOfClient
	OutcomeClosed            Outcome = "checkouts_closed"        // ErrCheckoutsClosed
	OutcomeStoreNotAvailable Outcome = "unavailable"             // store or disk
	OutcomeFault             Outcome = "error"                   // anything else
)

// Outcomes returns all that can become of an order.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeNew, OutcomeExisting, OutcomeUnknown, OutcomeRefused,
		Outcome(CodePreviousOpen), Outcome(CodePaidOtherwise), Outcome(CodeAlreadyPaid), Outcome(CodeStaleOrder),
		Outcome(CodeKeyRunning), Outcome(CodeKeyReused), Outcome(CodeRetryNotAllowed),
		OutcomeBadOrder, OutcomeTooMany, OutcomeTooManyOfClient, OutcomeClosed, OutcomeStoreNotAvailable, OutcomeFault,
	}
}

// checkedOut counts what became of an order.
func (e *Engine) checkedOut(account string, outcome Outcome, err error) {
	if err != nil {
		outcome = OutcomeOf(err)
	}
	e.cfg.Metrics.CheckedOut(account, outcome)
}

// OutcomeOf returns what became of an order that Ready, Create or Retry
// answered with an error.
func OutcomeOf(err error) Outcome {
	refusal, refused := errors.AsType[*Refusal](err)
	_, bad := errors.AsType[*bill.OrderError](err)
	switch {
	case refused:
		return Outcome(refusal.Code)
	case bad:
		return OutcomeBadOrder
	case errors.Is(err, ErrTooManyOpenOfClient):
		return OutcomeTooManyOfClient
	case errors.Is(err, ErrTooManyOpen):
		return OutcomeTooMany
	case errors.Is(err, ErrCheckoutsClosed):
		return OutcomeClosed
	case errors.Is(err, bill.ErrUnavailable):
		return OutcomeStoreNotAvailable
	}
	return OutcomeFault
}

// NotifyOutcome is how a try to tell a shop ended.
type NotifyOutcome string

// The outcomes of such a try.
const (
	NotifyDelivered NotifyOutcome = "delivered" // it answered 2xx
	NotifyFailed    NotifyOutcome = "failed"    // it did not: it is tried again
	NotifyGivenUp   NotifyOutcome = "given_up"  // likewise, for the last time
)

// NotifyOutcomes returns every outcome of such a try.
func NotifyOutcomes() []NotifyOutcome {
	return []NotifyOutcome{NotifyDelivered, NotifyFailed, NotifyGivenUp}
}

// notifyOutcome is how the latest try of n ended.
func notifyOutcome(n bill.Notification) NotifyOutcome {
	switch n.State {
	case bill.Delivered:
		return NotifyDelivered
	case bill.Dead:
		return NotifyGivenUp
	case bill.Pending, bill.Superseded:
	}
	return NotifyFailed
}

// Alarm is something that an operator has to look at.
type Alarm string

// The alarms.
const (
	AlarmRefundDue     Alarm = "refund_due"     // an order was paid twice
	AlarmConflict      Alarm = "conflict"       // the gateway takes back a payment that it reported
	AlarmComplaint     Alarm = "complaint"      // the gateway does not accept our key or signature
	AlarmContradiction Alarm = "contradiction"  // a report speaks of another bill, order or currency
	AlarmUnknownStatus Alarm = "unknown_status" // a report has a status that nobody has defined
	AlarmOtherAmount   Alarm = "other_amount"   // the gateway's code asks for another amount than the bill
)

// Alarms returns every alarm.
func Alarms() []Alarm {
	return []Alarm{AlarmRefundDue, AlarmConflict, AlarmComplaint, AlarmContradiction, AlarmUnknownStatus, AlarmOtherAmount}
}

// alarmOf returns what is alarming about a step, or "".
func alarmOf(step *bill.Step) Alarm {
	switch line := step.Line; {
	case step.Conflict:
		return AlarmConflict
	case step.Bill.RefundDue && line.From != line.To:
		return AlarmRefundDue
	case line.Complaint:
		return AlarmComplaint
	case line.Kind == bill.EventContradiction:
		return AlarmContradiction
	case line.Kind == bill.EventReportedOther:
		return AlarmUnknownStatus
	}
	return ""
}

// alarm counts what is alarming about a step.
func (e *Engine) alarm(step *bill.Step) {
	if alarm := alarmOf(step); alarm != "" {
		e.cfg.Metrics.Alarmed(step.Bill.Account, alarm)
	}
}

// count counts a stored line of a bill's history.
func (e *Engine) count(b bill.Bill, line bill.Event) {
	if line.From == line.To {
		return
	}
	e.cfg.Metrics.Moved(b.Account, line.From, line.To, line.Source)
	if line.To != bill.Success {
		return
	}
	e.cfg.Metrics.Paid(b.Account, line.At.Sub(b.CreatedAt))
	if !b.PayTime.IsZero() {
		e.cfg.Metrics.HeardOf(b.Account, line.Source, max(line.At.Sub(b.PayTime), 0)) // clocks differ
	}
}

// uncounted are no metrics at all.
type uncounted struct{}

func (uncounted) GatewayCalled(string, Operation, CallOutcome, time.Duration) {}
func (uncounted) CheckedOut(string, Outcome)                                  {}
func (uncounted) Moved(string, bill.Status, bill.Status, bill.Source)         {}
func (uncounted) Paid(string, time.Duration)                                  {}
func (uncounted) HeardOf(string, bill.Source, time.Duration)                  {}
func (uncounted) Alarmed(string, Alarm)                                       {}
func (uncounted) Notified(string, NotifyOutcome, time.Duration)               {}
func (uncounted) Emitted(bool)                                                {}
