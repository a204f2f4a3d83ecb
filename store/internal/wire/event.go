package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func (w *writer) event(e *bill.Event) {
	w.text(eventKind, string(e.Kind))
	w.instant(eventAt, e.At)
	w.text(eventSource, string(e.Source))
	w.text(eventFrom, string(e.From))
	w.text(eventTo, string(e.To))
	w.count(eventVersion, e.Version)
	w.text(eventReason, string(e.Reason))
	w.text(eventNote, e.Note)
	w.report(eventReport, &e.Report)
	w.text(eventActor, e.Actor)
	w.integer(eventTook, e.Took)
	w.way(eventWay, &e.Way)
	w.instant(eventExpiresAt, e.ExpiresAt)
	w.flag(eventComplaint, e.Complaint)
}

func (r *reader) event(e *bill.Event) {
	for r.next() {
		switch r.number {
		case eventKind:
			e.Kind = bill.EventKind(r.text())
		case eventAt:
			e.At = r.instant()
		case eventSource:
			e.Source = bill.Source(r.text())
		case eventFrom:
			e.From = bill.Status(r.text())
		case eventTo:
			e.To = bill.Status(r.text())
		case eventVersion:
			e.Version = r.count()
		case eventReason:
			e.Reason = bill.CancelReason(r.text())
		case eventNote:
			e.Note = r.text()
		case eventReport:
			r.report(&e.Report)
		case eventActor:
			e.Actor = r.text()
		case eventTook:
			e.Took = r.integer()
		case eventWay:
			r.way(&e.Way)
		case eventExpiresAt:
			e.ExpiresAt = r.instant()
		case eventComplaint:
			e.Complaint = r.flag()
		default:
			r.skip()
		}
	}
}

func (w *writer) report(number protowire.Number, p *bill.Report) {
	at := w.begin(number)
	w.text(reportTradeUUID, p.TradeUUID)
	w.text(reportBillCode, p.BillCode)
	w.text(reportOrderCode, p.OrderCode)
	w.text(reportPaymentRequestID, p.PaymentRequestID)
	w.text(reportCurrency, p.Currency)
	w.text(reportStatus, p.Status)
	w.instant(reportPayTime, p.PayTime)
	w.text(reportErrorCode, p.ErrorCode)
	w.text(reportMessage, p.Message)
	w.integer(reportHTTPStatus, int64(p.HTTPStatus))
	w.text(reportBodySHA256, p.BodySHA256)
	w.end(at)
}

func (r *reader) report(p *bill.Report) {
	outer := r.enter()
	for r.next() {
		switch r.number {
		case reportTradeUUID:
			p.TradeUUID = r.text()
		case reportBillCode:
			p.BillCode = r.text()
		case reportOrderCode:
			p.OrderCode = r.text()
		case reportPaymentRequestID:
			p.PaymentRequestID = r.text()
		case reportCurrency:
			p.Currency = r.text()
		case reportStatus:
			p.Status = r.text()
		case reportPayTime:
			p.PayTime = r.instant()
		case reportErrorCode:
			p.ErrorCode = r.text()
		case reportMessage:
			p.Message = r.text()
		case reportHTTPStatus:
			p.HTTPStatus = r.small()
		case reportBodySHA256:
			p.BodySHA256 = r.text()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}

func (w *writer) way(number protowire.Number, y *bill.Way) {
	at := w.begin(number)
	w.text(wayPayType, y.PayType)
	w.text(wayPayChannel, y.PayChannel)
	w.end(at)
}

func (r *reader) way(y *bill.Way) {
	outer := r.enter()
	for r.next() {
		switch r.number {
		case wayPayType:
			y.PayType = r.text()
		case wayPayChannel:
			y.PayChannel = r.text()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}

func (w *writer) orphan(o *bill.Orphan) {
	w.text(orphanLedger, o.Ledger)
	w.text(orphanID, o.ID)
	w.instant(orphanAt, o.At)
	w.report(orphanReport, &o.Report)
	if o.Resolved != nil {
		w.resolution(orphanResolved, o.Resolved)
	}
}

func (r *reader) orphan(o *bill.Orphan) {
	for r.next() {
		switch r.number {
		case orphanLedger:
			o.Ledger = r.text()
		case orphanID:
			o.ID = r.text()
		case orphanAt:
			o.At = r.instant()
		case orphanReport:
			r.report(&o.Report)
		case orphanResolved:
			o.Resolved = new(bill.Resolution)
			r.resolution(o.Resolved)
		default:
			r.skip()
		}
	}
}

func (w *writer) resolution(number protowire.Number, n *bill.Resolution) {
	at := w.begin(number)
	w.instant(resolutionAt, n.At)
	w.text(resolutionNote, n.Note)
	w.text(resolutionActor, n.Actor)
	w.endPresent(at)
}

func (r *reader) resolution(n *bill.Resolution) {
	outer := r.enter()
	for r.next() {
		switch r.number {
		case resolutionAt:
			n.At = r.instant()
		case resolutionNote:
			n.Note = r.text()
		case resolutionActor:
			n.Actor = r.text()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}
