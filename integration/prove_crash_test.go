package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
	"github.com/caddy-qlink/caddy-qlink/sandbox"
)

// point is a moment in an order's life at which Caddy is killed. An order's
// code says which one is its own.
type point struct{ when, what string }

var crashPoints = []point{
	{"before", "apply"}, {"after", "apply"},
	{"before", "commit-of-created"}, {"after", "commit-of-created"},
	{"before", "commit-of-wait"}, {"after", "commit-of-wait"},
	{"before", "cancel"}, {"after", "cancel"},
	{"before", "commit-of-canceled"}, {"after", "commit-of-canceled"},
	{"before", "commit-of-success"}, {"after", "commit-of-success"},
	{"before", "acknowledgement"}, {"after", "acknowledgement"},
	{"before", "notification"}, {"after", "notification"},
	{"before", "commit-of-delivered"}, {"after", "commit-of-delivered"},
}

func (p point) order(n int) string { return fmt.Sprintf("C.%s.%s.%d", p.when, p.what, n) }

func (p point) of(order string) bool {
	return strings.HasPrefix(order, "C."+p.when+"."+p.what+".")
}

// canceling reports whether the order's buyer thinks better of it.
func (p point) canceling() bool { return p.what == "cancel" || p.what == "commit-of-canceled" }

// crashes is the trial of the named points. Caddy is killed by its store at
// commits, by who stands between it and the gateway at calls and at webhooks,
// and by the shop at notifications.
type crashes struct {
	*world

	gateway *caddy
	board   switchboard
	hook    *standardwebhooks.Webhook

	mu     sync.Mutex
	victim *os.Process
	gone   <-chan struct{}            // closed when the victim has ended
	killed map[string]bool            // by order, of those not killed by the store
	shown  map[string]map[string]bool // by order: the bills that its buyer was answered with
	told   map[string][]news          // by order: what the shop was told
}

// story 1, story 2, story 8, story 13, story 15: Caddy dies at each point of
// an order's life at which something has been done and not yet noted, or noted
// and not yet done. The buyer posts again, the gateway's messenger and the
// next Caddy do what is left, and the next order's crash does not wait for it.
func TestProveACrashAtAnyPointLosesNothingAndPaysOnce(t *testing.T) {
	c := newCrashes(t)
	c.rise()
	var buyers sync.WaitGroup
	for _, p := range crashPoints {
		for n := range *proveCrashes {
			ended := c.gone
			buyers.Go(func() { c.live(p, p.order(n)) })
			select {
			case <-ended:
			case <-time.After(startWithin):
				t.Fatalf("nothing came by %s %s\n%s", p.when, p.what, c.log.Tail())
			}
			c.rise()
		}
	}
	buyers.Wait()
	c.judge()
}

func newCrashes(t *testing.T) *crashes {
	hook, err := standardwebhooks.NewWebhook(notifyKey)
	if err != nil {
		t.Fatal(err)
	}
	c := &crashes{hook: hook, killed: make(map[string]bool), shown: make(map[string]map[string]bool), told: make(map[string][]news)}
	shop := httptest.NewServer(http.HandlerFunc(c.notification))
	t.Cleanup(shop.Close)
	site := siteTelling(shop.URL+"/n", notifyKey)
	c.world, c.gateway = relayedGround(t, site, c.call, c.webhook)
	c.values["timeout"] = "1s"
	c.write(strings.Replace(siteConfig, "\tqlink {\n", "\tqlink {\n\t\tstore crashing\n", 1), c.values)
	c.playingCaddy(t)
	return c
}

// rise starts the next Caddy.
func (c *crashes) rise() {
	c.t.Helper()
	c.log = new(processtest.Log)
	c.start()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.victim, c.gone = c.cmd.Process, c.ended
}

// reach kills Caddy where the order is to crash at this point, and has not yet.
func (c *crashes) reach(when, what, order string) (killed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !(point{when, what}).of(order) || c.killed[order] {
		return false
	}
	c.killed[order] = true
	if err := c.victim.Kill(); err != nil {
		c.t.Errorf("kill: %v", err)
	}
	<-c.gone
	return true
}

// call stands between the module and the gateway.
func (c *crashes) call(w http.ResponseWriter, r *http.Request) {
	in, err := c.board.read(r)
	if err != nil {
		return // cut by a crash
	}
	if c.reach("before", in.operation, in.order) {
		return
	}
	answer, err := pass(c.client, "http://"+c.world.gateway+r.URL.Path, in.header, in.body)
	if err != nil {
		c.t.Errorf("the gateway does not answer: %v", err)
		return
	}
	if !c.reach("after", in.operation, in.order) {
		answer.write(w)
	}
}

// webhook stands between the gateway and the module.
func (c *crashes) webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var about struct{ OrderCode string }
	if err == nil {
		err = json.Unmarshal(body, &about)
	}
	if err != nil {
		c.t.Errorf("webhook: %v", err)
		return
	}
	answer, err := pass(c.client, "http://"+c.public+r.URL.Path, r.Header, body)
	if err != nil || answer.status == http.StatusOK && c.reach("before", "acknowledgement", about.OrderCode) {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	answer.write(w)
	if answer.status == http.StatusOK {
		c.reach("after", "acknowledgement", about.OrderCode)
	}
}

