package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func (w *writer) order(o *bill.OrderRecord) {
	for i := range o.Attempts {
		w.attempt(orderAttempts, &o.Attempts[i])
	}
	w.count(orderRevision, o.Revision)
}

func (r *reader) order(o *bill.OrderRecord) {
	for r.next() {
		switch r.number {
		case orderAttempts:
			o.Attempts = append(o.Attempts, bill.Attempt{})
			r.attempt(&o.Attempts[len(o.Attempts)-1])
		case orderRevision:
			o.Revision = r.count()
		default:
			r.skip()
		}
	}
}

func (w *writer) attempt(number protowire.Number, a *bill.Attempt) {
	at := w.begin(number)
	w.text(attemptID, a.ID)
	w.text(attemptStatus, string(a.Status))
	w.text(attemptAmount, string(a.Amount))
	w.text(attemptCurrency, string(a.Currency))
	w.flag(attemptUnconfirmed, a.Unconfirmed)
	w.endPresent(at)
}

func (r *reader) attempt(a *bill.Attempt) {
	outer := r.enterElement()
	for r.next() {
		switch r.number {
		case attemptID:
			a.ID = r.text()
		case attemptStatus:
			a.Status = bill.Status(r.text())
		case attemptAmount:
			a.Amount = bill.Amount(r.text())
		case attemptCurrency:
			a.Currency = bill.Currency(r.text())
		case attemptUnconfirmed:
			a.Unconfirmed = r.flag()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}

func (w *writer) details(d *bill.Details) {
	w.text(detailsDescription, d.Description)
	w.text(detailsMetadata, d.Metadata)
	for i := range d.Items {
		w.item(detailsItems, &d.Items[i])
	}
	w.text(detailsReturnURL, d.ReturnURL)
}

func (r *reader) details(d *bill.Details) {
	for r.next() {
		switch r.number {
		case detailsDescription:
			d.Description = r.text()
		case detailsMetadata:
			d.Metadata = r.text()
		case detailsItems:
			d.Items = append(d.Items, bill.Item{})
			r.item(&d.Items[len(d.Items)-1])
		case detailsReturnURL:
			d.ReturnURL = r.text()
		default:
			r.skip()
		}
	}
}

func (w *writer) item(number protowire.Number, i *bill.Item) {
	at := w.begin(number)
	w.text(itemSKUCode, i.SKUCode)
	w.text(itemSKUName, i.SKUName)
	w.text(itemQuantity, i.Quantity)
	w.text(itemURL, i.URL)
	w.text(itemImageURL, i.ImageURL)
	w.text(itemCategory, i.Category)
	w.text(itemSubcategory, i.Subcategory)
	w.text(itemDescription, i.Description)
	w.text(itemMetadata, i.Metadata)
	w.endPresent(at)
}

func (r *reader) item(i *bill.Item) {
	outer := r.enterElement()
	for r.next() {
		switch r.number {
		case itemSKUCode:
			i.SKUCode = r.text()
		case itemSKUName:
			i.SKUName = r.text()
		case itemQuantity:
			i.Quantity = r.text()
		case itemURL:
			i.URL = r.text()
		case itemImageURL:
			i.ImageURL = r.text()
		case itemCategory:
			i.Category = r.text()
		case itemSubcategory:
			i.Subcategory = r.text()
		case itemDescription:
			i.Description = r.text()
		case itemMetadata:
			i.Metadata = r.text()
		default:
			r.skip()
		}
	}
	r.leave(outer)
}

func (w *writer) idempotency(i *bill.Idempotency) {
	w.text(idempotencyRequest, i.Request)
	w.text(idempotencyBill, i.Bill)
	w.instant(idempotencyExpiresAt, i.ExpiresAt)
}

func (r *reader) idempotency(i *bill.Idempotency) {
	for r.next() {
		switch r.number {
		case idempotencyRequest:
			i.Request = r.text()
		case idempotencyBill:
			i.Bill = r.text()
		case idempotencyExpiresAt:
			i.ExpiresAt = r.instant()
		default:
			r.skip()
		}
	}
}
