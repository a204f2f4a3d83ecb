package sandbox

import (
	"net/http"
	"strings"
	"testing"
)

func TestControlErrorsSayWhatIsWrong(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	g.apply("u1", "O1")
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/payments/nobody", "", 404, "unknown_payment"},
		{"POST", "/payments/nobody/pay", "", 404, "unknown_payment"},
		{"POST", "/payments/u1/refund", "", 404, "pay, fail, expire, cancel"},
		{"POST", "/payments/u1/pay", `{"slient":true}`, 400, "slient"},
		{"POST", "/payments/u1/pay", `{"silent":`, 400, "bad_request"},
		{"POST", "/payments/u1/webhook", ``, 409, "no_webhook"},
		{"POST", "/payments/u1/webhook", `{"duplicate":1000}`, 400, "duplicate"},
		{"POST", "/payments/u1/webhook", `{"delay":"soon"}`, 400, "soon"},
		{"GET", "/payments/u1?wait=soon", "", 400, "soon"},
		{"POST", "/faults", ``, 400, "array of faults"},
		{"POST", "/faults", `{"fault":"explode"}`, 400, "explode"},
		{"POST", "/faults", `[{"fault":"delay"},{"fault":"delay","operation":"refund"}]`, 400, "fault 2"},
		{"POST", "/faults", `{"fault":"envelope"}`, 400, "beside"},
		{"POST", "/faults", `{"fault":"status","status":99}`, 400, "99"},
		{"POST", "/faults", `{"fault":"report"}`, 400, "answer"},
		{"POST", "/faults", `{"fault":"wrong_bill","field":"amount"}`, 400, "amount"},
		{"POST", "/faults", `{"fault":"delay","tiems":2}`, 400, "tiems"},
		{"DELETE", "/faults/f-none", "", 404, "unknown_fault"},
		{"POST", "/settings", `{"repeat":"maybe"}`, 400, "repeat"},
		{"POST", "/settings", `{"webhooks":"eat"}`, 400, "webhooks"},
		{"PUT", "/settings", `{}`, 404, "PUT"},
		{"GET", "/nothing", "", 404, "unknown_endpoint"},
		{"POST", "/settings", `{"repeat":"` + strings.Repeat("x", maxControlBody) + `"}`, 413, "too_large"},
	} {
		r := g.control(c.method, c.path, c.body, c.status)
		if !strings.Contains(r.body, c.want) || r.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %s, want %q", c.method, c.path, r.body, c.want)
		}
	}
	if s := g.s.snapshot(t); len(s.Faults) != 0 || s.Settings != (Settings{}) {
		t.Errorf("a refused request changed %+v", s)
	}
}

func TestSettingsAreLaidOverTheConfigurationAndTakenBack(t *testing.T) {
	g := newGateway(t, &Sandbox{Repeat: "answer"})
	var now Settings
	g.control(http.MethodPost, "/settings", `{"envelope":"data"}`, http.StatusOK)
	g.control(http.MethodPost, "/settings", `{"webhooks":"lose"}`, http.StatusOK).into(t, &now)
	if now.Repeat != "answer" || now.Envelope != "data" || now.Webhooks != WebhooksLose {
		t.Errorf("%+v", now)
	}
	g.control(http.MethodDelete, "/settings", "", http.StatusOK)
	now = Settings{}
	g.control(http.MethodGet, "/settings", "", http.StatusOK).into(t, &now)
	if now.Envelope != "beside" || now.Webhooks != WebhooksNormal {
		t.Errorf("%+v", now)
	}
}

func TestOneFaultCanBeDeleted(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	var added []Fault
	g.control(http.MethodPost, "/faults", `[{"fault":"delay"},{"fault":"empty"}]`, http.StatusCreated).into(t, &added)
	g.control(http.MethodDelete, "/faults/"+added[0].ID, "", http.StatusNoContent)
	var left []Fault
	g.control(http.MethodGet, "/faults", "", http.StatusOK).into(t, &left)
	if len(left) != 1 || left[0].Fault != FaultEmpty {
		t.Errorf("%+v", left)
	}
}

func TestTheLedgerTellsEveryCallOfAPayment(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	g.apply("u1", "O1")
	g.apply("u2", "O1") // another attempt of the order
	g.status("u1")
	g.call(opStatus, `{"tradeUuidList":[]}`)
	var s Snapshot
	g.control(http.MethodGet, "/ledger", "", http.StatusOK).into(t, &s)
	if len(s.Calls) != 4 || len(s.Payments) != 2 || len(s.Payments[0].Calls) != 2 || len(s.Payments[1].Calls) != 1 {
		t.Fatalf("%+v", s)
	}
	if c := s.Calls[3]; c.Verdict == accepted || !strings.Contains(c.Answer, "tradeUuidList") {
		t.Errorf("%+v", c)
	}
	var newest PaymentRecord
	g.control(http.MethodGet, "/payments/O1", "", http.StatusOK).into(t, &newest)
	if newest.TradeUUID != "u2" {
		t.Errorf("an order code means its newest payment, not %s", newest.TradeUUID)
	}
}
