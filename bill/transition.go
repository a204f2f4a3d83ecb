package bill

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Errors of events that a bill's status rules out.
var (
	ErrAlreadyPaid    = errors.New("the bill is paid")
	ErrNotChoosable   = errors.New("the bill is not waiting for a choice")
	ErrForceRefused   = errors.New("a paid bill cannot be ended by force")
	ErrAskedAlready   = errors.New("the gateway was asked after the bill moments ago")
	ErrUnknownEvent   = errors.New("unknown event")
	ErrApplyForbidden = errors.New("the bill must not be applied for again")
	ErrNotEnded       = errors.New("the bill has not ended")
	ErrNoWay          = errors.New("the choice names no type and channel")
)

// Follow is what has to happen after a change; the change comes first, stored.
type Follow string

// What may follow a change.
const (
	FollowNone    Follow = ""
	FollowQuery   Follow = "query"   // ask /getPayStatus at once
	FollowCancel  Follow = "cancel"  // call /cancel
	FollowReapply Follow = "reapply" // call /apply again with the same tradeUuid, after storing the intent
)

// Step is the outcome of an event.
type Step struct {
	Bill     Bill   // after the event; Revision and Version are the new ones
	Line     Event  // for the history
	Record   bool   // whether Line is to be written: always with a change, else up to MaxSilent
	Changed  bool   // whether a buyer can see the change
	Follow   Follow // what to do next
	Conflict bool   // the gateway contradicts a payment: alarm
}

// Rules are the settings that the transition function depends on.
type Rules struct {
	UnknownAfter time.Duration // how long after /apply ended "not known" may be believed
	MinInterval  time.Duration // between two calls of /cancel for one bill
	CallTimeout  time.Duration // after it a call whose end was never stored has ended, its process having died

	ConfirmSuccess bool // a notification's SUCCESS counts once a query agrees
}

// Next is the whole life of a bill: a pure function of the bill and an event.
// It never changes b. An error means that the event is not allowed in b's
// status, and that nothing happens at all.
//
// Source: the table "What each event does"; a cancel's answer is never taken
// for a payment status, a paid bill stays paid, and a payment wins over any
// other end.
func (b Bill) Next(e Event, rules Rules) (Step, error) {
	if len(b.contradictions(e)) > 0 {
		e.Kind = EventContradiction
	}
	next, follow, err := b.advance(e, rules)
	if err != nil {
		return Step{}, err
	}
	if next.Status.Final() {
		next.Client = ""
	}
	step := Step{Bill: next, Follow: follow, Conflict: (b.Status == Success || b.Unconfirmed()) && contradictsPayment(e.Kind)}
	step.Changed = visible(b) != visible(next)
	if step.Changed {
		step.Bill.Version++
		if e.Kind != EventForgotten { // which counts from the end, and is none itself
			step.Bill.UpdatedAt = e.At
		}
	}
	if (step.Changed || step.Conflict) && e.Kind != EventForgotten {
		step.Bill.ResolvedAt = time.Time{} // what was seen to is not what is there now
	}
	step.Record = step.Changed || b.Unconfirmed() != next.Unconfirmed() || e.Actor != "" || step.Bill.roomFor(e, step.Conflict)
	step.Bill.Revision++
	e.From, e.To, e.Version = b.Status, step.Bill.Status, step.Bill.Version
	step.Line = e
	return step, nil
}

// roomFor counts a line that records no change, and reports whether there is
// room for it. What an operator should see has room of its own, so that
// nothing a stranger can repeat crowds it out. A question and its usual answer
// are no news.
func (b *Bill) roomFor(e Event, conflict bool) bool {
	switch {
	case e.Kind == EventAsked, e.Kind == EventHandedOver, e.Kind == EventWithdrawn, e.Kind == EventReportedWait && e.Source == ByQuery:
		return false
	case conflict, e.Kind == EventContradiction, e.Kind == EventReportedOther:
		b.Alarms++
		return b.Alarms <= MaxSilent
	}
	b.Silent++
	return b.Silent <= MaxSilent
}

