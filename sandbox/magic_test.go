package sandbox

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestMagicWordsChooseAFate(t *testing.T) {
	for word, want := range map[string][]Status{
		"PAY": {StatusSuccess}, "FAIL": {StatusFail}, "EXPIRE": {StatusExpired}, "CANCEL": {StatusCanceled},
		"TWICE": {StatusSuccess, StatusSuccess}, "SILENT": {}, "LATE": {StatusFail, StatusSuccess}, // story 10
	} {
		t.Run(word, func(t *testing.T) {
			rec := newReceiver(t, takes)
			g := newGateway(t, &Sandbox{Webhook: rec.URL, FateDelay: "5ms"})
			g.apply("u1", "O17-"+word+"-x")
			record := g.settled("u1")
			if got := rec.statuses(t, len(want)); !slices.Equal(got, want) {
				t.Errorf("webhooks %v, want %v", got, want)
			}
			if last := append([]Status{StatusSuccess}, want...); record.Status != last[len(last)-1] {
				t.Errorf("status %s", record.Status)
			}
			if paid := record.Status == StatusSuccess; paid != (record.PayTime != "") {
				t.Errorf("payTime %q", record.PayTime)
			}
		})
	}
}

func TestAWordInsideAnotherMeansNothing(t *testing.T) {
	for _, order := range []string{"PAYPAL-1", "O-pay", "REPAY", "O_PAY"} {
		if found := magic(order); len(found) != 0 {
			t.Errorf("%s: %v", order, found)
		}
	}
}

func TestMagicWordsSpoilAnswers(t *testing.T) {
	g := newGateway(t, &Sandbox{Repeat: "answer"})
	if r := g.call(opApply, order("u1", "O-REFUSE")).object(t); r["errorCode"] != "PAYMENT_REFUSED" {
		t.Errorf("REFUSE: %v", r)
	}
	if r := g.apply("u2", "O-NOACTION"); r["actionValue"] != nil {
		t.Errorf("NOACTION: %v", r)
	}
	// story 1
	if _, err := g.try(opApply, order("u3", "O-TIMEOUT")); err == nil {
		t.Error("TIMEOUT was answered")
	}
	if s := g.status("u3"); s["status"] != "WAIT" {
		t.Errorf("TIMEOUT: %v", s)
	}
	g.apply("u3", "O-TIMEOUT")
	if _, err := g.try(opApply, order("u4", "O-LOST")); err == nil {
		t.Error("LOST was answered")
	}
	if s := g.status("u4"); s["status"] != nil {
		t.Errorf("LOST: %v", s)
	}
	if r := g.call(opApply, order("u5", "O-ERROR")); r.status != 503 {
		t.Errorf("ERROR: %d", r.status)
	}
	g.apply("u6", "O-NOCANCEL")
	if r := g.call(opCancel, `{"tradeUuid":"u6"}`).object(t); r["status"] != "FAIL" {
		t.Errorf("NOCANCEL: %v", r)
	}
	g.apply("u7", "O-SLOWCANCEL")
	for _, want := range []string{"WAIT", "SUCCESS"} {
		if r := g.call(opCancel, `{"tradeUuid":"u7"}`).object(t); r["status"] != want {
			t.Errorf("SLOWCANCEL: %v, want %s", r, want)
		}
	}
}

func TestAnEarlyWebhookComesBeforeTheAnswer(t *testing.T) {
	// story 8
	rec := newReceiver(t, takes)
	g := newGateway(t, &Sandbox{Webhook: rec.URL})
	answer := g.apply("u1", "O-EARLY")
	select {
	case got := <-rec.got:
		if !strings.Contains(string(got.body), answer["billCode"].(string)) {
			t.Errorf("%s", got.body)
		}
	default:
		t.Error("apply was answered before the webhook was posted")
	}
}

func TestACancelledPaymentIsNotPaidByItsFate(t *testing.T) {
	g := newGateway(t, &Sandbox{FateDelay: "50ms"})
	g.apply("u1", "O-PAY")
	g.call(opCancel, `{"tradeUuid":"u1"}`)
	if record := g.settled("u1"); record.Status != StatusCanceled {
		t.Errorf("%s", record.Status)
	}
}

func TestTheGuideNamesEveryWordFaultAndOption(t *testing.T) {
	text, err := os.ReadFile("../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := string(text)
	names := []string{"app", "account", "type", "channel", "merchant"}
	for _, m := range MagicWords {
		names = append(names, m.Word)
	}
	for _, f := range faultKinds {
		names = append(names, string(f))
	}
	for _, o := range options {
		names = append(names, o.name)
	}
	for _, name := range names {
		if !strings.Contains(guide, "`"+name) {
			t.Errorf("%s is not in docs/sandbox.md", name)
		}
	}
}
