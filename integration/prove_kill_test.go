package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// killed is the trial of kill -9: what was acknowledged, and what was found
// afterwards.
type killed struct {
	*world

	mu      sync.Mutex
	notes   map[string]*note // by order
	doubt   []string         // orders whose checkout was not answered
	round   atomic.Int64     // acknowledgements still to come until the kill
	enough  chan struct{}    // closed when they have come
	acks    int
	lost    []string
	torn    []string
	repeats int // checkouts posted again after a restart
}

// note is what the other side knows for certain about an order.
type note struct {
	bill     billJSON // as it was answered
	reported string   // the status of the webhook that was acknowledged, or ""
	doubtful bool     // a webhook of SUCCESS was sent and not answered
	judged   bool     // found lost or torn
}

// story 1, story 2, story 6, story 13, story 15: Caddy is killed under load,
// over and over. What it had acknowledged to buyers and to the gateway's
// messenger is there afterwards, whole; what it had not is asked for again and
// is one payment all the same.
//
// The gateway itself says WAIT of every payment until the last round is
// judged, so that no query can mend what a webhook's loss has broken. A kill
// shows that an answer never comes before its commit and that no commit is
// seen by half. It cannot show a sync that is missing, since the page cache
// outlives the process: that takes the trial of the power cut.
func TestProveNothingAcknowledgedIsLostToKills(t *testing.T) {
	w, gateway := provingGround(t, plainSite)
	w.write(siteConfig, w.values)
	k := &killed{world: w, notes: make(map[string]*note)}
	chance := rand.New(rand.NewPCG(*proveSeed, 0))
	k.start()
	for round := range *proveKills {
		seen := k.known()
		k.fire(round, int64(*proveAcks/2+chance.IntN(*proveAcks)))
		k.log = new(processtest.Log) // each process has its own
		k.start()
		k.judge(seen)
		if round%10 == 9 || round == *proveKills-1 {
			k.orderAgain()
		}
		if t.Failed() {
			t.Fatalf("round %d:\n%s", round, k.log.Tail())
		}
	}
	k.judge(nil)
	k.settleDoubts()
	double := k.compare(gateway)
	prove(t, "kill -9 under load of checkouts and webhooks",
		fmt.Sprintf("%d kills, %d acknowledged (%d orders), %d checkouts posted again", *proveKills, k.acks, len(k.notes), k.repeats),
		fmt.Sprintf("%d lost, %d torn, %d orders with a second payment", len(k.lost), len(k.torn), double))
	if len(k.lost)+len(k.torn)+double > 0 {
		t.Errorf("lost:\n%s\ntorn:\n%s", lines(k.lost), lines(k.torn))
	}
}

// known returns the orders noted so far.
func (k *killed) known() map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	known := make(map[string]bool, len(k.notes))
	for code := range k.notes {
		known[code] = true
	}
	return known
}

// fire loads Caddy until so many answers were acknowledged, and kills it in
// the middle of the others.
func (k *killed) fire(round int, acks int64) {
	k.round.Store(acks)
	k.enough = make(chan struct{})
	ctx, cease := context.WithCancel(k.t.Context())
	var load sync.WaitGroup
	for worker := range proveWorkers {
		load.Go(func() {
			for n := 0; ctx.Err() == nil && k.buy(fmt.Sprintf("K-%d-%d-%d", round, worker, n), n); n++ {
			}
		})
	}
	select {
	case <-k.enough:
	case <-time.After(startWithin):
		k.t.Errorf("round %d: the load was not answered", round)
	}
	k.stop(syscall.SIGKILL)
	cease()
	load.Wait()
	k.client.CloseIdleConnections()
}

// buy orders and has the payment's end reported, as far as answers come.
func (k *killed) buy(code string, n int) (goOn bool) {
	b, ok := k.checkOut(code)
	if !ok {
		return false
	}
	status := "SUCCESS"
	if n%8 == 7 {
		status = "FAIL"
	}
	body := fmt.Sprintf(`{"tradeUuid":%q,"billCode":%q,"orderCode":%q,"status":%q}`, b.ID, b.BillCode, code, status)
	a, err := k.do(k.request("POST", "/qlink/payNotification", body, "appKey", appKey, "sign", signOf(body, appSecret)))
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		k.notes[code].doubtful = status == "SUCCESS"
		return false
	case a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), `"success":true`):
		k.t.Errorf("webhook of %s: %d %.500s", code, a.StatusCode, a.body)
		return false
	}
	k.notes[code].reported = status
	k.acknowledged()
	return true
}

