package qlink

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// The gateway's rows as they stand on the wire, and what callers get of them.

type payMethodFields struct {
	ServiceProvider text         `json:"serviceProvider"`
	Type            text         `json:"type"`
	Code            text         `json:"code"`
	Name            text         `json:"name"`
	ChannelCode     text         `json:"channelCode"`
	Desc            text         `json:"desc"`
	Country         text         `json:"country"`
	CurrencyList    currencyList `json:"currencyList"`
}

func (f *payMethodFields) method() PayMethod {
	return PayMethod{
		Type:            string(f.Type),
		Code:            string(firstOf(f.Code, f.ChannelCode)),
		Name:            string(firstOf(f.Name, f.Desc)),
		ServiceProvider: string(f.ServiceProvider),
		Country:         string(f.Country),
		Currencies:      f.CurrencyList,
	}
}

func firstOf(a, b text) text {
	if a != "" {
		return a
	}
	return b
}

// currencyList is a list, the JSON text of one, or words with commas between them. It is
// information only: what cannot be read is left out.
type currencyList []string

func (l *currencyList) UnmarshalJSON(value []byte) error {
	*l = nil
	if list := container(value); list != nil {
		var codes []string
		if json.Unmarshal(list, &codes) == nil {
			*l = codes
		}
		return nil
	}
	var s note
	if err := s.UnmarshalJSON(value); err != nil {
		return err
	}
	for code := range strings.SplitSeq(string(s), ",") {
		if code = strings.TrimSpace(code); code != "" {
			*l = append(*l, code)
		}
	}
	return nil
}

type applyFields struct {
	BillCode         text `json:"billCode"`
	PaymentRequestID text `json:"paymentRequestId"`
	ActionValue      text `json:"actionValue"`
	ErrorCode        note `json:"errorCode"`
	TradeUUID        text `json:"tradeUuid"`
	OrderCode        text `json:"orderCode"`
	Currency         text `json:"currency"`
}

func (f *applyFields) answer() ApplyAnswer {
	return ApplyAnswer{
		BillCode:         string(f.BillCode),
		PaymentRequestID: string(f.PaymentRequestID),
		ActionValue:      string(f.ActionValue),
		ErrorCode:        string(f.ErrorCode),
		TradeUUID:        string(f.TradeUUID),
		OrderCode:        string(f.OrderCode),
		Currency:         string(f.Currency),
	}
}

type payStatusFields struct {
	TradeUUID        text `json:"tradeUuid"`
	BillCode         text `json:"billCode"`
	PaymentRequestID text `json:"paymentRequestId"`
	OrderCode        text `json:"orderCode"`
	Status           text `json:"status"`
	PayTime          note `json:"payTime"`
	Currency         text `json:"currency"`
	ErrorCode        note `json:"errorCode"`
	Amount           note `json:"amount"`
}

func (f *payStatusFields) status(loc *time.Location) PayStatus {
	return PayStatus{
		TradeUUID:        string(f.TradeUUID),
		BillCode:         string(f.BillCode),
		PaymentRequestID: string(f.PaymentRequestID),
		OrderCode:        string(f.OrderCode),
		Status:           ParseStatus(string(f.Status)),
		PayTime:          parseTime(string(f.PayTime), loc),
		Currency:         string(f.Currency),
		ErrorCode:        string(f.ErrorCode),
		Amount:           string(f.Amount),
	}
}

type cancelFields struct {
	TradeUUID  text `json:"tradeUuid"`
	BillCode   text `json:"billCode"`
	Status     text `json:"status"`
	CancelTime note `json:"cancelTime"`
	ErrorCode  note `json:"errorCode"`
}

func (f *cancelFields) answer(loc *time.Location) CancelAnswer {
	return CancelAnswer{
		Status:     ParseCancelStatus(string(f.Status)),
		CancelTime: parseTime(string(f.CancelTime), loc),
		ErrorCode:  string(f.ErrorCode),
	}
}

// Interface guards: the decoder finds these methods by their signature alone.
var (
	_ json.Unmarshaler = (*text)(nil)
	_ json.Unmarshaler = (*note)(nil)
	_ json.Unmarshaler = (*currencyList)(nil)
)