// visible is b without the fields that no buyer or shop is shown.
func visible(b Bill) Bill {
	b.Version, b.Revision, b.Silent, b.Alarms, b.Unknowns = 0, 0, 0, 0, 0
	b.Client, b.RetryOf = "", ""
	b.Asked, b.Chosen, b.Withdrawn = Asked{}, false, false
	b.AskedAt, b.Due, b.UpdatedAt, b.SignedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	b.ForgottenAt, b.Told, b.ResolvedAt = time.Time{}, 0, time.Time{}
	b.Apply = Applying{}
	b.Cancel = Cancelling{Requested: b.Cancel.Requested}
	b.Reported = Reported{}
	return b
}

// contradictions names the fields in which a report speaks of another bill.
func (b Bill) contradictions(e Event) []string {
	if !e.Kind.reported() {
		return nil
	}
	var fields []string
	for _, f := range []struct{ name, ours, theirs string }{
		{"tradeUuid", b.ID, e.Report.TradeUUID},
		{"billCode", b.BillCode, e.Report.BillCode},
		{"orderCode", b.OrderCode, e.Report.OrderCode},
		{"currency", string(b.Currency), e.Report.Currency},
	} {
		if f.ours != "" && f.theirs != "" && f.ours != f.theirs && (f.name != "currency" || !strings.EqualFold(f.ours, f.theirs)) {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// Contradictions names the fields in which the report of e speaks of another
// bill than b; nil where it may be b's. Next turns such an event into an
// EventContradiction, which changes nothing.
func (b Bill) Contradictions(e Event) []string { return b.contradictions(e) }

func (k EventKind) reported() bool {
	return slices.Contains([]EventKind{
		EventApplyAccepted, EventReportedWait, EventReportedPaid, EventReportedFail,
		EventReportedCancel, EventReportedExpiry, EventReportedOther,
	}, k)
}

// local reports whether an event of this kind happens here, without the gateway.
func (k EventKind) local() bool {
	return slices.Contains([]EventKind{
		EventChosen, EventCancelAsked, EventForced, EventAsked, EventHandedOver, EventWithdrawn, EventApplyStarted, EventForgotten,
		EventRedelivered, EventResolved,
	}, k)
}

func contradictsPayment(k EventKind) bool {
	return k == EventReportedFail || k == EventReportedCancel || k == EventReportedExpiry
}

// advance sets the columns of the table apart that are not read row by row.
func (b Bill) advance(e Event, rules Rules) (Bill, Follow, error) {
	switch {
	case b.Status == Choose && !e.Kind.local():
		return b, FollowNone, nil // the gateway has not been told of it: whatever it says is not about this bill
	case b.Unconfirmed():
		return b.whileUnconfirmed(e, rules)
	}
	return b.dispatch(e, rules)
}

// dispatch calls the function of the event's row.
func (b Bill) dispatch(e Event, rules Rules) (Bill, Follow, error) {
	switch e.Kind {
	case EventChosen:
		return b.chosen(e)
	case EventApplyStarted:
		return b.applyStarted(e, rules)
	case EventApplyAccepted:
		return b.applyAccepted(e)
	case EventApplyRefused:
		return b.applyRefused(e)
	case EventRefusalStands:
		return b.refusalStands()
	case EventApplyUnclear, EventApplyNotSent:
		return b.applyUnclear(e)
	case EventNotKnown:
		return b.notKnown(e, rules)
	case EventReportedWait:
		return b.reportedWait(e, rules)
	case EventReportedPaid:
		return b.reportedPaid(e, rules)
	case EventReportedFail, EventReportedCancel, EventReportedExpiry:
		return b.reportedEnd(e)
	case EventCancelAsked:
		return b.cancelAsked(e, rules)
	case EventCancelDone, EventCancelPending, EventCancelRefused, EventCancelUnclear:
		return b.cancelAnswered(e)
	case EventCancelStands:
		return b.cancelStands()
	case EventForced:
		return b.forced()
	case EventAsked:
		return b.asked(e, rules)
	case EventHandedOver, EventWithdrawn:
		return b.handedOver(e)
	case EventForgotten:
		return b.forgotten(e)
	case EventRedelivered:
		return b, FollowNone, nil
	case EventResolved:
		b.ResolvedAt = e.At
		return b, FollowNone, nil
	case EventReportedOther, EventContradiction:
		return b, FollowNone, nil
	case EventCreated:
	}
	return Bill{}, FollowNone, ErrUnknownEvent
}

// asked claims the next question to the gateway, at most one per MinInterval,
// for whoever stores it first.
func (b Bill) asked(e Event, rules Rules) (Bill, Follow, error) {
	if b.askedLately(e.At, rules) {
		return Bill{}, FollowNone, ErrAskedAlready
	}
	b.AskedAt = e.At
	return b, FollowQuery, nil
}

func (b Bill) askedLately(now time.Time, rules Rules) bool {
	return now.Before(b.AskedAt.Add(rules.MinInterval))
}

// handedOver notes the shop's latest word on the order: which of what it signed
// is stale, and whether it still wants to be paid like this.
func (b Bill) handedOver(e Event) (Bill, Follow, error) {
	if e.At.After(b.SignedAt) {
		b.SignedAt = e.At
	}
	b.Withdrawn = e.Kind == EventWithdrawn
	return b, FollowNone, nil
}

// chosen takes the buyer's choice, of which /apply is told next: once, and
// never after the bill's time.
func (b Bill) chosen(e Event) (Bill, Follow, error) {
	switch {
	case b.Status != Choose, b.ExpiryPassed(e.At):
		return Bill{}, FollowNone, ErrNotChoosable
	case e.Way.PayType == "" || e.Way.PayChannel == "":
		return Bill{}, FollowNone, ErrNoWay
	}
	b.Status, b.Chosen = Created, true
	b.PayType, b.PayChannel, b.ExpiresAt = e.Way.PayType, e.Way.PayChannel, e.ExpiresAt
	b.Apply = Applying{Tries: 1, StartedAt: e.At}
	return b, FollowNone, nil
}

// applyStarted stores the intent to call /apply again with the same
// tradeUuid: never beside a call that may be under way, never after the bill's
// time, never once its end was asked for, and once only for a lost action.
func (b Bill) applyStarted(e Event, rules Rules) (Bill, Follow, error) {
	mayApply := b.Status == Created || b.ActionLost() && !b.Apply.ActionAsked
	if !mayApply || b.ApplyUnderWay(e.At, rules) || b.Cancel.Requested || b.ExpiryPassed(e.At) {
		return Bill{}, FollowNone, ErrApplyForbidden
	}
	b.Apply = Applying{Tries: b.Apply.Tries + 1, StartedAt: e.At, ActionAsked: b.Status == Wait}
	b.Unknowns = 0
	return b, FollowNone, nil
}

func (b Bill) applyAccepted(e Event) (Bill, Follow, error) {
	b.Apply.Accepted, b.Apply.EndedAt = true, e.At
	b.Apply.Refused, b.Apply.NotSent, b.Apply.Complained = false, false, false
	b = b.learn(e.Report)
	if e.Report.ActionValue != "" && b.Action.Value == "" {
		b.Action = NewAction(e.Report.ActionValue)
	}
	switch {
	case b.Status == Created:
		b.Status = Wait
		if b.Cancel.Requested {
			return b, FollowCancel, nil
		}
	case b.Status == Wait && b.Cancel.Requested, b.Status.EndedUnpaid():
		return b, FollowCancel, nil
	}
	if b.Status == Wait && b.Action.Value == "" && b.Apply.ActionAsked {
		return b, FollowCancel, nil
	}
	return b, FollowNone, nil
}

func (b Bill) applyRefused(e Event) (Bill, Follow, error) {
	b.Apply.EndedAt, b.Apply.ErrorCode = e.At, e.Report.ErrorCode
	switch {
	case b.Status == Created && b.Apply.Tries == 1:
		b.Apply.Refused = true
		return b, FollowQuery, nil
	case b.ActionLost() && b.Apply.ActionAsked:
		return b, FollowCancel, nil
	case b.ActionLost():
		return b, FollowQuery, nil // booked, as a report says, and refused: one more question leads to its action
	}
	return b, FollowNone, nil
}

func (b Bill) refusalStands() (Bill, Follow, error) {
	if b.Status == Created && b.Apply.Refused && b.Apply.Tries == 1 {
		b.Status, b.SettledBy = Fail, ByQuery
		b.ErrorCode = b.Apply.ErrorCode
		b.Cancel.Requested = false
	}
	return b, FollowNone, nil
}

func (b Bill) applyUnclear(e Event) (Bill, Follow, error) {
	b.Apply.EndedAt = e.At
	b.Apply.Complained = e.Complaint
	if e.Kind == EventApplyNotSent {
		b.Apply.Tries = max(b.Apply.Tries-1, 0) // the next one is as good as the first
		b.Apply.NotSent = b.Status == Created
	}
	return b, FollowNone, nil
}

// notKnown believes that the gateway does not know the bill only where the
// contract does: twice, the second at least UnknownAfter after /apply ended,
// or where the connection was never made.
func (b Bill) notKnown(e Event, rules Rules) (Bill, Follow, error) {
	b.Unknowns++
	ended, over := b.applyEnded(e.At, rules)
	if b.Status != Created || !over {
		return b, FollowNone, nil
	}
	first := b.Apply.FirstMiss.IsZero()
	if first {
		b.Apply.FirstMiss = e.At
	}
	twice := !first && !e.At.Before(ended.Add(rules.UnknownAfter))
	if !twice && !b.Apply.NotSent {
		return b, FollowNone, nil
	}
	if b.Cancel.Requested || b.ExpiryPassed(e.At) {
		return b.ended(), FollowNone, nil
	}
	return b, FollowReapply, nil
}

// applyEnded returns when the latest /apply ended, and false while it may
// still be under way.
func (b Bill) applyEnded(now time.Time, rules Rules) (time.Time, bool) {
	if !b.Apply.EndedAt.IsZero() {
		return b.Apply.EndedAt, true
	}
	end := b.Apply.StartedAt.Add(rules.CallTimeout)
	return end, !now.Before(end)
}

// ApplyUnderWay reports whether a call to /apply may not have ended yet: then
// nobody else may call it, and nothing is concluded from a query.
func (b Bill) ApplyUnderWay(now time.Time, rules Rules) bool {
	_, over := b.applyEnded(now, rules)
	return b.Apply.Tries > 0 && !over
}

func (b Bill) reportedWait(e Event, rules Rules) (Bill, Follow, error) {
	if b.Status.Final() {
		return b, FollowNone, nil
	}
	if b.Status == Created {
		b = b.learn(e.Report)
		b.Status = Wait
	}
	switch {
	case b.Cancel.Requested:
		return b, FollowCancel, nil
	case b.ActionLost() && !b.ApplyUnderWay(e.At, rules):
		if b.Apply.ActionAsked || b.ExpiryPassed(e.At) {
			return b, FollowCancel, nil
		}
		return b, FollowReapply, nil
	}
	return b, FollowNone, nil
}

func (b Bill) reportedPaid(e Event, rules Rules) (Bill, Follow, error) {
	switch {
	case b.Status == Success:
		return b, FollowNone, nil
	case !e.confirms(rules):
		return b.reportedUnconfirmed(e)
	}
	return b.paid(e)
}

// paid settles b, for ever. When it was paid, the notification may know better
// than the query that confirms it.
func (b Bill) paid(e Event) (Bill, Follow, error) {
	b = b.learn(e.Report)
	b.LatePayment = b.Status.Final()
	b.Status, b.SettledBy = Success, e.Source
	b.PayTime = e.Report.PayTime
	if b.PayTime.IsZero() {
		b.PayTime = b.Reported.PayTime
	}
	b.Reported = Reported{}
	b.ErrorCode = ""
	b.Cancel.Requested = false
	return b, FollowNone, nil
}

func (b Bill) reportedEnd(e Event) (Bill, Follow, error) {
	switch {
	case b.Status == Success:
		return b, FollowQuery, nil
	case b.Status.Final():
		return b, FollowNone, nil
	}
	b = b.learn(e.Report)
	switch {
	case e.Kind == EventReportedFail:
		b.Status = Fail
	case e.Kind == EventReportedExpiry || b.Cancel.Reason == CancelExpiry:
		b.Status = Expired
	default:
		b.Status = Canceled
	}
	b.SettledBy = e.Source
	if b.Cancel.Confirmed && b.Status != Fail {
		b.SettledBy = b.Cancel.Reason.settles()
	}
	b.ErrorCode = e.Report.ErrorCode
	b.Cancel.Requested = false
	return b, FollowNone, nil
}

func (b Bill) cancelAsked(e Event, rules Rules) (Bill, Follow, error) {
	switch {
	case b.Status == Success:
		return Bill{}, FollowNone, ErrAlreadyPaid
	case b.Status.Final():
		return b, FollowNone, nil
	case b.Status == Choose:
		b.Cancel = Cancelling{Reason: e.Reason, At: e.At}
		return b.ended(), FollowNone, nil
	}
	tooSoon := b.Cancel.Requested && e.At.Before(b.Cancel.At.Add(rules.MinInterval))
	if !b.Cancel.Requested || e.Reason.persists() && !b.Cancel.Reason.persists() {
		b.Cancel.Requested, b.Cancel.Reason = true, e.Reason
	}
	if tooSoon {
		return b, FollowNone, nil
	}
	b.Cancel.At = e.At
	if b.ApplyUnderWay(e.At, rules) {
		return b, FollowNone, nil // whoever calls /apply cancels once it has ended
	}
	return b, FollowCancel, nil
}

// cancelAnswered reads an answer of /cancel. Whatever it says, only a query
// tells what became of the money.
func (b Bill) cancelAnswered(e Event) (Bill, Follow, error) {
	if b.Status.Final() {
		return b, FollowNone, nil
	}
	switch e.Kind {
	case EventCancelDone:
		b.Cancel.Confirmed = true
	case EventCancelRefused:
		b.Cancel.Refusals++
		b.Cancel.Confirmed = false
		if b.Status == Wait && !b.Cancel.Reason.persists() {
			b.Cancel.Requested = false
		}
	default:
	}
	return b, FollowQuery, nil
}

// cancelStands ends a bill that the gateway said it cancelled, after a query
// that could have shown a payment did not.
func (b Bill) cancelStands() (Bill, Follow, error) {
	if b.Status.Final() || !b.Cancel.Confirmed {
		return b, FollowNone, nil
	}
	return b.ended(), FollowNone, nil
}

// forced ends b on an operator's word alone, and lays aside a payment that no
// query has confirmed. One that is confirmed later pays b all the same.
func (b Bill) forced() (Bill, Follow, error) {
	if b.Status == Success {
		return Bill{}, FollowNone, ErrForceRefused
	}
	b.Reported = Reported{}
	if !b.Status.Final() {
		b.Status, b.SettledBy = Canceled, ByOperator
		b.Cancel.Requested = false
	}
	return b, FollowNone, nil
}

// ended ends b unpaid: EXPIRED where its time was the reason, which it is
// where nobody asked for the end; else CANCELED.
func (b Bill) ended() Bill {
	if b.Cancel.Reason == "" {
		b.Cancel.Reason = CancelExpiry
	}
	b.Status, b.SettledBy = Canceled, b.Cancel.Reason.settles()
	if b.SettledBy == ByExpiry {
		b.Status = Expired
	}
	b.Cancel.Requested = false
	return b
}

// forgotten reduces b to its stub. What is open is never touched, nor what may
// yet turn out to be paid.
func (b Bill) forgotten(e Event) (Bill, Follow, error) {
	if !b.Status.Final() || b.Unconfirmed() {
		return Bill{}, FollowNone, ErrNotEnded
	}
	b = b.stub()
	b.ForgottenAt = e.At
	return b, FollowNone, nil
}

// learn takes over what a report tells besides the status, where b does not
// know it yet.
func (b Bill) learn(r Report) Bill {
	if b.BillCode == "" {
		b.BillCode = r.BillCode
	}
	if b.PaymentRequestID == "" {
		b.PaymentRequestID = r.PaymentRequestID
	}
	return b
}
