package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

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
	e.Actor = w.actor
	for range maxRounds {
		b, err := w.store.Bill(w.ctx, id)
		if err != nil {
			return bill.Step{}, fmt.Errorf("read bill %s: %w", id, err)
		}
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
		if err == nil {
			w.tell(step)
			w.engine.announce(change)
			w.engine.cancelSiblings(w.ctx, w.account, change.Bills[1:])
			return step, nil
		}
		if !errors.Is(err, bill.ErrConflict) {
			return bill.Step{Bill: b}, fmt.Errorf("store %s of bill %s: %w", e.Kind, id, err)
		}
	}
	return bill.Step{}, fmt.Errorf("%w: bill %s kept changing", bill.ErrUnavailable, id)
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
	for _, c := range append(slices.Clone(change.Bills), bill.BillChange{Bill: b}) {
		if kind := c.Bill.NotificationType(); kind != "" {
			if err := w.tellShop(change, c.Bill, kind, *change.Order, nil); err != nil {
				return err
			}
		}
	}
	return nil
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
	w.engine.alarm(step)
	b, line := step.Bill, step.Line
	fields := []zap.Field{
		zap.String("bill", b.ID), zap.String("account", b.Account), zap.String("shop", b.Shop),
		zap.String("order", b.OrderCode), zap.String("event", string(line.Kind)), zap.String("source", string(line.Source)),
		zap.String("from", string(line.From)), zap.String("to", string(line.To)),
	}
	logger := w.engine.cfg.Logger
	switch {
	case step.Conflict, b.RefundDue && line.From != line.To, line.Complaint:
		logger.Error("bill needs an operator", append(fields, zap.String("gateway_status", line.Report.Status),
			zap.Bool("refund_due", b.RefundDue), zap.String("message", line.Report.Message))...)
	case line.Kind == bill.EventContradiction, line.Kind == bill.EventReportedOther:
		logger.Warn("gateway report changes nothing", append(fields, zap.String("gateway_status", line.Report.Status))...)
	case line.Kind == bill.EventForced:
		logger.Warn("an operator ended the bill by force", append(fields, zap.String("reason", line.Note))...)
	case line.From != line.To:
		logger.Info("bill changed", fields...)
	case line.Kind == bill.EventReportedPaid && b.Unconfirmed():
		logger.Info("payment reported, not confirmed yet", fields...)
	default:
		logger.Debug("bill event", fields...)
	}
}
