package sandbox

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The payloads of the four operations (document, sections 3 to 6).
type (
	accountRow struct {
		ServiceProvider string   `json:"serviceProvider"`
		Type            string   `json:"type"`
		Code            string   `json:"code,omitzero"`
		Name            string   `json:"name,omitzero"`
		ChannelCode     string   `json:"channelCode,omitzero"`  // global edition, as all below
		Desc            string   `json:"desc,omitzero"`         //
		Country         string   `json:"country,omitzero"`      //
		CurrencyList    []string `json:"currencyList,omitzero"` //
	}
	applyRow struct {
		BillCode         string `json:"billCode"`
		PaymentRequestID string `json:"paymentRequestId"`
		ActionValue      string `json:"actionValue,omitzero"`
		ErrorCode        string `json:"errorCode"`
	}
	statusRow struct {
		TradeUUID        string `json:"tradeUuid"`
		BillCode         string `json:"billCode"`
		PaymentRequestID string `json:"paymentRequestId"`
		OrderCode        string `json:"orderCode"`
		Status           string `json:"status"`
		PayTime          string `json:"payTime"`
		Currency         string `json:"currency"`
		ErrorCode        string `json:"errorCode"`
	}
	cancelRow struct {
		Status     string `json:"status"`
		CancelTime string `json:"cancelTime"`
		ErrorCode  string `json:"errorCode"`
	}
)

// refusal is a success:false. A status of zero is 200: the gateway's refusals
// are business, not HTTP.
type refusal struct {
	status        int
	code, message string
}

// outcome is what a call gets.
type outcome struct {
	status      int
	contentType string
	body        []byte
	delay       Duration
	cut         string // see Call.Cut
	await       string // the billCode whose webhooks go first
}

func refused(r *refusal) outcome {
	status := r.status
	if status == 0 {
		status = http.StatusOK
	}
	return outcome{status: status, contentType: "application/json", body: marshal(struct {
		Success   bool   `json:"success"`
		Message   string `json:"message"`
		ErrorCode string `json:"errorCode"`
	}{false, strings.ToValidUTF8(r.message, "\uFFFD"), r.code})}
}

func succeeded(envelope string, payload any) outcome {
	return outcome{status: http.StatusOK, contentType: "application/json", body: enveloped(envelope, payload)}
}

// enveloped writes a payload, nil for none, in one of the forms that the
// document and its other versions lead one to expect.
func enveloped(envelope string, payload any) []byte {
	inner := []byte("[]")
	if payload != nil {
		inner = marshal(payload)
	}
	switch envelope {
	case "result", "data", "content":
		return marshal(map[string]any{"success": true, "message": "", envelope: jsontext.Value(inner)}, json.Deterministic(true))
	case "content_text":
		return marshal(map[string]any{"success": true, "message": "", "content": string(inner)}, json.Deterministic(true))
	case "beside":
		if payload == nil {
			return []byte(`{"success":true}`)
		}
		// Nothing can stand beside the members of an array: it stays bare, as
		// the document shows it.
		if rest, ok := bytes.CutPrefix(inner, []byte("{")); ok {
			return append([]byte(`{"success":true,`), rest...)
		}
	}
	return inner
}

// marshal writes values made here of valid text, which cannot fail.
func marshal(v any, opts ...json.Options) []byte {
	b, err := json.Marshal(v, opts...)
	if err != nil {
		panic("sandbox: " + err.Error())
	}
	return b
}

// bend applies a fault to a payload.
func bend(f Fault, payload any) any {
	switch f.Fault {
	case FaultEmpty:
		return nil
	case FaultWrongBill:
		return wrongBill(f.Field, payload)
	case FaultReport:
		if rows, ok := payload.([]statusRow); ok {
			for i := range rows {
				rows[i].Status, rows[i].ErrorCode = f.Answer, f.ErrorCode
			}
		}
	default:
	}
	return payload
}

// wrongBill has an answer name a bill that nobody asked for.
func wrongBill(field string, payload any) any {
	wrong := func(name string, v *string) {
		if field == name || field == "all" || field == "" {
			*v = "OTHER-" + *v
		}
	}
	switch rows := payload.(type) {
	case applyRow:
		wrong("billCode", &rows.BillCode)
		return rows
	case []statusRow:
		for i := range rows {
			wrong("tradeUuid", &rows[i].TradeUUID)
			wrong("billCode", &rows[i].BillCode)
			wrong("orderCode", &rows[i].OrderCode)
			if field == "currency" || field == "all" || field == "" {
				rows[i].Currency = "XTS" // the code ISO 4217 keeps for tests
			}
		}
	}
	return payload
}

// spoil applies a fault to a finished answer.
func spoil(f Fault, o outcome) outcome {
	switch f.Fault {
	case FaultDelay:
		o.delay = f.Delay
	case FaultDropAnswer:
		o.cut = "answer"
	case FaultTruncate:
		o.cut = "half"
	case FaultEmpty:
		if f.Body == "none" {
			o.body = nil
		}
	case FaultStatus, FaultHTML:
		return replaced(f)
	case FaultBadJSON:
		o.body = badJSON(f.Field, o.body)
	default:
	}
	return o
}

// replaced is the answer of something between gateway and merchant.
func replaced(f Fault) outcome {
	o := outcome{status: f.Status, contentType: "text/plain; charset=utf-8", body: []byte(f.Body)}
	if o.status == 0 {
		o.status = http.StatusOK
	}
	switch {
	case f.Fault == FaultHTML:
		o.contentType = "text/html; charset=utf-8"
		if f.Body == "" {
			o.body = []byte("<!doctype html><title>Gateway</title><h1>The system is being upgraded</h1>")
		}
	case strings.HasPrefix(f.Body, "{") || strings.HasPrefix(f.Body, "["):
		o.contentType = "application/json"
	case f.Body == "":
		o.body = []byte(http.StatusText(o.status))
	}
	return o
}

func badJSON(field string, body []byte) []byte {
	switch field {
	case "duplicate":
		return []byte(`{"success":false,"success":true,"status":"FAIL","status":"SUCCESS","billCode":"A","billCode":"B"}`)
	case "utf8":
		return []byte("{\"success\":true,\"billCode\":\"\xff\xfe\",\"status\":\"SUCCESS\"}")
	default:
		return append(bytes.Clone(body), ',', '}')
	}
}