func (k *killed) checkOut(code string) (b billJSON, ok bool) {
	status, b, err := k.order(code)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		k.doubt = append(k.doubt, code)
		return b, false
	case b.ID == "":
		k.t.Errorf("checkout of %s: %d", code, status)
		return b, false
	}
	k.notes[code] = &note{bill: b}
	k.acknowledged()
	return b, true
}

// acknowledged counts an answer. The caller holds mu.
func (k *killed) acknowledged() {
	k.acks++
	if k.round.Add(-1) == 0 {
		close(k.enough)
	}
}

// orderAgain does what a buyer does who got no answer. He waits until the call
// that the process died in must have ended, so it is done every few rounds.
func (k *killed) orderAgain() {
	again := k.doubt
	k.doubt = nil
	for _, code := range again {
		k.repeats++
		if _, ok := k.checkOut(code); !ok {
			k.t.Errorf("no bill of %s after the restart", code)
		}
	}
}

// judge compares what is stored of every order but those already seen with
// what was noted.
func (k *killed) judge(seen map[string]bool) {
	codes := make(chan string)
	var judges sync.WaitGroup
	for range proveWorkers {
		judges.Go(func() {
			for code := range codes {
				k.judgeOne(code)
			}
		})
	}
	for code := range k.known() {
		if !seen[code] {
			codes <- code
		}
	}
	close(codes)
	judges.Wait()
}

func (k *killed) judgeOne(code string) {
	a, err := k.lookUp(code)
	k.mu.Lock()
	defer k.mu.Unlock()
	noted := k.notes[code]
	if noted.judged {
		return // what is lost is lost once
	}
	bad := len(k.lost) + len(k.torn)
	defer func() { noted.judged = len(k.lost)+len(k.torn) > bad }()
	if err != nil || a.StatusCode != http.StatusOK && a.StatusCode != http.StatusNotFound {
		k.torn = append(k.torn, fmt.Sprintf("%s: %v %s", code, err, a.body))
		return
	}
	if a.StatusCode == http.StatusNotFound {
		k.lost = append(k.lost, code+" is unknown")
		return
	}
	found := decode[orderJSON](k.t, a.body)
	if len(found.Bills) != 1 || !sameBill(found.Bills[0], noted.bill) || found.Paid != (found.Bills[0].Status == "SUCCESS") {
		k.torn = append(k.torn, fmt.Sprintf("%s: noted %+v, found %+v", code, noted.bill, found))
		return
	}
	now := found.Bills[0]
	if now.Version < noted.bill.Version || now.Status == "CREATED" && noted.bill.Status != "CREATED" ||
		noted.reported != "" && now.Status != noted.reported {
		k.lost = append(k.lost, fmt.Sprintf("%s: noted %s at version %d and a webhook of %q, found %s at version %d",
			code, noted.bill.Status, noted.bill.Version, noted.reported, now.Status, now.Version))
	}
}

// sameBill compares what never changes about a bill once it has been answered.
func sameBill(a, b billJSON) bool {
	return a.ID == b.ID && a.OrderCode == b.OrderCode && a.Amount == b.Amount && a.Attempt == b.Attempt &&
		(b.Action.Value == "" || a.BillCode == b.BillCode && a.Action == b.Action)
}

// settleDoubts pays at the gateway what unanswered webhooks have reported: the
// module has to find out by itself, each bill while somebody watches it.
func (k *killed) settleDoubts() {
	for _, noted := range k.notes {
		if noted.doubtful {
			k.decide(noted.bill.ID, "pay")
		}
	}
	var waits sync.WaitGroup
	for code, noted := range k.notes {
		if noted.doubtful {
			waits.Go(func() {
				if status := k.outcome(noted.bill.ID, "SUCCESS"); status != "SUCCESS" {
					k.t.Errorf("%s is paid at the gateway and %s here", code, status)
				}
			})
		}
	}
	waits.Wait()
}

// compare looks into the gateway's ledger: every bill with a code is there as
// it was answered, and no order is there twice. It returns the orders that are.
func (k *killed) compare(gateway *caddy) (double int) {
	orders := byOrder(ledgerOf(k.t, gateway).Payments)
	for code, noted := range k.notes {
		made := orders[code]
		if noted.bill.BillCode != "" && (len(made) != 1 || made[0].TradeUUID != noted.bill.ID ||
			made[0].BillCode != noted.bill.BillCode || made[0].Amount != noted.bill.Amount) {
			k.torn = append(k.torn, fmt.Sprintf("%s: %+v, at the gateway %+v", code, noted.bill, made))
		}
	}
	for _, made := range orders {
		if len(made) > 1 {
			double++
		}
	}
	return double
}
