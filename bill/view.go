package bill

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// View is the public form of a bill, on every endpoint and in every
// notification. A time that does not apply, or is not known, is "", as every
// other text that is missing. AppendView writes the same.
type View struct {
	ID               string         `json:"id"`
	Account          string         `json:"account"`
	Shop             string         `json:"shop"`
	LiveMode         bool           `json:"livemode"`
	OrderCode        string         `json:"orderCode"`
	Attempt          int            `json:"attempt"`
	Status           Status         `json:"status"`
	Final            bool           `json:"final"`
	Amount           Amount         `json:"amount"`
	Currency         Currency       `json:"currency"`
	Country          string         `json:"country"`
	PayType          string         `json:"payTypeCode"`
	PayChannel       string         `json:"payChannelCode"`
	BillCode         string         `json:"billCode"`
	PaymentRequestID string         `json:"paymentRequestId"`
	Action           ActionView     `json:"action"`
	ErrorCode        string         `json:"errorCode"`
	CreatedAt        string         `json:"createdAt"` // this and the times below: RFC 3339 in UTC
	UpdatedAt        string         `json:"updatedAt"`
	ExpiresAt        string         `json:"expiresAt"`
	PayTime          string         `json:"payTime"`
	CancelRequested  bool           `json:"cancelRequested"`
	LatePayment      bool           `json:"latePayment"`
	RefundDue        bool           `json:"refundDue"`
	SettledBy        Source         `json:"settledBy"`
	PayURL           string         `json:"payUrl"`
	Version          uint64         `json:"version"`
	Metadata         jsontext.Value `json:"metadata,omitzero"` // where only the shop reads it
}

// ActionView is the public form of an action.
type ActionView struct {
	Kind  ActionKind `json:"kind"`
	Value string     `json:"value"`
}

// View returns the public form of b, without metadata. payURL is the address
// of its page.
func (b Bill) View(payURL string) View {
	return View{
		ID: b.ID, Account: b.Account, Shop: b.Shop, LiveMode: b.LiveMode, OrderCode: b.OrderCode, Attempt: b.Attempt,
		Status: b.Status, Final: b.Status.Final(),
		Amount: b.Amount, Currency: b.Currency, Country: b.Country, PayType: b.PayType, PayChannel: b.PayChannel,
		BillCode: b.BillCode, PaymentRequestID: b.PaymentRequestID, Action: b.Action.view(), ErrorCode: b.ErrorCode,
		CreatedAt: Timestamp(b.CreatedAt), UpdatedAt: Timestamp(b.UpdatedAt), ExpiresAt: Timestamp(b.ExpiresAt), PayTime: Timestamp(b.PayTime),
		CancelRequested: b.Cancel.Requested, LatePayment: b.LatePayment, RefundDue: b.RefundDue, SettledBy: b.SettledBy,
		PayURL: payURL, Version: b.Version,
	}
}

func (a Action) view() ActionView {
	if a.Kind == "" {
		a.Kind = ActionNone
	}
	return ActionView(a)
}

// Timestamp writes a time as every JSON form has it: RFC 3339 in UTC, and nothing
// for the zero time.
func Timestamp(t time.Time) string {
	return string(appendTimestamp(nil, t))
}

func appendTimestamp(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	return t.UTC().AppendFormat(dst, time.RFC3339Nano)
}
