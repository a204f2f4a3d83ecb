package integration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

const ordersAtOnce = 20 // of each kind

// orderIn is an order to be paid through a channel; "": the buyer chooses.
func orderIn(code, channel string) string {
	if channel == "" {
		return order(code, "15000")
	}
	return fmt.Sprintf(`{"orderCode":%q,"amount":"15000","payChannelCode":%q}`, code, channel)
}

// sign makes the request of a shop's server.
func (w *world) sign(path, body string, header ...string) *http.Request {
	w.t.Helper()
	return signed(w.request("POST", path, body, header...), body)
}

// handOver posts an order to each node at the same time, so many times. All are
// signed in the same second: of two, the one that was signed before is stale.
func (n *nodes) handOver(times int, body func(w *world) string, header ...string) []answer {
	n.t.Helper()
	at := time.Now()
	return n.sameTime(times, func(w *world) *http.Request {
		text := body(w)
		return signedAt(at, apiSecret, w.request("POST", "/qlink/bills", text, header...), text)
	})
}

func always(body string) func(*world) string { return func(*world) string { return body } }

// choosyNodes are three whose accounts let buyers choose.
func choosyNodes(t *testing.T) *nodes {
	t.Helper()
	return startNodes(t, 3, map[string]string{"account": "\t\t\toffer\n"})
}

// wantOneBill fails the test unless all answers are the same bill, which is
// returned.
func wantOneBill(t *testing.T, answers []answer) (b billJSON) {
	t.Helper()
	for i, a := range answers {
		if a.StatusCode != http.StatusOK && a.StatusCode != http.StatusCreated {
			t.Errorf("answer %d: %d %.500s", i, a.StatusCode, a.body)
			return b
		}
		found := decode[billJSON](t, a.body)
		if i == 0 {
			b = found
		}
		if found.ID != b.ID || found.Attempt != b.Attempt {
			t.Errorf("bill %s, attempt %d, and bill %s, attempt %d", b.ID, b.Attempt, found.ID, found.Attempt)
		}
	}
	return b
}

// eachOrder does something for some orders at a time, and returns what bills
// came of it.
func (n *nodes) eachOrder(name string, do func(code string) billJSON) []billJSON {
	bills := make([]billJSON, ordersAtOnce)
	crowd(4, ordersAtOnce, func(i int) { bills[i] = do(fmt.Sprintf("%s-%d", name, i)) })
	return bills
}

// wantOneApply fails the test unless the gateway was asked once for each bill,
// and for no other of its order, and has as many payments.
func (n *nodes) wantOneApply(bills []billJSON) {
	n.t.Helper()
	calls := n.callsOf("apply")
	orders := byOrder(ledgerOf(n.t, n.gateway).Payments)
	for _, b := range bills {
		made := orders[b.OrderCode]
		if calls[b.ID] != 1 || len(made) != b.Attempt || made[len(made)-1].TradeUUID != b.ID {
			n.t.Errorf("%s: %d calls of /apply for bill %s of attempt %d, and %d payments", b.OrderCode, calls[b.ID], b.ID, b.Attempt, len(made))
		}
	}
}

// story 2, story 4: whoever posts what concerns one order, and to
// whichever nodes, at the same instant, it becomes one payment.
func TestWhatIsPostedToSeveralNodesAtOnceIsOnePayment(t *testing.T) {
	n := choosyNodes(t)
	ended := n.eachOrder("N-ORDER", func(code string) billJSON {
		body := orderIn(code, "QRIS")
		return wantOneBill(t, n.handOver(2, always(body)))
	})
	n.wantOneApply(ended)
	n.wantOneApply(n.eachOrder("N-KEY", func(code string) billJSON {
		body := orderIn(code, "QRIS")
		return wantOneBill(t, n.handOver(1, always(body), "Idempotency-Key", code))
	}))
	for _, b := range ended {
		n.any().insistOn(n.each[0].notification(b, "FAIL"))
		n.each[0].decide(b.ID, "fail")
	}
	n.wantOneApply(n.eachOrder("N-ORDER", func(code string) billJSON {
		id := ""
		for _, b := range ended {
			if b.OrderCode == code {
				id = b.ID
			}
		}
		return wantOneBill(t, n.sameTime(2, func(w *world) *http.Request { return w.request("POST", "/qlink/bills/"+id+"/retry", "") }))
	}))
	n.wantOneApply(n.eachOrder("N-CHOICE", func(code string) billJSON {
		body := orderIn(code, "")
		choosing := wantOneBill(t, n.handOver(1, always(body)))
		return wantOneBill(t, n.sameTime(2, func(w *world) *http.Request {
			return w.request("POST", "/qlink/bills/"+choosing.ID+"/choose", `{"payTypeCode":"ONLINE","payChannelCode":"DANA"}`, "Content-Type", "application/json")
		}))
	}))
}

// insistOn sends a request that has to be answered with 200.
func (w *world) insistOn(req *http.Request) {
	w.t.Helper()
	if a, err := w.do(req); err != nil || a.StatusCode != http.StatusOK {
		w.t.Errorf("%s %s: %v %.500s", req.Method, req.URL, err, a.body)
	}
}

// Two tabs at two nodes choose differently: one of the ways is taken.
func TestOfDifferentChoicesAtSeveralNodesOneIsTaken(t *testing.T) {
	n := choosyNodes(t)
	channels := map[*world]string{n.each[0]: "DANA", n.each[1]: "BCA_VA", n.each[2]: "QRIS"}
	crowd(4, ordersAtOnce, func(i int) {
		body := orderIn(fmt.Sprint("N-TABS-", i), "")
		b := wantOneBill(t, n.handOver(1, always(body)))
		taken := 0
		for _, a := range n.sameTime(1, func(w *world) *http.Request {
			return w.request("POST", "/qlink/bills/"+b.ID+"/choose", `{"payTypeCode":"ONLINE","payChannelCode":"`+channels[w]+`"}`, "Content-Type", "application/json")
		}) {
			switch a.StatusCode {
			case http.StatusOK:
				taken++
			case http.StatusConflict:
			default:
				t.Errorf("choice: %d %.500s", a.StatusCode, a.body)
			}
		}
		if taken != 1 {
			t.Errorf("%d choices of bill %s were taken", taken, b.ID)
		}
	})
	for id, calls := range n.callsOf("apply") {
		if calls != 1 {
			t.Errorf("%d calls of /apply for bill %s", calls, id)
		}
	}
}

// story 3: one key is one request, though two nodes never saw each other's.
func TestOneIdempotencyKeyWithDifferentOrdersAtSeveralNodesIsOneBill(t *testing.T) {
	n := choosyNodes(t)
	var mu sync.Mutex
	second := 0
	crowd(4, ordersAtOnce, func(i int) {
		made := make(map[string]bool)
		for _, a := range n.handOver(1, func(w *world) string {
			return orderIn(fmt.Sprintf("N-SAME-%d-%s", i, w.values["node"]), "QRIS")
		}, "Idempotency-Key", fmt.Sprint("N-SAME-", i)) {
			switch a.StatusCode {
			case http.StatusCreated:
				made[decode[billJSON](t, a.body).ID] = true
			case http.StatusUnprocessableEntity, http.StatusConflict:
			default:
				t.Errorf("%d %.500s", a.StatusCode, a.body)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		second += len(made) - 1
	})
	if payments := len(ledgerOf(t, n.gateway).Payments); second != 0 || payments != ordersAtOnce {
		t.Errorf("%d keys named more than one bill, and there are %d payments instead of %d", second, payments, ordersAtOnce)
	}
}
