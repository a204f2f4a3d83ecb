package integration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// What every connection string of these tests is a placeholder for.
const dsnVariable = "QLINK_DSN"

// nodeConfig is a site whose bills are in PostgreSQL. The gateway is told which
// node is calling.
var nodeConfig = strings.NewReplacer(
	"\tqlink {\n", "\tqlink {\n\t\tstore postgres {\n\t\t\tdsn {env."+dsnVariable+"}\n\t\t\tlisten {{listen}}\n\t\t}\n",
	"\t\t\tapp_key", "\t\t\theader X-Node {{node}}\n{{account}}\t\t\tapp_key",
	"min_interval 1s", "min_interval {{min}}\n\t\t\tmax_interval {{max}}", "\t\treconcile {", "{{limits}}\t\treconcile {",
).Replace(siteConfig)

// nodes are several Caddys that share a database, a gateway and a shop.
type nodes struct {
	t       *testing.T
	each    []*world
	door    *doorman // before the gateway
	mail    *postman // who brings the gateway's webhooks
	bell    *annals  // where the shop is told how orders end
	gateway *caddy
	shop    *shop
	ordered atomic.Int64 // orders that the shop has made
}

// newNodes prepares a node for each connection string, with further values for
// nodeConfig, starts the gateway, and leaves starting the nodes to the caller.
func newNodes(t *testing.T, dsns []string, further map[string]string) *nodes {
	t.Helper()
	n := &nodes{t: t, door: newDoorman(t), bell: newAnnals(t), shop: newShop(t)}
	n.shop.serve(n.makeOrder)
	n.mail = newPostman(t, n)
	gate := &world{gateway: processtest.FreeAddress(t), client: newClient(t)}
	gate.values = map[string]string{"public": n.mail.server.Listener.Addr().String(), "gateway": gate.gateway}
	n.gateway = newCaddy(t, gatewayGlobal+gatewayConfig, gate.values)
	gate.caddy = n.gateway
	n.gateway.start()
	gate.control("POST", "/settings", `{"repeat":"answer"}`)
	n.door.to = gate.gateway
	site := siteTelling(n.bell.server.URL+"/told", notifyKey)
	for i, dsn := range dsns {
		w := &world{public: processtest.FreeAddress(t), gateway: gate.gateway, shop: n.shop, client: newClient(t)}
		w.values = map[string]string{
			"public": w.public, "gateway": n.door.server.Listener.Addr().String(), "timeout": "10s", "node": fmt.Sprint(i), "listen": "on",
			"site":  strings.NewReplacer("{{shop}}", n.shop.address, "checkout /checkout", "checkout /checkout\n\t\tretry 1h").Replace(site),
			"extra": "", "account": "", "limits": "", "min": "1s", "max": "3s",
		}
		maps.Copy(w.values, further)
		w.caddy = newCaddy(t, nodeConfig, w.values)
		w.env = append(w.env, dsnVariable+"="+dsn)
		n.each = append(n.each, w)
	}
	return n
}

// startNodes starts so many nodes over one database.
func startNodes(t *testing.T, count int, further map[string]string) *nodes {
	t.Helper()
	n := newNodes(t, slices.Repeat([]string{postgrestest.Start(t).DSN()}, count), further)
	n.start()
	return n
}

// start starts all nodes, at once: each may be the one that makes the schema.
func (n *nodes) start() {
	n.t.Helper()
	for _, w := range n.each {
		w.launch()
	}
	for _, w := range n.each {
		w.awaitAdmin()
	}
}

// makeOrder is a shop that makes an order of whatever code it is asked for.
func (n *nodes) makeOrder(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		fmt.Fprint(w, "the rest of the shop")
		return
	}
	n.ordered.Add(1)
	w.Header().Set("Content-Type", "application/vnd.qlink.order+json")
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, order(r.URL.Query().Get("order"), cmp.Or(r.URL.Query().Get("amount"), "15000")))
}

// any returns one of the nodes.
func (n *nodes) any() *world { return n.each[rand.IntN(len(n.each))] }

// but returns another one than the given.
func (n *nodes) but(w *world) *world {
	i := slices.Index(n.each, w)
	return n.each[(i+1+rand.IntN(len(n.each)-1))%len(n.each)]
}

// control speaks to the gateway's control API.
func (n *nodes) control(method, path, body string) answer {
	n.t.Helper()
	return n.each[0].control(method, path, body)
}

// notification is the gateway's webhook about a bill.
func (w *world) notification(b billJSON, status string) *http.Request {
	w.t.Helper()
	body := fmt.Sprintf(`{"tradeUuid":%q,"billCode":%q,"orderCode":%q,"status":%q}`, b.ID, b.BillCode, b.OrderCode, status)
	return w.request("POST", "/qlink/payNotification", body, "appKey", appKey, "sign", signOf(body, appSecret))
}

