package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// work is one operation on one account's bills with the store leased for it.
// Its context is not the caller's: what was begun at the gateway is written
// down even when the buyer has gone.
type work struct {
	engine  *Engine
	ctx     context.Context //nolint:containedctx // a work is one operation: its context lives and ends with it
	asking  context.Context //nolint:containedctx // likewise: of questions to the gateway, which may be given up
	store   bill.Store
	account *Account
	keeping bool            // nothing is cancelled: somebody wants to pay this very bill
	actor   string          // the operator whose act this is; "": nobody's
	caller  <-chan struct{} // closed when nobody waits for the answer any more
}

func (e *Engine) work(ctx context.Context, store bill.Store, account *Account) *work {
	lasting := context.WithoutCancel(ctx)
	return &work{engine: e, ctx: lasting, asking: lasting, store: store, account: account, caller: ctx.Done()}
}

func (w *work) now() time.Time { return w.engine.now() }

// now is the clock as bills hold it: UTC, without a monotonic reading, in the
// microseconds that every store keeps.
func (e *Engine) now() time.Time { return e.cfg.Now().UTC().Round(0).Truncate(time.Microsecond) }

func (w *work) rules() bill.Rules {
	return bill.Rules{
		UnknownAfter: w.engine.cfg.UnknownAfter,
		MinInterval:  w.engine.cfg.MinInterval,
		CallTimeout:  w.account.CallTimeout + callSlack,

		ConfirmSuccess: w.account.ConfirmSuccess,
	}
}

// callSlack is added to a call's time-out before the call counts as ended
// without trace: the process that made it may still be about to write.
const callSlack = 5 * time.Second

// record applies an event to the stored bill, together with what the event
// means for the order's other attempts, as one transaction. It starts over
// when somebody else changed the bill or its order meanwhile.
func (w *work) record(id string, e bill.Event) (bill.Step, error) {
	b, err := w.store.Bill(w.ctx, id)
	if err != nil {
		return bill.Step{}, fmt.Errorf("read bill %s: %w", id, err)
	}
	return w.recordOn(b, e)
}

// recordOn is record for who has just read the bill, or written it: whether it
// has changed since, the commit finds out.
func (w *work) recordOn(b bill.Bill, e bill.Event) (bill.Step, error) {
	e.Actor = w.actor
	for range maxRounds {
		step, err := w.recordOnce(b, e)
		if !errors.Is(err, bill.ErrConflict) {
			return step, err
		}
		if b, err = w.store.Bill(w.ctx, b.ID); err != nil {
			return bill.Step{}, fmt.Errorf("read bill %s: %w", step.Bill.ID, err)
		}
	}
	return bill.Step{}, fmt.Errorf("%w: bill %s kept changing", bill.ErrUnavailable, b.ID)
}

// recordOnce applies an event to the bill as it was read; bill.ErrConflict where
// that, or its order, has changed since.
func (w *work) recordOnce(b bill.Bill, e bill.Event) (bill.Step, error) {
	step, err := b.Next(e, w.rules())
	if err != nil {
		return bill.Step{Bill: b}, err
	}
	if overdue := !b.Due.IsZero() && !b.Due.After(w.now()); !overdue && !worthWriting(b, step) {
		step.Bill = b
		w.tell(step) // a full history is no reason to keep an alarm to ourselves
		return step, nil
	}
	step.Bill.Due = w.engine.due(step.Bill, w.now())
	change, err := w.change(b, &step)
	if err == nil {
		err = w.engine.commit(w.ctx, w.store, change)
	}
	if err != nil {
		return bill.Step{Bill: b}, fmt.Errorf("store %s of bill %s: %w", e.Kind, b.ID, err)
	}
	w.tell(step)
	w.engine.announce(change)
	w.engine.cancelSiblings(w.ctx, w.account, change.Bills[1:])
	return step, nil
}

// worthWriting is false for an event that neither changes anything nor has
// room left in the history.
func worthWriting(b bill.Bill, step bill.Step) bool {
	after := step.Bill
	after.Revision, after.Silent, after.Alarms = b.Revision, b.Silent, b.Alarms
	return step.Changed || step.Record || b != after
}

// change gathers one transaction: the bill first, then the order where its
// stub of the bill moved or the shop withdrew it, then the attempts that a
// payment puts an end to.
func (w *work) change(before bill.Bill, step *bill.Step) (change bill.Change, err error) {
	moved := before.Status != step.Bill.Status
	if moved || before.Unconfirmed() != step.Bill.Unconfirmed() || before.Withdrawn != step.Bill.Withdrawn {
		record, err := w.store.Order(w.ctx, step.Bill.OrderKey())
		if err != nil {
			return bill.Change{}, fmt.Errorf("read order of bill %s: %w", before.ID, err)
		}
		if reported, ok := record.Unconfirmed(); ok && step.Line.Kind == bill.EventChosen {
			return bill.Change{}, w.refuse(CodePreviousOpen, reported.ID) // it may be paid: another one is not to begin
		}
		if step.Bill.Status == bill.Success {
			if change.Bills, err = w.siblings(record, step); err != nil {
				return bill.Change{}, err
			}
		}
		for _, c := range change.Bills {
			record, _ = record.With(c.Bill)
		}
		record, _ = record.With(step.Bill)
		record.Revision++
		change.Order = &record
	}
	if moved {
		if err := w.tellEnds(&change, step.Bill); err != nil {
			return bill.Change{}, err
		}
	}
	own := bill.BillChange{Bill: step.Bill}
	if step.Record {
		own.Events = []bill.Event{step.Line}
	}
	change.Bills = append([]bill.BillChange{own}, change.Bills...)
	return change, nil
}

