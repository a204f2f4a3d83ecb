package integration

import (
	"cmp"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/sandbox"
)

// The proving ground: trials under fire, each judged by what the other side
// saw. Their sizes are flags, whose defaults are the short form; scripts/prove
// runs the long one. The gateway is a process of its own, whose ledger is
// synced before it answers; buyers, the messenger of webhooks and the shop live
// in the test's process, which nothing kills, and so need no file.
var (
	proveSeed      = flag.Uint64("prove.seed", 1, "seed of all that the trials choose by chance")
	proveKills     = flag.Int("prove.kills", 3, "rounds of kill -9")
	proveAcks      = flag.Int("prove.acks", 60, "acknowledgements in a round before the kill, on average")
	proveOrders    = flag.Int("prove.orders", 45, "orders told to the failing shop")
	proveFailing   = flag.Int("prove.failing", 50, "deliveries in a hundred that the failing shop fails")
	proveStorm     = flag.Int("prove.storm", 1, "tries of each order's last news before the failing shop mends")
	proveReloads   = flag.Int("prove.reloads", 200, "reloads under load")
	proveCrashes   = flag.Int("prove.crashes", 1, "crashes at each named point")
	proveCheckouts = flag.Int("prove.checkouts", 120, "checkouts while the way to the gateway is harmed")
	proveDamage    = flag.Int("prove.damage", 3, "places in each file of the store that are damaged")
	proveCuts      = flag.Int("prove.cuts", 1, "power cuts")
	proveWorkers   = 8                                             // buyers at once, in every trial
	provedTrial    = "proved"                                      // begins each row of the table, for scripts/prove
	gatewayGlobal  = "{\n\tadmin {{admin}}\n\tauto_https off\n}\n" // global options of the gateway's own process
)

// prove prints a trial's row: what it went through, and what came of it.
func prove(t *testing.T, trial, through, result string) {
	t.Helper()
	t.Logf("%s | %s | %s | %s |", provedTrial, trial, through, result)
}

// provingGround is a world whose gateway lives in another process and whose
// shop makes an order of whatever code it is asked for.
func provingGround(t *testing.T, site string) (w *world, gateway *caddy) {
	t.Helper()
	w = prepareGround(t, site)
	return w, startGateway(t, w, gatewayConfig)
}

func prepareGround(t *testing.T, site string) *world {
	t.Helper()
	w := prepareWorld(t, site, "")
	w.shop.serve(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/vnd.qlink.order+json")
		rw.WriteHeader(http.StatusCreated)
		fmt.Fprint(rw, order(r.URL.Query().Get("order"), cmp.Or(r.URL.Query().Get("amount"), "15000")))
	})
	return w
}

func startGateway(t *testing.T, w *world, config string) *caddy {
	t.Helper()
	gateway := newCaddy(t, gatewayGlobal+config, w.values)
	gateway.start()
	// A gateway that repeats its answer lets a lost action be fetched. One that
	// does not has the bill cancelled and the order begun anew: two payments in
	// its ledger, of which one can be paid.
	w.control("POST", "/settings", `{"repeat":"answer"}`)
	return gateway
}

// order asks for a checkout as a buyer's click does; an error means that no
// whole answer came.
func (w *world) order(code string) (status int, b billJSON, err error) {
	a, err := w.do(w.request("POST", "/checkout?order="+code, ""))
	if err != nil {
		return 0, b, err
	}
	switch a.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		b = decode[billJSON](w.t, a.body)
	}
	return a.StatusCode, b, nil
}

// orderJSON is an order as its shop sees it.
type orderJSON struct {
	Paid     bool       `json:"paid"`
	OpenBill string     `json:"openBill"`
	Bills    []billJSON `json:"bills"` // newest first
}

// lookUp asks for an order as its shop does.
func (w *world) lookUp(code string) (answer, error) {
	return w.do(signed(w.request("GET", "/qlink/orders/"+code, ""), ""))
}

// outcome watches a bill as a buyer's page does until it has the status, or
// nobody would wait any longer, and returns the status it has then.
func (w *world) outcome(id, wanted string) string {
	deadline := time.Now().Add(startWithin)
	var status, etag string
	for status != wanted && time.Now().Before(deadline) {
		a, err := w.do(w.request("GET", "/qlink/bills/"+id+"?wait=10s", "", "If-None-Match", etag))
		if err != nil {
			w.t.Errorf("watch %s: %v", id, err)
			break
		}
		if a.StatusCode == http.StatusOK {
			status, etag = decode[billJSON](w.t, a.body).Status, a.Header.Get("ETag")
		}
	}
	return status
}

// decide has the gateway settle a payment, without telling anybody.
func (w *world) decide(id, fate string) {
	w.t.Helper()
	w.control("POST", "/payments/"+id+"/"+fate, `{"silent":true}`)
}

// byOrder sorts the gateway's payments, oldest first, by order.
func byOrder(payments []sandbox.PaymentRecord) map[string][]sandbox.PaymentRecord {
	orders := make(map[string][]sandbox.PaymentRecord)
	for _, p := range payments {
		orders[p.OrderCode] = append(orders[p.OrderCode], p)
	}
	return orders
}

// lines joins the first few complaints.
func lines(complaints []string) string {
	return strings.Join(complaints[:min(len(complaints), 20)], "\n")
}

// crowd does something for each number below n, so many at a time.
func crowd(workers, n int, do func(int)) {
	numbers := make(chan int)
	var busy sync.WaitGroup
	for range workers {
		busy.Go(func() {
			for number := range numbers {
				do(number)
			}
		})
	}
	for number := range n {
		numbers <- number
	}
	close(numbers)
	busy.Wait()
}
