package handlers

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// billView is the public form of a bill. A time that does not apply, or is not
// known, is "", as every other text that is missing.
type billView struct {
	ID               string         `json:"id"`
	Account          string         `json:"account"`
	Shop             string         `json:"shop"`
	LiveMode         bool           `json:"livemode"`
	OrderCode        string         `json:"orderCode"`
	Attempt          int            `json:"attempt"`
	Status           bill.Status    `json:"status"`
	Final            bool           `json:"final"`
	Amount           bill.Amount    `json:"amount"`
	Currency         bill.Currency  `json:"currency"`
	Country          string         `json:"country"`
	PayType          string         `json:"payTypeCode"`
	PayChannel       string         `json:"payChannelCode"`
	BillCode         string         `json:"billCode"`
	PaymentRequestID string         `json:"paymentRequestId"`
	Action           actionView     `json:"action"`
	ErrorCode        string         `json:"errorCode"`
	CreatedAt        string         `json:"createdAt"`
	UpdatedAt        string         `json:"updatedAt"`
	ExpiresAt        string         `json:"expiresAt"`
	PayTime          string         `json:"payTime"`
	CancelRequested  bool           `json:"cancelRequested"`
	LatePayment      bool           `json:"latePayment"`
	RefundDue        bool           `json:"refundDue"`
	SettledBy        bill.Source    `json:"settledBy"`
	PayURL           string         `json:"payUrl"`
	Version          uint64         `json:"version"`
	Metadata         jsontext.Value `json:"metadata,omitzero"` // on signed endpoints alone
}

type actionView struct {
	Kind  bill.ActionKind `json:"kind"`
	Value string          `json:"value"`
}

// view makes the public form of a bill, without metadata.
func (h *Handler) view(r *http.Request, b bill.Bill) billView {
	return billView{
		ID: b.ID, Account: b.Account, Shop: b.Shop, LiveMode: b.LiveMode, OrderCode: b.OrderCode, Attempt: b.Attempt,
		Status: b.Status, Final: b.Status.Final(),
		Amount: b.Amount, Currency: b.Currency, Country: b.Country, PayType: b.PayType, PayChannel: b.PayChannel,
		BillCode: b.BillCode, PaymentRequestID: b.PaymentRequestID, Action: viewAction(b.Action), ErrorCode: b.ErrorCode,
		CreatedAt: timestamp(b.CreatedAt), UpdatedAt: timestamp(b.UpdatedAt), ExpiresAt: timestamp(b.ExpiresAt), PayTime: timestamp(b.PayTime),
		CancelRequested: b.Cancel.Requested, LatePayment: b.LatePayment, RefundDue: b.RefundDue, SettledBy: b.SettledBy,
		PayURL: h.payURL(r, b.ID), Version: b.Version,
	}
}

func viewAction(a bill.Action) actionView {
	if a.Kind == "" {
		a.Kind = bill.ActionNone
	}
	return actionView{Kind: a.Kind, Value: a.Value}
}

// timestamp writes RFC 3339 in UTC, and nothing for the zero time.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// orderView is an order as its shop is told of it; its first fields are those
// of a notification's "order".
type orderView struct {
	Paid      bool       `json:"paid"`
	PaidBill  string     `json:"paidBill"`
	OpenBill  string     `json:"openBill"`
	OrderCode string     `json:"orderCode"`
	Account   string     `json:"account"`
	Shop      string     `json:"shop"`
	Bills     []billView `json:"bills"` // newest first
}