// tellEnds adds what the shop is told of the bills that end with a change of b,
// b's own end last: it supersedes those that it brought.
func (w *work) tellEnds(change *bill.Change, b bill.Bill) error {
	for _, c := range change.Bills {
		if err := w.tellEnd(change, c.Bill); err != nil {
			return err
		}
	}
	return w.tellEnd(change, b)
}

func (w *work) tellEnd(change *bill.Change, b bill.Bill) error {
	kind := b.NotificationType()
	if kind == "" {
		return nil
	}
	return w.tellShop(change, b, kind, *change.Order, nil)
}

// announce wakes the deliverer where a change brought it work.
func (e *Engine) announce(change bill.Change) {
	if len(change.Notifications) == 0 {
		return
	}
	select {
	case e.posted <- struct{}{}:
	default: // it has been told already
	}
}

// siblings asks for the end of every other open attempt of a paid order, and
// marks the payment as one to be given back where another one was made.
func (w *work) siblings(record bill.OrderRecord, step *bill.Step) ([]bill.BillChange, error) {
	var changes []bill.BillChange
	for _, a := range record.Attempts {
		switch {
		case a.ID == step.Bill.ID:
			continue
		case a.Status == bill.Success:
			step.Bill.RefundDue = true
			continue
		case a.Status.Final():
			continue
		}
		open, err := w.store.Bill(w.ctx, a.ID)
		if err != nil {
			return nil, fmt.Errorf("read bill %s: %w", a.ID, err)
		}
		end, err := open.Next(bill.Event{
			Kind: bill.EventCancelAsked, At: w.now(), Source: bill.ByModule, Reason: bill.CancelPaid,
		}, w.rules())
		if errors.Is(err, bill.ErrAlreadyPaid) {
			return nil, bill.ErrConflict // paid since the order was read
		}
		if err != nil {
			return nil, fmt.Errorf("end bill %s: %w", a.ID, err)
		}
		end.Bill.Due = w.engine.due(end.Bill, w.now())
		changes = append(changes, bill.BillChange{Bill: end.Bill, Events: []bill.Event{end.Line}})
	}
	return changes, nil
}

// tell logs and counts what an operator should know of a stored change.
func (w *work) tell(step bill.Step) {
	w.engine.alarm(&step)
	level, message := wordsFor(&step)
	written := w.engine.cfg.Logger.Check(level, message)
	if written == nil {
		return // nobody reads what is told at this level: no field is made
	}
	b, line := &step.Bill, &step.Line
	fields := []zap.Field{
		zap.String("bill", b.ID), zap.String("account", b.Account), zap.String("shop", b.Shop),
		zap.String("order", b.OrderCode), zap.String("event", string(line.Kind)), zap.String("source", string(line.Source)),
		zap.String("from", string(line.From)), zap.String("to", string(line.To)),
	}
	switch {
	case level == zap.ErrorLevel:
		fields = append(fields, zap.String("gateway_status", line.Report.Status),
			zap.Bool("refund_due", b.RefundDue), zap.String("message", line.Report.Message))
	case line.Kind == bill.EventForced:
		fields = append(fields, zap.String("reason", line.Note))
	case level == zap.WarnLevel:
		fields = append(fields, zap.String("gateway_status", line.Report.Status))
	}
	written.Write(fields...)
}

// wordsFor is how loudly a stored change is told, and in what words.
func wordsFor(step *bill.Step) (zapcore.Level, string) {
	b, line := &step.Bill, &step.Line
	switch {
	case step.Conflict, b.RefundDue && line.From != line.To, line.Complaint:
		return zap.ErrorLevel, "bill needs an operator"
	case line.Kind == bill.EventContradiction, line.Kind == bill.EventReportedOther:
		return zap.WarnLevel, "gateway report changes nothing"
	case line.Kind == bill.EventForced:
		return zap.WarnLevel, "an operator ended the bill by force"
	case line.From != line.To:
		return zap.InfoLevel, "bill changed"
	case line.Kind == bill.EventReportedPaid && b.Unconfirmed():
		return zap.InfoLevel, "payment reported, not confirmed yet"
	}
	return zap.DebugLevel, "bill event"
}
