package integration

import (
	"strings"
	"syscall"
	"testing"
)

// problemJSON is an error as the contract prints it.
type problemJSON struct {
	Code string   `json:"code"`
	Bill billJSON `json:"bill"`
}

// wantProblem fails the test unless the answer is the error about the bill.
func (a answer) wantProblem(t *testing.T, status int, code, bill string) {
	t.Helper()
	if p := decode[problemJSON](t, a.want(t, status).body); p.Code != code || p.Bill.ID != bill {
		t.Fatalf("%s about bill %q, want %s about %s", p.Code, p.Bill.ID, code, bill)
	}
}

// story 14: a signed word is not enough where confirm_success is on, and
// enough to hold everything back that could have the buyer pay twice.
func TestASignedPaymentThatTheGatewayDoesNotShowIsKeptUntilItDoes(t *testing.T) {
	w := prepareWorld(t, plainSite, "")
	w.write(strings.Replace(worldConfig, "account {", "account {\n\t\t\tconfirm_success on", 1), w.values)
	w.start()
	b := w.checkout(order("O-C", "15000"), 201)
	w.paid(b).want(t, 200)
	w.await("the question after it", func() bool { return gatewayCalls(t, w.caddy, "getPayStatus") > 0 })

	held := func() {
		t.Helper()
		if now := w.bill(b.ID); now.Status != "WAIT" || now.Version != b.Version || now.CancelRequested {
			t.Fatalf("%+v", now)
		}
		w.must("POST", "/qlink/bills/"+b.ID+"/cancel", "").wantProblem(t, 409, "cancel_refused", b.ID)
		w.shop.lay(order("O-C", "20000"))
		w.must("POST", "/checkout", "").wantProblem(t, 409, "previous_attempt_open", b.ID)
	}
	held()
	w.stop(syscall.SIGKILL)
	w.start()
	held()
	if n := gatewayCalls(t, w.caddy, "cancel"); n != 0 {
		t.Errorf("%d /cancel", n)
	}

	w.control("POST", "/payments/"+b.ID+"/pay", `{"silent":true}`)
	if paid := w.awaitStatus(b.ID, "SUCCESS"); paid.SettledBy != "query" {
		t.Errorf("settled by %s", paid.SettledBy)
	}
	w.must("POST", "/checkout", "").wantProblem(t, 409, "paid_at_another_amount", b.ID)
	if again := w.checkout(order("O-C", "15000"), 200); again.ID != b.ID {
		t.Errorf("%+v", again)
	}
	if n := w.booked("O-C"); n != 1 {
		t.Errorf("%d payments at the gateway", n)
	}
}
