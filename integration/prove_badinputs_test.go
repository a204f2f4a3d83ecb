package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	caddymodule "github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

// The corpus of bad inputs, each with the answer that the contract gives, goes
// through a real Caddy that knows some bills. Afterwards every bill, order and
// history line that counts, read from the store itself, and the gateway's own
// ledger are what they were before.
func TestProveBadInputsChangeNothing(t *testing.T) {
	corpus := readCorpus(t)
	c := newBadInputs(t)
	before := c.books()
	c.start()
	upstream, orphans := 0, make(map[string]bool)
	for _, in := range corpus {
		c.try(in)
		if in.Want.Status >= 500 {
			upstream++
		}
		if in.Want.Orphan != "" {
			orphans[in.Want.Orphan] = true
		}
	}
	c.judgeLog()
	after := c.books()
	for id := range orphans {
		before.Orphans = append(before.Orphans, id)
	}
	slices.Sort(before.Orphans)
	if diff := cmp.Diff(before, after); diff != "" {
		c.changes++
		t.Errorf("state has changed (- before, + after):\n%s", diff)
	}
	prove(t, "corpus of bad inputs",
		fmt.Sprintf("%d requests, %d bills known", len(corpus), len(before.Bills)),
		fmt.Sprintf("%d state changes, %d answers of 5xx but for %d bad orders from upstream (502, as they must be), %d panics, %d other answers than the contract's",
			c.changes, c.broken, upstream, c.panics, c.wrong))
	if len(corpus) < 500 {
		t.Errorf("the corpus has %d inputs, and should have 500", len(corpus))
	}
}

// badInputs is the world that bad inputs come to.
type badInputs struct {
	*world
	gatewayProcess *caddy

	known    *strings.Replacer
	upstream atomic.Pointer[upstreamAnswer]
	tried    int

	changes, broken, panics, wrong int
}

