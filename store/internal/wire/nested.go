package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func (w *writer) asked(number protowire.Number, a *bill.Asked) {
	at := w.begin(number)
	w.flag(askedAnyChannel, a.AnyChannel)
	w.text(askedPayType, a.PayType)
	w.integer(askedExpiresIn, a.ExpiresIn)
	w.end(at)
}

func (r *reader) asked(a *bill.Asked) {
	outer := r.enter()
	for r.next() {
		switch r.number {
		case askedAnyChannel:
			a.AnyChannel = r.flag()
		case askedPayType:
			a.PayType = r.text()
		case askedExpiresIn:
			a.ExpiresIn = r.integer()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}

func (w *writer) action(number protowire.Number, a *bill.Action) {
	at := w.begin(number)
	w.text(actionKind, string(a.Kind))
	w.text(actionValue, a.Value)
	w.end(at)
}

func (r *reader) action(a *bill.Action) {
	outer := r.enter()
	for r.next() {
		switch r.number {
		case actionKind:
			a.Kind = bill.ActionKind(r.text())
		case actionValue:
			a.Value = r.text()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}

func (w *writer) applying(number protowire.Number, a *bill.Applying) {
	at := w.begin(number)
	w.integer(applyTries, int64(a.Tries))
	w.instant(applyStartedAt, a.StartedAt)
	w.instant(applyEndedAt, a.EndedAt)
	w.flag(applyAccepted, a.Accepted)
	w.flag(applyActionAsked, a.ActionAsked)
	w.flag(applyRefused, a.Refused)
	w.flag(applyNotSent, a.NotSent)
	w.instant(applyFirstMiss, a.FirstMiss)
	w.text(applyErrorCode, a.ErrorCode)
	w.flag(applyComplained, a.Complained)
	w.end(at)
}

func (r *reader) applying(a *bill.Applying) {
	outer := r.enter()
	for r.next() {
		switch r.number {
		case applyTries:
			a.Tries = r.small()
		case applyStartedAt:
			a.StartedAt = r.instant()
		case applyEndedAt:
			a.EndedAt = r.instant()
		case applyAccepted:
			a.Accepted = r.flag()
		case applyActionAsked:
			a.ActionAsked = r.flag()
		case applyRefused:
			a.Refused = r.flag()
		case applyNotSent:
			a.NotSent = r.flag()
		case applyFirstMiss:
			a.FirstMiss = r.instant()
		case applyErrorCode:
			a.ErrorCode = r.text()
		case applyComplained:
			a.Complained = r.flag()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}

func (w *writer) cancelling(number protowire.Number, c *bill.Cancelling) {
	at := w.begin(number)
	w.flag(cancelRequested, c.Requested)
	w.text(cancelReason, string(c.Reason))
	w.instant(cancelAt, c.At)
	w.flag(cancelConfirmed, c.Confirmed)
	w.integer(cancelRefusals, int64(c.Refusals))
	w.end(at)
}

func (r *reader) cancelling(c *bill.Cancelling) {
	outer := r.enter()
	for r.next() {
		switch r.number {
		case cancelRequested:
			c.Requested = r.flag()
		case cancelReason:
			c.Reason = bill.CancelReason(r.text())
		case cancelAt:
			c.At = r.instant()
		case cancelConfirmed:
			c.Confirmed = r.flag()
		case cancelRefusals:
			c.Refusals = r.small()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}

func (w *writer) reported(number protowire.Number, p *bill.Reported) {
	at := w.begin(number)
	w.instant(reportedAt, p.At)
	w.instant(reportedPayTime, p.PayTime)
	w.end(at)
}

func (r *reader) reported(p *bill.Reported) {
	outer := r.enter()
	for r.next() {
		switch r.number {
		case reportedAt:
			p.At = r.instant()
		case reportedPayTime:
			p.PayTime = r.instant()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}