// question is a call that came to the gateway's door.
type question struct {
	call

	at   time.Time
	node string
}

// stop is where something is held up on its way until it is let go.
type stop struct {
	came chan string   // holds who is held up
	free chan struct{} // closed to let it go
}

func newStop() *stop { return &stop{came: make(chan string, 1), free: make(chan struct{})} }

func (s *stop) hold(who string, r *http.Request) {
	if s == nil {
		return
	}
	s.came <- who
	select {
	case <-s.free:
	case <-r.Context().Done():
	}
}

// wait waits, or until whoever asks has gone.
func wait(r *http.Request, d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// doorman stands between the nodes and the gateway, and knows who asks what.
type doorman struct {
	t      *testing.T
	server *httptest.Server
	client *http.Client
	to     string // host:port of the gateway
	board  switchboard

	mu    sync.Mutex
	asked []question
	stops map[string]*stop // by operation and name
	slow  time.Duration    // how long the answer to every question takes
}

// dawdle has the answers to questions take their time from now on.
func (d *doorman) dawdle(slow time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = slow
}

func newDoorman(t *testing.T) *doorman {
	d := &doorman{t: t, client: newClient(t), stops: make(map[string]*stop)}
	d.server = httptest.NewServer(d)
	t.Cleanup(d.server.Close)
	return d
}

// holdUp has the answer of the next call of an operation about a bill, or an
// order, wait.
func (d *doorman) holdUp(operation, name string) *stop {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := newStop()
	d.stops[operation+" "+name] = s
	return s
}

// read reads a call. One names no payment: what there is to choose from.
func (d *doorman) read(r *http.Request) (call, error) {
	if path.Base(r.URL.Path) != "queryPayAccount" {
		return d.board.read(r)
	}
	body, err := io.ReadAll(r.Body)
	return call{header: r.Header.Clone(), body: body}, err
}

func (d *doorman) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	in, err := d.read(r)
	if err != nil {
		return // cut by a kill
	}
	q := question{call: in, at: at, node: in.header.Get("X-Node")}
	d.mu.Lock()
	d.asked = append(d.asked, q)
	slow := d.slow
	var held *stop
	for _, name := range append(slices.Clone(in.trades), in.order) {
		if s := d.stops[in.operation+" "+name]; s != nil {
			held = s
			delete(d.stops, in.operation+" "+name)
		}
	}
	d.mu.Unlock()
	answer, err := pass(d.client, "http://"+d.to+r.URL.Path, in.header, in.body)
	if err != nil {
		d.t.Errorf("the gateway does not answer: %v", err)
		return
	}
	held.hold(q.node, r)
	if in.operation == "getPayStatus" {
		wait(r, slow)
	}
	answer.write(w)
}

// since returns when a node first asked about a bill, from a time on.
func (d *doorman) since(at time.Time, id, node string) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.asked {
		if q.at.After(at) && q.node == node && slices.Contains(q.trades, id) {
			return q.at, true
		}
	}
	return time.Time{}, false
}

// questions counts after how many bills there were questions so far.
func (d *doorman) questions() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, q := range d.asked {
		if q.operation == "getPayStatus" {
			n += len(q.trades)
		}
	}
	return n
}

// postman brings the gateway's webhooks to the nodes, as a load balancer does:
// to any, and to another one where that does not answer. Half of them he brings
// to a second node besides.
type postman struct {
	nodes  *nodes
	server *httptest.Server
	count  atomic.Int64
}

func newPostman(t *testing.T, n *nodes) *postman {
	p := &postman{nodes: n}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

func (p *postman) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	bring := func(to *world) (reply, error) {
		return pass(to.client, "http://"+to.public+r.URL.Path, r.Header.Clone(), body)
	}
	first := p.nodes.any()
	if p.count.Add(1)%2 == 0 && len(p.nodes.each) > 1 {
		var twin sync.WaitGroup
		twin.Go(func() { _, _ = bring(p.nodes.but(first)) })
		defer twin.Wait()
	}
	answer, err := bring(first)
	if (err != nil || answer.status != http.StatusOK) && len(p.nodes.each) > 1 {
		answer, err = bring(p.nodes.but(first))
	}
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	answer.write(w)
}

// annals are what the shop was told of how its orders ended: its log.
type annals struct {
	t      *testing.T
	server *httptest.Server
	hook   *standardwebhooks.Webhook

	mu    sync.Mutex
	told  map[string][]news // by order, in the order they came
	at    map[string][]time.Time
	wrong []string
	stops map[string]*stop // by order
	slow  time.Duration    // how long every answer takes
}