// serveUpstream is the shop, which answers a checkout as the case wants it and
// has nothing else.
func (c *badInputs) serveUpstream(w http.ResponseWriter, r *http.Request) {
	answer := c.upstream.Load()
	if answer == nil || r.URL.Path != "/checkout" {
		http.Error(w, "the shop has no such page", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.qlink.order+json")
	for i, h := range answer.Header {
		if h[0] == "Content-Type" && i == 0 {
			w.Header().Del(h[0])
		}
		w.Header().Add(h[0], h[1])
	}
	w.WriteHeader(answer.Status)
	body := answer.Base64
	if body == nil {
		body = []byte(answer.Body)
	}
	_, _ = w.Write(body) // a body too long for its length is one of the cases
}

// badInputsSite allows one other origin; the other site is another shop's.
const badInputsSite = `	qlink {
		checkout /checkout
		allowed_origins https://friend.example
		api {
			secret an-api-secret-of-the-tests
		}
	}
	reverse_proxy {{shop}}`

const otherShop = `
http://{{other}} {
	bind 127.0.0.1
	qlink {
		shop other
		checkout /checkout
		api {
			secret another-secret-of-the-tests
		}
	}
	reverse_proxy {{shop}}
}
`

// newBadInputs makes the known bills and stops Caddy again. Every
// request comes from an address of its own, behind a trusted proxy.
func newBadInputs(t *testing.T) *badInputs {
	t.Helper()
	w := prepareWorld(t, badInputsSite, "")
	w.values["other"] = processtest.FreeAddress(t)
	config := strings.Replace(siteConfig, "auto_https off", "auto_https off\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}", 1)
	w.values["extra"] = strings.NewReplacer("{{other}}", w.values["other"], "{{shop}}", w.shop.address).Replace(otherShop)
	w.write(config, w.values)
	gateway := newCaddy(t, gatewayGlobal+gatewayConfig, w.values)
	gateway.start()
	c := &badInputs{world: w, gatewayProcess: gateway}
	c.start()
	w.control("POST", "/settings", `{"repeat":"answer"}`)
	var names []string
	name := func(as string, b billJSON) billJSON {
		names = append(names, "{{"+as+"}}", b.ID, "{{"+as+".billCode}}", b.BillCode)
		return b
	}
	name("wait", w.checkout(order("O-WAIT", "15000"), 201))
	w.settle(name("paid", w.checkout(order("O-PAID", "15000"), 201)), "SUCCESS")
	w.settle(name("failed", w.checkout(order("O-FAILED", "15000"), 201)), "FAIL")
	w.settle(name("canceled", w.checkout(order("O-CANCELED", "15000"), 201)), "CANCELED")
	name("code", w.checkout(`{"orderCode":"O-CODE","amount":"15000","payChannelCode":"BCA_VA"}`, 201))
	w.shop.lay(order("O-FOREIGN", "15000"))
	name("foreign", decode[billJSON](t, w.must("POST", "http://"+w.values["other"]+"/checkout", "").want(t, 201).body))
	keyed := order("O-KEYED", "15000")
	a, err := w.do(signed(w.request("POST", "/qlink/bills", keyed, "Idempotency-Key", "used before"), keyed))
	if err != nil {
		t.Fatal(err)
	}
	name("keyed", decode[billJSON](t, a.want(t, 201).body))
	w.shop.lay("")
	w.shop.serve(c.serveUpstream)
	c.known = strings.NewReplacer(names...)
	return c
}

// settle has the gateway report the end of a payment that it has ended so.
func (w *world) settle(b billJSON, status string) {
	w.t.Helper()
	w.decide(b.ID, map[string]string{"SUCCESS": "pay", "FAIL": "fail", "CANCELED": "cancel"}[status])
	w.webhook(appSecret, fmt.Sprintf(`{"tradeUuid":%q,"billCode":%q,"orderCode":%q,"status":%q}`,
		b.ID, b.BillCode, b.OrderCode, status)).want(w.t, 200)
	w.awaitStatus(b.ID, status)
}

// books is all that bad input must not change.
type books struct {
	Bills    map[string]billBooks // by id
	Orders   map[string]bill.OrderRecord
	Orphans  []string // tradeUuids
	Payments []string // at the gateway
	Calls    map[string]int
}

// billBooks leaves out what asking the gateway moves: when it was asked last,
// and when it will be asked next.
type billBooks struct {
	View    bill.View
	Events  int // that changed the bill
	Details bill.Details
}

// books stops Caddy and reads the store and the gateway's ledger.
func (c *badInputs) books() books {
	c.t.Helper()
	c.stop(syscall.SIGTERM)
	opener := &badger.Store{Path: c.home + "/data/caddy/qlink"}
	if err := opener.Provision(caddymodule.Context{}); err != nil {
		c.t.Fatal(err)
	}
	ctx := context.Background()
	store, err := opener.Open(ctx, bill.Env{Logger: zap.NewNop})
	if err != nil {
		c.t.Fatal(err)
	}
	defer store.Close()
	read := books{Bills: make(map[string]billBooks), Orders: make(map[string]bill.OrderRecord), Calls: make(map[string]int)}
	page, next, err := store.List(ctx, bill.Query{Limit: 1000})
	if err != nil || next != "" {
		c.t.Fatalf("%d bills and more: %v", len(page), err)
	}
	for _, b := range page {
		kept := billBooks{View: b.View("")}
		if kept.Details, err = store.Details(ctx, b.ID); err != nil {
			c.t.Fatal(err)
		}
		history, err := store.History(ctx, b.ID)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range history {
			if e.From != e.To {
				kept.Events++
			}
		}
		read.Bills[b.ID] = kept
		if read.Orders[b.OrderCode], err = store.Order(ctx, b.OrderKey()); err != nil {
			c.t.Fatal(err)
		}
	}
	orphans, _, err := store.Orphans(ctx, "", 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, o := range orphans {
		read.Orphans = append(read.Orphans, o.ID)
	}
	slices.Sort(read.Orphans)
	c.readGateway(&read)
	return read
}

// readGateway leaves out questions, which change nothing there.
func (c *badInputs) readGateway(read *books) {
	ledger := ledgerOf(c.t, c.gatewayProcess)
	for _, p := range ledger.Payments {
		read.Payments = append(read.Payments, fmt.Sprint(p.TradeUUID, p.OrderCode, p.Amount, p.Currency, p.Status))
	}
	for _, call := range ledger.Calls {
		if call.Operation != "getPayStatus" {
			read.Calls[call.Operation]++
		}
	}
}

// expectedErrors are what the log says of bad input at its level for errors:
// an operator should look at each of these.
var expectedErrors = []string{
	"notification contradicts the stored bill",
	"the shop's answer is no order that can be paid",
	"payment of an unknown bill",
	"bill needs an operator",
	"aborting with incomplete response", // Caddy's proxy, of a shop that breaks off
}

// judgeLog looks for panics and for errors that nobody expects.
func (c *badInputs) judgeLog() {
	c.t.Helper()
	for line := range strings.Lines(c.log.String()) {
		lower := strings.ToLower(line)
		if strings.Contains(lower, "panic") || strings.Contains(line, "goroutine ") {
			c.panics++
			c.t.Errorf("log: %.2000s", line)
		}
		expected := slices.ContainsFunc(expectedErrors, func(text string) bool { return strings.Contains(line, text) })
		if strings.Contains(line, `"level":"error"`) && !expected {
			c.wrong++
			c.t.Errorf("log: %.2000s", line)
		}
		for _, secret := range []string{appSecret, apiSecret} {
			if strings.Contains(line, secret) {
				c.t.Errorf("log tells a secret: %.2000s", line)
			}
		}
	}
}
