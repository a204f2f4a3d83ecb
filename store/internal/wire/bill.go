package wire

import "github.com/caddy-qlink/caddy-qlink/bill"

func (w *writer) bill(b *bill.Bill) {
	w.text(billID, b.ID)
	w.text(billLedger, b.Ledger)
	w.text(billAccount, b.Account)
	w.text(billShop, b.Shop)
	w.text(billOrderCode, b.OrderCode)
	w.integer(billAttempt, int64(b.Attempt))
	w.text(billStatus, string(b.Status))
	w.text(billAmount, string(b.Amount))
	w.text(billCurrency, string(b.Currency))
	w.text(billCountry, b.Country)
	w.instant(billCreatedAt, b.CreatedAt)
	w.instant(billUpdatedAt, b.UpdatedAt)
	w.instant(billExpiresAt, b.ExpiresAt)
	w.count(billVersion, b.Version)
	w.count(billRevision, b.Revision)
	w.flag(billLiveMode, b.LiveMode)
	w.payment(b)
	w.course(b)
}

// payment writes how the bill can be paid.
func (w *writer) payment(b *bill.Bill) {
	w.text(billPayType, b.PayType)
	w.text(billPayChannel, b.PayChannel)
	w.asked(billAsked, &b.Asked)
	w.flag(billChosen, b.Chosen)
	w.text(billRetryOf, b.RetryOf)
	w.text(billBillCode, b.BillCode)
	w.text(billPaymentRequestID, b.PaymentRequestID)
	w.action(billAction, &b.Action)
	w.text(billErrorCode, b.ErrorCode)
	w.text(billPayURL, b.PayURL)
	w.text(billClient, b.Client)
}

// course writes what has happened to the bill.
func (w *writer) course(b *bill.Bill) {
	w.instant(billSignedAt, b.SignedAt)
	w.instant(billPayTime, b.PayTime)
	w.applying(billApply, &b.Apply)
	w.cancelling(billCancel, &b.Cancel)
	w.reported(billReported, &b.Reported)
	w.flag(billLatePayment, b.LatePayment)
	w.flag(billRefundDue, b.RefundDue)
	w.text(billSettledBy, string(b.SettledBy))
	w.instant(billAskedAt, b.AskedAt)
	w.instant(billDue, b.Due)
	w.integer(billSilent, int64(b.Silent))
	w.integer(billAlarms, int64(b.Alarms))
	w.integer(billUnknowns, int64(b.Unknowns))
	w.flag(billWithdrawn, b.Withdrawn)
	w.instant(billResolvedAt, b.ResolvedAt)
	w.instant(billForgottenAt, b.ForgottenAt)
	w.count(billTold, b.Told)
}

func (r *reader) bill(b *bill.Bill) {
	for r.next() {
		switch r.number {
		case billID:
			b.ID = r.text()
		case billLedger:
			b.Ledger = r.text()
		case billAccount:
			b.Account = r.text()
		case billShop:
			b.Shop = r.text()
		case billOrderCode:
			b.OrderCode = r.text()
		case billAttempt:
			b.Attempt = r.small()
		case billStatus:
			b.Status = bill.Status(r.text())
		case billAmount:
			b.Amount = bill.Amount(r.text())
		case billCurrency:
			b.Currency = bill.Currency(r.text())
		case billCountry:
			b.Country = r.text()
		case billCreatedAt:
			b.CreatedAt = r.instant()
		case billUpdatedAt:
			b.UpdatedAt = r.instant()
		case billExpiresAt:
			b.ExpiresAt = r.instant()
		case billVersion:
			b.Version = r.count()
		case billRevision:
			b.Revision = r.count()
		case billLiveMode:
			b.LiveMode = r.flag()
		default:
			r.payment(b)
		}
	}
}

func (r *reader) payment(b *bill.Bill) {
	switch r.number {
	case billPayType:
		b.PayType = r.text()
	case billPayChannel:
		b.PayChannel = r.text()
	case billAsked:
		r.asked(&b.Asked)
	case billChosen:
		b.Chosen = r.flag()
	case billRetryOf:
		b.RetryOf = r.text()
	case billBillCode:
		b.BillCode = r.text()
	case billPaymentRequestID:
		b.PaymentRequestID = r.text()
	case billAction:
		r.action(&b.Action)
	case billErrorCode:
		b.ErrorCode = r.text()
	case billPayURL:
		b.PayURL = r.text()
	case billClient:
		b.Client = r.text()
	default:
		r.course(b)
	}
}

func (r *reader) course(b *bill.Bill) {
	switch r.number {
	case billSignedAt:
		b.SignedAt = r.instant()
	case billPayTime:
		b.PayTime = r.instant()
	case billApply:
		r.applying(&b.Apply)
	case billCancel:
		r.cancelling(&b.Cancel)
	case billReported:
		r.reported(&b.Reported)
	case billLatePayment:
		b.LatePayment = r.flag()
	case billRefundDue:
		b.RefundDue = r.flag()
	case billSettledBy:
		b.SettledBy = bill.Source(r.text())
	case billAskedAt:
		b.AskedAt = r.instant()
	case billDue:
		b.Due = r.instant()
	case billSilent:
		b.Silent = r.small()
	case billAlarms:
		b.Alarms = r.small()
	case billUnknowns:
		b.Unknowns = r.small()
	case billWithdrawn:
		b.Withdrawn = r.flag()
	case billResolvedAt:
		b.ResolvedAt = r.instant()
	case billForgottenAt:
		b.ForgottenAt = r.instant()
	case billTold:
		b.Told = r.count()
	default:
		r.skip()
	}
}
