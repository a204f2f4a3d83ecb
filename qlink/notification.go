package qlink

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrNotNotification says that a body, even one with a genuine signature, is no payment
// notification.
var ErrNotNotification = errors.New("not a payment notification")

// Notification is the gateway's word on one payment (section 8). It has no amount: what
// was asked for was fixed by Apply.
type Notification struct {
	TradeUUID        string // never empty
	BillCode         string
	OrderCode        string
	PaymentRequestID string
	Status           Status    // Raw is never empty
	PayTime          time.Time // UTC; zero if missing or unreadable
	ErrorCode        string
}

// notificationFields are the fields of a notification, and those by which a message of
// another kind gives itself away.
type notificationFields struct {
	TradeUUID        string `json:"tradeUuid"`
	BillCode         text   `json:"billCode"`
	OrderCode        text   `json:"orderCode"`
	PaymentRequestID text   `json:"paymentRequestId"`
	Status           string `json:"status"`
	PayTime          note   `json:"payTime"`
	ErrorCode        note   `json:"errorCode"`

	CancelTime    note           `json:"cancelTime"`
	TradeUUIDList jsontext.Value `json:"tradeUuidList"`
	BillCodeList  jsontext.Value `json:"billCodeList"`
}

// ParseNotification reads the body of a notification whose signature has been verified.
// loc is the zone of its times; nil is Asia/Shanghai.
//
// The JSON must be strict (UTF-8, no name twice) and one object; unknown fields are
// ignored. An error wraps ErrNotNotification: so do our own requests when somebody sends
// them back at us with their genuine signature, and word of a request to cancel, whose SUCCESS
// means the opposite. A missing or unreadable payTime or errorCode is no error.
func ParseNotification(body []byte, loc *time.Location) (Notification, error) {
	var f notificationFields
	if err := json.Unmarshal(body, &f); err != nil {
		return Notification{}, fmt.Errorf("%w: %s", ErrNotNotification, err.Error())
	}
	if reason := f.foreign(); reason != "" {
		return Notification{}, fmt.Errorf("%w: %s", ErrNotNotification, reason)
	}
	return Notification{
		TradeUUID:        f.TradeUUID,
		BillCode:         string(f.BillCode),
		OrderCode:        string(f.OrderCode),
		PaymentRequestID: string(f.PaymentRequestID),
		Status:           ParseStatus(f.Status),
		PayTime:          parseTime(string(f.PayTime), loc),
		ErrorCode:        string(f.ErrorCode),
	}, nil
}

// foreign says why the message is of another kind, "" if it isn't. Every request of ours
// lacks the status; the client refuses a parameter that would add one (reservedNames).
func (f *notificationFields) foreign() string {
	switch {
	case !blank(f.TradeUUIDList) || !blank(f.BillCodeList):
		return "it asks for payment statuses"
	case f.CancelTime != "" && statusCode(f.Status) != StatusCanceled:
		return "it tells of a request to cancel"
	case f.TradeUUID == "":
		return "tradeUuid is missing"
	case f.Status == "":
		return "status is missing"
	default:
		return ""
	}
}
