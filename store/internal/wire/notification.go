package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func (w *writer) notification(n *bill.Notification) {
	w.text(notificationID, n.ID)
	w.text(notificationURL, n.URL)
	w.text(notificationLedger, n.Ledger)
	w.text(notificationAccount, n.Account)
	w.text(notificationShop, n.Shop)
	w.text(notificationOrderCode, n.OrderCode)
	w.text(notificationBill, n.Bill)
	w.text(notificationType, string(n.Type))
	w.text(notificationPayload, n.Payload)
	w.instant(notificationCreatedAt, n.CreatedAt)
	w.instant(notificationDue, n.Due)
	w.text(notificationState, string(n.State))
	w.integer(notificationTries, int64(n.Tries))
	w.instant(notificationTriedAt, n.TriedAt)
	w.text(notificationLastError, n.LastError)
	w.count(notificationRevision, n.Revision)
	w.count(notificationSequence, n.Sequence)
	w.instant(notificationRedeliveredAt, n.RedeliveredAt)
	w.instant(notificationBillCreatedAt, n.BillCreatedAt)
	for i := range n.Log {
		w.try(notificationLog, &n.Log[i])
	}
}

func (r *reader) notification(n *bill.Notification) {
	for r.next() {
		switch r.number {
		case notificationID:
			n.ID = r.text()
		case notificationURL:
			n.URL = r.text()
		case notificationLedger:
			n.Ledger = r.text()
		case notificationAccount:
			n.Account = r.text()
		case notificationShop:
			n.Shop = r.text()
		case notificationOrderCode:
			n.OrderCode = r.text()
		case notificationBill:
			n.Bill = r.text()
		case notificationType:
			n.Type = bill.NotificationType(r.text())
		case notificationPayload:
			n.Payload = r.text()
		case notificationCreatedAt:
			n.CreatedAt = r.instant()
		case notificationDue:
			n.Due = r.instant()
		case notificationState:
			n.State = bill.NotificationState(r.text())
		case notificationTries:
			n.Tries = r.small()
		case notificationTriedAt:
			n.TriedAt = r.instant()
		case notificationLastError:
			n.LastError = r.text()
		case notificationRevision:
			n.Revision = r.count()
		case notificationSequence:
			n.Sequence = r.count()
		case notificationRedeliveredAt:
			n.RedeliveredAt = r.instant()
		case notificationBillCreatedAt:
			n.BillCreatedAt = r.instant()
		case notificationLog:
			n.Log = append(n.Log, bill.Try{})
			r.try(&n.Log[len(n.Log)-1])
		default:
			r.skip()
		}
	}
}

func (w *writer) try(number protowire.Number, t *bill.Try) {
	at := w.begin(number)
	w.instant(tryAt, t.At)
	w.integer(tryTook, t.Took)
	w.integer(tryStatus, int64(t.Status))
	w.text(tryError, t.Error)
	w.endPresent(at)
}

func (r *reader) try(t *bill.Try) {
	outer := r.enterElement()
	for r.next() {
		switch r.number {
		case tryAt:
			t.At = r.instant()
		case tryTook:
			t.Took = r.integer()
		case tryStatus:
			t.Status = r.small()
		case tryError:
			t.Error = r.text()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}