// dawdle has every answer take its time from now on.
func (a *annals) dawdle(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slow = d
}

func newAnnals(t *testing.T) *annals {
	hook, err := standardwebhooks.NewWebhook(notifyKey)
	if err != nil {
		t.Fatal(err)
	}
	a := &annals{t: t, hook: hook, told: make(map[string][]news), at: make(map[string][]time.Time), stops: make(map[string]*stop)}
	a.server = httptest.NewServer(a)
	t.Cleanup(a.server.Close)
	return a
}

// holdUp has the answer to the next news of an order wait.
func (a *annals) holdUp(order string) *stop {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := newStop()
	a.stops[order] = s
	return s
}

func (a *annals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(r.Body)
	if err == nil {
		err = a.hook.Verify(payload, r.Header)
	}
	var body struct {
		Data struct {
			OrderCode        string
			Attempt, Version int
			Order            struct{ Paid bool }
		}
	}
	if err == nil {
		err = json.Unmarshal(payload, &body)
	}
	if err != nil {
		if r.Context().Err() == nil {
			a.t.Errorf("notification: %v", err)
		}
		return
	}
	data := body.Data
	held, slow := a.note(data.OrderCode, news{
		id: r.Header.Get("Webhook-Id"), version: [2]int{data.Attempt, data.Version}, payload: string(payload), paid: data.Order.Paid,
	})
	held.hold(r.RemoteAddr, r)
	wait(r, slow)
	w.WriteHeader(http.StatusNoContent)
}

// note writes the news down, and what is wrong with them: something older than
// what the shop knows already, or the same under another id.
func (a *annals) note(order string, n news) (held *stop, slow time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, earlier := range a.told[order] {
		switch {
		case less(n.version, earlier.version):
			a.wrong = append(a.wrong, fmt.Sprintf("%s: %v came after %v", order, n.version, earlier.version))
		case (n.version == earlier.version) != (n.id == earlier.id) || n.id == earlier.id && n.payload != earlier.payload:
			a.wrong = append(a.wrong, fmt.Sprintf("%s: %s is %v, %s was %v", order, n.id, n.version, earlier.id, earlier.version))
		}
	}
	a.told[order], a.at[order] = append(a.told[order], n), append(a.at[order], time.Now())
	held = a.stops[order]
	delete(a.stops, order)
	return held, a.slow
}

// of returns what the shop was told of an order, and when.
func (a *annals) of(order string) ([]news, []time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.told[order]), slices.Clone(a.at[order])
}

// sameTime posts a request to every node at one instant, some times to each.
func (n *nodes) sameTime(times int, request func(w *world) *http.Request) []answer {
	n.t.Helper()
	answers := make([]answer, len(n.each)*times)
	ready := make(chan struct{})
	var posts sync.WaitGroup
	for i := range answers {
		w := n.each[i%len(n.each)]
		req := request(w)
		posts.Go(func() {
			<-ready
			a, err := w.do(req)
			if err != nil {
				n.t.Errorf("%s: %v", req.URL, err)
				a.Response = new(http.Response)
			}
			answers[i] = a
		})
	}
	close(ready)
	posts.Wait()
	return answers
}

// holds reports whether a TCP address on loopback is the process's own.
func (c *caddy) holds(address string) bool {
	c.t.Helper()
	sockets, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		c.t.Fatal(err)
	}
	number, err := strconv.Atoi(port(c.t, address))
	if err != nil {
		c.t.Fatal(err)
	}
	local := fmt.Sprintf("0100007F:%04X", number)
	dir := fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(sockets)) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[1] != local {
			continue
		}
		for _, file := range open {
			if link, err := os.Readlink(filepath.Join(dir, file.Name())); err == nil && link == "socket:["+fields[9]+"]" {
				return true
			}
		}
	}
	return false
}

// within polls until the condition holds, and returns how long that took; false
// where it takes too long.
func within(ctx context.Context, d time.Duration, holds func() bool) (took time.Duration, ok bool) {
	begun := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Since(begun), false
		}
		if time.Since(begun) > d {
			return time.Since(begun), false
		}
	}
	return time.Since(begun), true
}

// callsOf returns the gateway's calls of an operation by the bill they name.
func (n *nodes) callsOf(operation string) map[string]int {
	n.t.Helper()
	calls := make(map[string]int)
	for _, c := range ledgerOf(n.t, n.gateway).Calls {
		if c.Operation != operation || !bytes.HasPrefix([]byte(c.Body), []byte("{")) {
			continue
		}
		calls[decode[struct{ TradeUUID string }](n.t, []byte(c.Body)).TradeUUID]++
	}
	return calls
}
