package payment

import (
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// followLimits bound how often one operation does each thing that may follow
// another, so that no sequence of answers keeps it going: a later operation
// goes on from what is stored.
func followLimits() map[bill.Follow]int {
	return map[bill.Follow]int{bill.FollowQuery: 3, bill.FollowCancel: 1, bill.FollowReapply: 1}
}

// pursue does what has to follow a step, and what follows that, until nothing
// does. It returns the bill as last stored, also beside an error.
func (w *work) pursue(step bill.Step) (bill.Bill, error) {
	left := followLimits()
	if w.keeping {
		left[bill.FollowCancel] = 0 // it stays due: the workers see to it
	}
	for step.Follow != bill.FollowNone && left[step.Follow] > 0 {
		left[step.Follow]--
		before := step.Bill
		var err error
		switch step.Follow {
		case bill.FollowQuery:
			step, err = w.query(step.Bill)
		case bill.FollowCancel:
			step, err = w.callCancel(step.Bill)
		case bill.FollowReapply:
			step, err = w.reapply(step.Bill)
		case bill.FollowNone:
		}
		if err != nil {
			return before, err
		}
	}
	return step.Bill, nil
}

// apply calls /apply for a bill whose intent is stored, records the answer
// and does what follows from it.
func (w *work) apply(b bill.Bill, d bill.Details) (bill.Bill, error) {
	step, err := w.callApply(b, d)
	if err != nil {
		return b, err
	}
	return w.pursue(step)
}

func (w *work) callApply(b bill.Bill, d bill.Details) (bill.Step, error) {
	begun := w.now()
	answer, err := w.account.Gateway.Apply(w.ctx, applyRequest(b, d))
	e := w.answered(begun, bill.ByApply, bill.EventApplyAccepted)
	if err != nil {
		e = w.failedApply(e, err)
	} else {
		e.Report = bill.Report{
			TradeUUID: answer.TradeUUID, BillCode: answer.BillCode, OrderCode: answer.OrderCode,
			PaymentRequestID: answer.PaymentRequestID, Currency: answer.Currency,
			ActionValue: answer.ActionValue, ErrorCode: answer.ErrorCode,
		}
	}
	step, err := w.recordOn(b, e)
	if other, is := step.Bill.OtherAmount(); is && err == nil {
		w.engine.cfg.Metrics.Alarmed(w.account.Name, AlarmOtherAmount)
		w.engine.cfg.Logger.Error("the gateway's code asks for another amount than the bill: the page tells the buyer to check",
			zap.String("bill", b.ID), zap.String("amount", string(b.Amount)), zap.String("code_amount", cut(string(other))))
	}
	return step, err
}

// answered begins the event of a call to the gateway that has just ended.
func (w *work) answered(begun time.Time, source bill.Source, kind bill.EventKind) bill.Event {
	now := w.now()
	return bill.Event{At: now, Source: source, Kind: kind, Took: int64(now.Sub(begun))}
}

// failedApply sorts a failed call: only a plain refusal of the order counts as
// one, and only a connection that was never made is certain to have done
// nothing.
func (w *work) failedApply(e bill.Event, err error) bill.Event {
	e.Kind = bill.EventApplyUnclear
	e.Report, e.Complaint = reportOf(err)
	if failure, ok := errors.AsType[*qlink.Error](err); ok {
		switch failure.Kind {
		case qlink.KindRefused, qlink.KindInvalid:
			e.Kind = bill.EventApplyRefused
		case qlink.KindNotSent:
			e.Kind = bill.EventApplyNotSent
		case qlink.KindAuth, qlink.KindUnclear:
		}
	}
	w.engine.cfg.Logger.Warn("apply failed", zap.String("event", string(e.Kind)), zap.Error(err))
	return e
}

func reportOf(err error) (report bill.Report, complaint bool) {
	failure, ok := errors.AsType[*qlink.Error](err)
	if !ok {
		return bill.Report{Message: "no answer"}, false
	}
	return bill.Report{
		HTTPStatus: failure.HTTPStatus, Message: cut(failure.Message), ErrorCode: cut(failure.ErrorCode),
	}, failure.Kind == qlink.KindAuth
}

// cut bounds a stranger's words before they are kept.
func cut(text string) string {
	const most = 256
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}

func applyRequest(b bill.Bill, d bill.Details) qlink.ApplyRequest {
	items := make([]qlink.Item, 0, len(d.Items))
	for _, it := range d.Items {
		items = append(items, qlink.Item(it))
	}
	return qlink.ApplyRequest{
		PayTypeCode: b.PayType, PayChannelCode: b.PayChannel, TradeUUID: b.ID, TradeTime: b.CreatedAt,
		OrderCode: b.OrderCode, Country: b.Country, Currency: string(b.Currency), Amount: string(b.Amount),
		Description: d.Description, Metadata: d.Metadata, Items: items,
	}
}

// reapply calls /apply once more with the same tradeUuid, after storing that
// it will. Not while checkouts are closed: b's order may have been paid since
// the backup, by an attempt that nobody here knows of.
func (w *work) reapply(b bill.Bill) (bill.Step, error) {
	if !bill.CheckoutsClosed(w.store).IsZero() {
		return bill.Step{Bill: b}, nil
	}
	step, err := w.record(b.ID, bill.Event{Kind: bill.EventApplyStarted, At: w.now(), Source: bill.ByModule})
	if errors.Is(err, bill.ErrApplyForbidden) {
		return bill.Step{Bill: step.Bill}, nil
	}
	if err != nil {
		return bill.Step{}, err
	}
	details, err := w.store.Details(w.ctx, b.ID)
	if err != nil {
		return bill.Step{}, err
	}
	return w.callApply(step.Bill, details)
}

// callCancel calls /cancel. A bill that has not ended gets the wish stored
// first, where nobody has stored one yet.
func (w *work) callCancel(b bill.Bill) (bill.Step, error) {
	if !b.Status.Final() && !b.Cancel.Requested {
		reason := bill.CancelNoAction
		if b.ExpiryPassed(w.now()) {
			reason = bill.CancelExpiry
		}
		step, err := w.record(b.ID, bill.Event{Kind: bill.EventCancelAsked, At: w.now(), Source: bill.ByModule, Reason: reason})
		if errors.Is(err, bill.ErrAlreadyPaid) {
			return step, nil // paid since b was read: there is nothing to cancel
		}
		if err != nil || step.Follow != bill.FollowCancel {
			return step, err
		}
	}
	begun := w.now()
	answer, err := w.account.Gateway.Cancel(w.ctx, b.ID, b.BillCode)
	e := w.answered(begun, bill.ByCancel, bill.EventCancelUnclear)
	if err != nil {
		e.Report, e.Complaint = reportOf(err)
		return w.record(b.ID, e)
	}
	e.Kind = cancelKind(answer.Status)
	e.Report = bill.Report{Status: cut(answer.Status.Raw), ErrorCode: cut(answer.ErrorCode)}
	return w.record(b.ID, e)
}

func cancelKind(s qlink.CancelStatus) bill.EventKind {
	switch s.Code {
	case qlink.CancelDone:
		return bill.EventCancelDone
	case qlink.CancelPending:
		return bill.EventCancelPending
	case qlink.CancelRefused:
		return bill.EventCancelRefused
	case qlink.CancelUnknown:
	}
	return bill.EventCancelUnclear
}

// query asks /getPayStatus for this bill alone and records what it says. A
// cancel that the gateway has confirmed stands once a query could be made
// that does not show a payment.
func (w *work) query(b bill.Bill) (bill.Step, error) {
	asked := w.now() // what the gateway did not know, it did not know then
	answer, err := w.account.Gateway.GetPayStatus(w.asking, []string{b.ID}, nil)
	e, certain := w.queryEvent(b, answer, err, asked)
	if e.Kind == bill.EventNotKnown {
		e.At = asked
	}
	if !certain {
		return bill.Step{Bill: b}, nil
	}
	step, err := w.record(b.ID, e)
	if err != nil {
		return step, err
	}
	readable := step.Line.Kind != bill.EventContradiction && step.Line.Kind != bill.EventReportedOther
	if readable && step.Bill.Cancel.Confirmed && !step.Bill.Status.Final() && !step.Bill.Unconfirmed() {
		return w.record(b.ID, bill.Event{Kind: bill.EventCancelStands, At: w.now(), Source: bill.ByCancel})
	}
	return step, nil
}

// queryEvent sorts an answer of /getPayStatus, which was asked at the given
// time; false where nothing can be concluded from it.
func (w *work) queryEvent(b bill.Bill, answer qlink.StatusAnswer, err error, asked time.Time) (bill.Event, bool) {
	e := w.answered(asked, bill.ByQuery, "")
	firstRefused := b.Status == bill.Created && b.Apply.Refused && b.Apply.Tries == 1
	if err != nil {
		w.engine.cfg.Logger.Warn("query failed", zap.String("bill", b.ID), zap.Error(err))
		return e, false // an error shows nothing, not even what a refused /apply did
	}
	row, found := answer.Find(b.ID, b.BillCode)
	switch {
	case found:
		e.Kind = reportedKind(row.Status)
		e.Report = bill.Report{
			TradeUUID: row.TradeUUID, BillCode: row.BillCode, OrderCode: row.OrderCode,
			PaymentRequestID: row.PaymentRequestID, Currency: row.Currency,
			Status: cut(row.Status.Raw), PayTime: row.PayTime, ErrorCode: cut(row.ErrorCode),
		}
		return e, true
	case !answer.Empty:
		return e, false
	case firstRefused:
		e.Kind = bill.EventRefusalStands
	default:
		e.Kind = bill.EventNotKnown
	}
	return e, true
}

func reportedKind(s qlink.Status) bill.EventKind {
	switch s.Code {
	case qlink.StatusWait:
		return bill.EventReportedWait
	case qlink.StatusSuccess:
		return bill.EventReportedPaid
	case qlink.StatusFail:
		return bill.EventReportedFail
	case qlink.StatusCanceled:
		return bill.EventReportedCancel
	case qlink.StatusExpired:
		return bill.EventReportedExpiry
	case qlink.StatusUnknown:
	}
	return bill.EventReportedOther
}
