package sandbox

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func TestEachFaultGoesWrongOnceInItsOwnWay(t *testing.T) {
	for _, c := range []struct {
		name, fault, operation string
		cut, made              bool // is the connection cut; was the apply done
		check                  func(reply) bool
	}{
		{"delay", `{"fault":"delay","delay":"1ms"}`, opApply, false, true, func(r reply) bool { return r.status == 200 }},
		{"drop_answer", `{"fault":"drop_answer"}`, opApply, true, true, nil},
		{"drop_request", `{"fault":"drop_request"}`, opApply, true, false, nil},
		{"truncate", `{"fault":"truncate"}`, opApply, true, true, nil},
		{"status", `{"fault":"status"}`, opApply, false, false, func(r reply) bool { return r.status == 503 }},
		{"status, done", `{"fault":"status","status":502,"processed":true}`, opApply, false, true, func(r reply) bool { return r.status == 502 }},
		{"refuse", `{"fault":"refuse","errorCode":"NO_FUNDS","message":"no"}`, opApply, false, false, func(r reply) bool {
			return strings.Contains(r.body, `"success":false`) && strings.Contains(r.body, "NO_FUNDS")
		}},
		{"envelope", `{"fault":"envelope","envelope":"data"}`, opApply, false, true, func(r reply) bool { return strings.HasPrefix(r.body, `{"data":{"billCode"`) }},
		{"html", `{"fault":"html"}`, opApply, false, false, func(r reply) bool {
			return r.status == 200 && strings.HasPrefix(r.header.Get("Content-Type"), "text/html")
		}},
		{"wrong_bill", `{"fault":"wrong_bill"}`, opApply, false, true, func(r reply) bool { return strings.Contains(r.body, `"billCode":"OTHER-`) }},
		{"empty", `{"fault":"empty"}`, opApply, false, true, func(r reply) bool { return r.body == `{"success":true}` }},
		{"empty body", `{"fault":"empty","body":"none"}`, opApply, false, true, func(r reply) bool { return r.status == 200 && r.body == "" }},
		{"bad_json", `{"fault":"bad_json"}`, opApply, false, true, func(r reply) bool { return json.Unmarshal([]byte(r.body), new(any)) != nil }},
		{"bad_json duplicate", `{"fault":"bad_json","field":"duplicate"}`, opApply, false, true, func(r reply) bool { return json.Unmarshal([]byte(r.body), new(any)) != nil }},
		{"bad_json utf8", `{"fault":"bad_json","field":"utf8"}`, opApply, false, true, func(r reply) bool { return json.Unmarshal([]byte(r.body), new(any)) != nil }},
		{"forget", `{"fault":"forget"}`, opApply, false, false, func(r reply) bool { return strings.Contains(r.body, `"billCode":"SB`) }},
		{"no_action", `{"fault":"no_action"}`, opApply, false, true, func(r reply) bool { return !strings.Contains(r.body, "actionValue") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, &Sandbox{})
			g.fault(c.fault)
			r, err := g.try(c.operation, order("u1", "O1"))
			if (err != nil) != c.cut {
				t.Fatalf("error %v, want one: %v", err, c.cut)
			}
			if c.check != nil && !c.check(r) {
				t.Errorf("%d %s", r.status, r.body)
			}
			s := g.s.snapshot(t)
			if made := len(s.Payments) == 1; made != c.made {
				t.Errorf("made: %v, want %v", made, c.made)
			}
			if len(s.Calls) != 1 || s.Calls[0].Fault == "" || len(s.Faults) != 0 {
				t.Errorf("calls %+v, faults %+v", s.Calls, s.Faults)
			}
			g.apply("u2", "O2") // the fault is used up
		})
	}
}

func TestStatusAnswersCanNameAnotherBillOrAnyWord(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	g.apply("u1", "O1")
	g.fault(`[{"operation":"getPayStatus","fault":"wrong_bill","field":"orderCode"},{"operation":"getPayStatus","fault":"report","answer":"REFUNDING"}]`)
	if s := g.status("u1"); s["tradeUuid"] != "u1" || s["orderCode"] != "OTHER-O1" || s["currency"] != "IDR" {
		t.Errorf("%v", s)
	}
	if s := g.status("u1"); s["status"] != "REFUNDING" || s["orderCode"] != "O1" {
		t.Errorf("%v", s)
	}
}

func TestCancelAnswersEveryWord(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	for fault, want := range map[string][2]string{
		`{"fault":"cancel_answer"}`:                                     {"FAIL", "WAIT"},
		`{"fault":"cancel_answer","answer":"WAIT"}`:                     {"WAIT", "WAIT"},
		`{"fault":"cancel_answer","answer":"CANCELED"}`:                 {"CANCELED", "CANCELED"},
		`{"fault":"cancel_answer","answer":"SUCCESS","cancels":false}`:  {"SUCCESS", "WAIT"},
		`{"fault":"cancel_answer","answer":"FAIL","cancels":true}`:      {"FAIL", "CANCELED"},
		`{"fault":"cancel_answer","answer":"ON_HOLD","errorCode":"E1"}`: {"ON_HOLD", "WAIT"},
	} {
		g.apply(fault, "O")
		g.fault(fault)
		id, _ := json.Marshal(fault)
		if c := g.call(opCancel, `{"tradeUuid":`+string(id)+`}`).object(t); c["status"] != want[0] {
			t.Errorf("%s: %v", fault, c)
		}
		if p := g.s.snapshot(t).Payments; string(p[len(p)-1].Status) != want[1] {
			t.Errorf("%s: payment %s, want %s", fault, p[len(p)-1].Status, want[1])
		}
	}
}

func TestAForgottenPaymentIsUnknown(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	g.apply("u1", "O1")
	g.fault(`{"operation":"getPayStatus","fault":"forget"}`)
	for range 2 {
		if s := g.status("u1"); s["status"] != nil {
			t.Errorf("%v", s)
		}
	}
	g.apply("u1", "O1") // and its tradeUuid is free again
}

func TestFaultsMatchOperationAndOrderAndCountDown(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	g.apply("u1", "O1")
	g.apply("u2", "O2")
	g.fault(`{"operation":"getPayStatus","orderCode":"O2","skip":1,"times":2,"fault":"status","status":500}`)
	want := func(tradeUUID string, statuses ...int) {
		t.Helper()
		for i, status := range statuses {
			if r := g.call(opStatus, `{"tradeUuidList":["`+tradeUUID+`"]}`); r.status != status {
				t.Errorf("call %d about %s: %d, want %d", i, tradeUUID, r.status, status)
			}
		}
	}
	want("u1", 200, 200)
	want("u2", 200, 500, 500, 200)
	g.fault(`{"times":-1,"fault":"status","status":500}`)
	want("u1", 500, 500)
	g.control(http.MethodDelete, "/faults", "", http.StatusNoContent)
	want("u1", 200)
}

func TestADelayEndsWithItsCaller(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	g.fault(`{"fault":"delay","delay":"1h"}`)
	client := &http.Client{Timeout: 50 * time.Millisecond}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/sandbox/pay/apply", strings.NewReader(order("u1", "O1")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = credentials(order("u1", "O1"))
	if res, err := client.Do(req); err == nil {
		_ = res.Body.Close()
		t.Error("it was answered")
	}
	// story 1: the payment is there all the same
	if s := g.status("u1"); s["status"] != "WAIT" {
		t.Errorf("%v", s)
	}
}