// notification is the shop, told how an order ended.
func (c *crashes) notification(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(r.Body)
	if err == nil {
		err = c.hook.Verify(payload, r.Header)
	}
	var body struct {
		Data struct {
			OrderCode string
			Order     struct{ Paid bool }
		}
	}
	if err == nil {
		err = json.Unmarshal(payload, &body)
	}
	if err != nil {
		c.t.Errorf("notification: %v", err)
		return
	}
	order := body.Data.OrderCode
	if c.reach("before", "notification", order) {
		return
	}
	c.mu.Lock()
	c.told[order] = append(c.told[order], news{id: r.Header.Get("Webhook-Id"), payload: string(payload), paid: body.Data.Order.Paid})
	c.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
	_ = http.NewResponseController(w).Flush()
	c.reach("after", "notification", order)
}

// live is an order's life as its buyer sees it: what is not answered is asked
// again.
func (c *crashes) live(p point, code string) {
	var b billJSON
	ended := c.persist(code+" to wait", func() bool {
		status, answered, err := c.order(code)
		if err != nil {
			return false
		}
		if answered.ID == "" {
			c.t.Errorf("checkout of %s: %d", code, status)
			return true
		}
		c.show(code, answered.ID)
		b = answered
		return b.Status != "CREATED"
	})
	if !ended || b.Status != "WAIT" {
		c.t.Errorf("%s is %q", code, b.Status)
		return
	}
	want := "SUCCESS"
	if p.canceling() {
		want = "CANCELED"
	} else {
		c.control("POST", "/payments/"+b.ID+"/pay", "")
	}
	c.persist(code+" to end", func() bool {
		if p.canceling() {
			_, _ = c.do(c.request("POST", "/qlink/bills/"+b.ID+"/cancel", "")) // its answer is in the bill
		}
		a, err := c.do(c.request("GET", "/qlink/bills/"+b.ID, ""))
		return err == nil && a.StatusCode == http.StatusOK && decode[billJSON](c.t, a.body).Status == want
	})
	c.persist("the shop to be told of "+code, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.told[code]) > 0
	})
}

func (c *crashes) show(code, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shown[code] == nil {
		c.shown[code] = make(map[string]bool)
	}
	c.shown[code][id] = true
}

// persist repeats until it holds; crashes in between are none of its business.
// The more there are, the longer all of them may hold one order up: each ends
// whatever was under way for any of them.
func (c *crashes) persist(what string, holds func() bool) bool {
	deadline := time.After(startWithin + time.Duration(*proveCrashes)*time.Duration(len(crashPoints))*time.Second/2)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Errorf("waited in vain for %s", what)
			return false
		}
	}
	return true
}

// judge compares the buyers' answers, the gateway's ledger and the shop's log
// with each other and with what is stored.
func (c *crashes) judge() {
	orders, atOnce := byOrder(ledgerOf(c.t, c.gateway).Payments), payableAtOnce(c.t, c.gateway)
	var wrong []string
	total, double, again := 0, 0, 0
	for _, p := range crashPoints {
		for n := range *proveCrashes {
			code := p.order(n)
			total++
			if complaint := c.judgeOne(p, code, orders[code]); complaint != "" {
				wrong = append(wrong, code+": "+complaint)
			}
			if atOnce[code] > 1 || len(orders[code]) > 1 {
				double++
			}
			again += max(0, len(c.told[code])-1)
		}
	}
	prove(c.t, "a crash at each named point",
		fmt.Sprintf("%d points, each %d times: before and after apply, cancel, acknowledgement, notification and five commits", len(crashPoints), *proveCrashes),
		fmt.Sprintf("%d of %d orders settled as the gateway's ledger says and told to the shop, %d with something lost, %d with a second payment, %d notifications repeated under their id",
			total-len(wrong), total, len(wrong), double, again))
	if len(wrong)+double > 0 {
		c.t.Error(lines(wrong))
	}
}

// judgeOne returns what is wrong with an order, or "".
func (c *crashes) judgeOne(p point, code string, made []sandbox.PaymentRecord) string {
	status := "SUCCESS"
	if p.canceling() {
		status = "CANCELED"
	}
	a, err := c.lookUp(code)
	if err != nil || a.StatusCode != http.StatusOK {
		return fmt.Sprintf("%v %s", err, a.body)
	}
	found := decode[orderJSON](c.t, a.body)
	told := c.told[code]
	switch {
	case len(made) != 1 || string(made[0].Status) != status:
		return fmt.Sprintf("the gateway has %+v", made)
	case len(found.Bills) != 1 || found.Bills[0].Status != status || found.Bills[0].ID != made[0].TradeUUID || found.Paid == p.canceling():
		return fmt.Sprintf("stored is %+v, the gateway has %+v", found, made)
	case len(c.shown[code]) != 1 || !c.shown[code][found.Bills[0].ID]:
		return fmt.Sprintf("its buyer was shown %v", c.shown[code])
	case len(told) == 0:
		return "the shop does not know"
	}
	for _, n := range told {
		if n.id != told[0].id || n.payload != told[0].payload || n.paid == p.canceling() {
			return fmt.Sprintf("the shop was told %+v", told)
		}
	}
	return ""
}
