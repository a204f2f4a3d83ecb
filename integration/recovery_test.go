package integration

import (
	"fmt"
	"syscall"
	"testing"
)

// story 18, story 33: nobody asks, nobody watches, and no webhook comes.
func TestWithoutWebhooksEveryBillIsSettledAllTheSame(t *testing.T) {
	w := newWorld(t, plainSite)
	w.control("POST", "/settings", `{"webhooks":"lose"}`)
	fates := map[string]string{"pay": "SUCCESS", "fail": "FAIL", "expire": "EXPIRED", "cancel": "CANCELED"}
	bills := make(map[string]billJSON)
	for fate := range fates {
		bills[fate] = w.checkout(order("O-"+fate, "15000"), 201)
		w.control("POST", "/payments/"+bills[fate].ID+"/"+fate, "")
	}
	for fate, status := range fates {
		if b := w.awaitStatus(bills[fate].ID, status); b.SettledBy != "query" {
			t.Errorf("%s: settled by %s", fate, b.SettledBy)
		}
	}
}

func TestABillThatRunsOutIsCancelledAtTheGateway(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(`{"orderCode":"O-E","amount":"15000","expiresIn":"2s"}`, 201)
	if ended := w.awaitStatus(b.ID, "EXPIRED"); ended.SettledBy != "expiry" {
		t.Errorf("%+v", ended)
	}
	if _, payments := w.ledger(); payments[0].Status != "CANCELED" {
		t.Errorf("the gateway has it %s", payments[0].Status)
	}
}

// story 1, story 15: the process dies while /apply is under way, and the next
// one goes on where it was.
func TestABillWhoseProcessDiedDuringApplyIsResolvedByTheNext(t *testing.T) {
	for name, fault := range map[string]string{
		"booked":     `{"operation":"apply","fault":"delay","delay":"60s"}`,
		"not booked": `{"operation":"apply","fault":"drop_request"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := prepareWorld(t, plainSite, "")
			w.write(siteConfig, w.values)
			gateway := newCaddy(t, "{\n\tadmin {{admin}}\n\tauto_https off\n}\n"+gatewayConfig, w.values)
			gateway.start()
			w.start()
			w.control("POST", "/settings", `{"repeat":"answer"}`)
			w.control("POST", "/faults", fault)
			w.shop.lay(order("O-D", "15000"))
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = w.do(w.request("POST", "/checkout", "")) // cut by the kill, or answered 202
			}()
			w.await("the call of /apply", func() bool { return gatewayCalls(t, gateway, "apply") > 0 })
			w.stop(syscall.SIGKILL)
			<-done
			w.start()
			again := w.must("POST", "/checkout", "")
			b := decode[billJSON](t, again.body)
			if paid := w.awaitStatus(b.ID, "WAIT"); paid.Attempt != 1 {
				t.Errorf("%+v", paid)
			}
			if n := bookedAt(t, gateway, "O-D"); n != 1 {
				t.Errorf("%d payments at the gateway", n)
			}
		})
	}
}

func gatewayCalls(t *testing.T, gateway *caddy, operation string) int {
	t.Helper()
	n := 0
	for _, c := range ledgerOf(t, gateway).Calls {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

func bookedAt(t *testing.T, gateway *caddy, order string) int {
	t.Helper()
	n := 0
	for _, p := range ledgerOf(t, gateway).Payments {
		if p.OrderCode == order {
			n++
		}
	}
	return n
}

func TestAWatchedBillLearnsOfALostWebhookWithinSeconds(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-W", "15000"), 201)
	etag := w.must("GET", "/qlink/bills/"+b.ID, "").Header.Get("ETag")
	w.control("POST", "/payments/"+b.ID+"/pay", `{"silent":true}`)
	a := w.must("GET", fmt.Sprintf("/qlink/bills/%s?wait=20s", b.ID), "", "If-None-Match", etag).want(t, 200)
	if paid := decode[billJSON](t, a.body); paid.Status != "SUCCESS" {
		t.Errorf("%+v", paid)
	}
}
