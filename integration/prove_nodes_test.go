package integration

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
	"github.com/caddy-qlink/caddy-qlink/sandbox"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

var proveRounds = flag.Int("prove.rounds", 1, "rounds in which nodes and database are killed, restarted and cut off")

const (
	takenOverWithin = 30 * time.Second
	strugglers      = 4  // buyers at once: the machine has three Caddys and a database to run
	calmOrders      = 12 // orders that end between one harm and the next
	takeoversEvery  = 5  // rounds, the first among them, in which work that hangs is taken over
)

// struggle is the trial of several Caddys over one database: what its buyers,
// the gateway's messenger and the shop know for certain.
type struggle struct {
	*nodes

	server  *postgrestest.Server
	proxies []*postgrestest.Proxy

	mu    sync.Mutex
	deals map[string]*deal // by order

	ended     atomic.Int64
	acks      atomic.Int64
	refused   atomic.Int64 // answers of 503
	slowest   atomic.Int64 // of them, in nanoseconds
	takeovers []string
	longest   time.Duration
	kills     int
}

// deal is one order, as its buyer knows it. Only one worker has it.
type deal struct {
	bills []billJSON // of its attempts
	want  string     // the status of the last one
}

// Three Caddys share a database. One is killed and started again, the database
// is restarted and killed, one Caddy is cut off from it: over and over, under
// the load of buyers, of webhooks that come twice and to different nodes, of
// cancels and of looks at bills. What was acknowledged by one is there at every
// other; no order has two payments; and the shop is told of every end.
//
// What a node was about when it died or was cut off, a question to the gateway,
// a delivery to the shop, a call of /apply, is taken over by another one.
func TestProveSeveralNodesLoseNothingAndPayOnce(t *testing.T) {
	s := newStruggle(t)
	ctx, cease := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for worker := range strugglers {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				s.live(fmt.Sprintf("V-%d-%d", worker, i), i)
			}
		})
	}
	for round := range *proveRounds {
		s.round(round)
	}
	cease()
	load.Wait()
	s.judge()
}

func newStruggle(t *testing.T) *struggle {
	s := &struggle{server: postgrestest.Start(t), deals: make(map[string]*deal)}
	var dsns []string
	for range 3 {
		p := s.server.Proxy()
		s.proxies = append(s.proxies, p)
		dsns = append(dsns, p.DSN())
	}
	s.nodes = newNodes(t, dsns, nil)
	s.start()
	return s
}

// round is each harm once, with calm between.
func (s *struggle) round(n int) {
	killed, cutOff := s.each[n%3], s.each[(n+1)%3]
	if n%takeoversEvery == 0 {
		s.takeOver(fmt.Sprint("R", n))
	} else {
		s.kill(killed)
		s.calm()
		s.cutOff(cutOff)
		s.wantAside(cutOff)
		s.revive(killed)
		s.calm()
		s.rejoin(cutOff)
	}
	s.calm()
	s.server.Restart()
	s.calm()
	s.server.Kill()
	s.server.StartAgain()
	s.calm()
	s.proxyOf(killed).Cut()
	s.wantAside(killed)
	s.rejoin(killed)
	s.calm()
}

// calm waits until some more orders have ended.
func (s *struggle) calm() {
	s.t.Helper()
	until := s.ended.Load() + calmOrders
	if took, ok := within(s.t.Context(), startWithin, func() bool { return s.ended.Load() >= until }); !ok || s.t.Failed() {
		s.t.Fatalf("after %v the load does not go on, or not as it should", took)
	}
}

func (s *struggle) kill(w *world) {
	s.kills++
	w.stop(syscall.SIGKILL)
	w.client.CloseIdleConnections()
}

func (s *struggle) revive(w *world) {
	w.log = new(processtest.Log)
	w.start()
}

func (s *struggle) proxyOf(w *world) *postgrestest.Proxy {
	for i, each := range s.each {
		if each == w {
			return s.proxies[i]
		}
	}
	return nil
}

// cutOff has the network swallow what a node and the database say to each
// other.
func (s *struggle) cutOff(w *world) { s.proxyOf(w).Pause() }

func (s *struggle) rejoin(w *world) {
	s.proxyOf(w).Resume()
	w.await("the database", func() bool {
		return w.status("GET", "/qlink/bills/11111111-1111-4111-8111-111111111111") == http.StatusNotFound
	})
}

// wantAside fails the test unless a node without its database says so at once.
func (s *struggle) wantAside(w *world) {
	s.t.Helper()
	if took, ok := within(s.t.Context(), noticedWithin, func() bool { return w.status("POST", "/checkout?order=V-ASIDE") == http.StatusServiceUnavailable }); !ok {
		s.t.Errorf("not noticed within %v", took)
	}
	begun := time.Now()
	a := w.must("POST", "/checkout?order=V-ASIDE", "").want(s.t, http.StatusServiceUnavailable)
	if took := time.Since(begun); took > atOnce || a.Header.Get("Retry-After") == "" {
		s.t.Errorf("cut off, it answers after %v, with Retry-After %q", took, a.Header.Get("Retry-After"))
	}
}

// hanging is what one node is about: a question, a call of /apply, and a
// delivery.
type hanging struct {
	name    string
	node    *world
	asked   billJSON
	applied string // order
	told    string // order
	stops   []*stop
	before  int // deliveries of the order

	took map[string]time.Duration // until others did the same
}

// hang has a node hang in the middle of all it does: the first one to ask after
// a bill, unless that hangs already.
func (s *struggle) hang(name string, already *hanging) *hanging {
	s.t.Helper()
	h := &hanging{name: name, applied: "V-" + name + "-APPLY", took: make(map[string]time.Duration)}
	var asking *stop
	for n := 0; h.node == nil; n++ {
		b, ok := s.each[0].place(fmt.Sprintf("V-%s-ASK-%d", name, n))
		if !ok {
			s.t.FailNow()
		}
		asking = s.door.holdUp("getPayStatus", b.ID)
		if w := s.numbered(s.await(asking, "a question")); already == nil || w != already.node {
			h.node, h.asked = w, b
		} else {
			close(asking.free)
		}
	}
	applying := s.door.holdUp("apply", h.applied)
	go func() { _, _, _ = h.node.order(h.applied) }() // cut, or answered that nothing is known yet
	s.await(applying, "a call of /apply")
	h.stops = []*stop{asking, applying, s.hangDelivering(h)}
	return h
}

func (s *struggle) numbered(number string) *world {
	i, err := strconv.Atoi(number)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.each[i]
}

// hangDelivering has news of an order hang that the node is delivering: where
// another one came first, of the next order.
func (s *struggle) hangDelivering(h *hanging) *stop {
	s.t.Helper()
	for n := range 20 {
		h.told = fmt.Sprintf("V-%s-TELL-%d", h.name, n)
		b, ok := s.but(h.node).place(h.told)
		if !ok {
			break
		}
		telling := s.bell.holdUp(h.told)
		h.node.insistOn(h.node.notification(b, "SUCCESS"))
		if from := s.await(telling, "a delivery"); h.node.holds(from) {
			return telling
		}
		close(telling.free)
	}
	s.t.Fatalf("%s: the node delivers nothing", h.name)
	return nil
}

func (s *struggle) await(held *stop, what string) (from string) {
	s.t.Helper()
	select {
	case from = <-held.came:
	case <-time.After(startWithin):
		s.t.Fatalf("nobody came with %s", what)
	}
	return from
}

// takeOver kills one node and cuts another one off in the middle of what they
// are about, and measures how long it takes until the third one does it.
func (s *struggle) takeOver(name string) {
	s.t.Helper()
	killed := s.hang(name+"-KILLED", nil)
	cutOff := s.hang(name+"-CUT-OFF", killed)
	var heir *world
	for _, w := range s.each {
		if w != killed.node && w != cutOff.node {
			heir = w
		}
	}
	begun := time.Now()
	s.kill(killed.node)
	s.cutOff(cutOff.node)
	s.wantAside(cutOff.node)
	both := []*hanging{killed, cutOff}
	for _, h := range both {
		told, _ := s.bell.of(h.told)
		h.before = len(told)
		for _, held := range h.stops {
			close(held.free)
		}
	}
	_, ok := within(s.t.Context(), startWithin, func() bool {
		s.look(killed, heir, begun)
		s.look(cutOff, heir, begun)
		return len(killed.took)+len(cutOff.took) == 6
	})
	for _, h := range both {
		for what, d := range h.took {
			ok = ok && d <= takenOverWithin
			s.longest = max(s.longest, d)
			s.takeovers = append(s.takeovers, fmt.Sprintf("%s %s %.1f s", h.name, what, d.Seconds()))
		}
	}
	if !ok {
		s.t.Errorf("taken over were %v and %v", killed.took, cutOff.took)
	}
	s.revive(killed.node)
	s.rejoin(cutOff.node)
}

// look notes what of another node's a node has done by now.
func (s *struggle) look(h *hanging, heir *world, begun time.Time) {
	if at, there := s.door.since(begun, h.asked.ID, heir.values["node"]); there {
		h.took["question"] = at.Sub(begun)
	}
	if all, at := s.bell.of(h.told); len(all) > h.before {
		h.took["delivery"] = at[h.before].Sub(begun)
	}
	if h.took["apply"] > 0 {
		return
	}
	a, err := heir.lookUp(h.applied)
	if err != nil || a.StatusCode != http.StatusOK {
		s.t.Errorf("the order that hung in /apply: %v %s", err, a.body)
		return
	}
	if found := decode[orderJSON](s.t, a.body); len(found.Bills) == 1 && found.Bills[0].Action.Value != "" {
		h.took["apply"] = time.Since(begun)
	}
}

// live is an order's life. What a worker says of it is true when it is over.
func (s *struggle) live(code string, n int) {
	d := new(deal)
	s.mu.Lock()
	s.deals[code] = d
	s.mu.Unlock()
	b, ok := s.buy(d, code)
	if !ok {
		return
	}
	switch n % 6 {
	case 0, 1: // reported by the messenger alone: no question could make good a loss
		d.want = "SUCCESS"
		s.report(b, "SUCCESS")
	case 2: // fails, is ordered again, and paid
		s.decideQuietly(b, "fail")
		s.report(b, "FAIL")
		if b, ok = s.buy(d, code); ok {
			d.want = "SUCCESS"
			s.report(b, "SUCCESS")
		}
	case 3:
		d.want = "CANCELED"
		s.ask(http.StatusOK, func(w *world) *http.Request { return w.request("POST", "/qlink/bills/"+b.ID+"/cancel", "") }, http.StatusAccepted)
	case 4: // paid, and nobody says so
		d.want = "SUCCESS"
		s.decideQuietly(b, "pay")
	case 5: // paid, and the gateway says so
		d.want = "SUCCESS"
		s.control("POST", "/payments/"+b.ID+"/pay", "")
	}
	s.ended.Add(1)
}

func (s *struggle) decideQuietly(b billJSON, fate string) { s.each[0].decide(b.ID, fate) }

// buy posts the order to one node after the other until it is answered, and
// waits until the bill can be paid.
func (s *struggle) buy(d *deal, code string) (b billJSON, ok bool) {
	a, ok := s.ask(http.StatusCreated, func(w *world) *http.Request { return w.request("POST", "/checkout?order="+code, "") }, http.StatusOK, http.StatusAccepted)
	if !ok {
		return b, false
	}
	b = decode[billJSON](s.t, a.body)
	if b.OrderCode != code || b.Attempt != len(d.bills)+1 {
		s.t.Errorf("%s, attempt %d: answered with %+v", code, len(d.bills)+1, b)
	}
	d.bills = append(d.bills, b)
	_, ok = within(s.t.Context(), startWithin, func() bool {
		b, ok = s.seen(b, "CREATED", "WAIT")
		return !ok || b.Action.Value != ""
	})
	return b, ok
}

// report posts a webhook to two nodes at once, until one of them has taken it,
// and then looks at a third.
func (s *struggle) report(b billJSON, status string) {
	request := func(w *world) *http.Request { return w.notification(b, status) }
	var twin sync.WaitGroup
	twin.Go(func() { _, _ = s.any().do(request(s.any())) })
	_, ok := s.ask(http.StatusOK, request)
	twin.Wait()
	if ok {
		s.seen(b, status)
	}
}

// seen looks at a bill, anywhere: it is not older than what is known of it.
func (s *struggle) seen(b billJSON, statuses ...string) (now billJSON, ok bool) {
	a, ok := s.ask(http.StatusOK, func(w *world) *http.Request { return w.request("GET", "/qlink/bills/"+b.ID, "") })
	if !ok {
		return b, false
	}
	now = decode[billJSON](s.t, a.body)
	if !slices.Contains(statuses, now.Status) || now.Version < b.Version || !sameBill(now, b) {
		s.t.Errorf("known was %+v, to be %v, found %+v", b, statuses, now)
		return now, false
	}
	return now, true
}

// ask sends a request to one node after the other, as clients behind a load
// balancer do, until it is answered as wanted. What is no answer, or one of 503,
// or says that an earlier attempt may not have ended, is asked again.
func (s *struggle) ask(want int, request func(*world) *http.Request, orElse ...int) (answer, bool) {
	var last string
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); {
		w := s.any()
		begun := time.Now()
		a, err := w.do(request(w))
		if err != nil {
			last = err.Error()
		} else {
			last = fmt.Sprintf("%d %.300s", a.StatusCode, a.body)
			if a.StatusCode == want || slices.Contains(orElse, a.StatusCode) {
				s.acks.Add(1)
				return a, true
			}
			if !s.again(a, time.Since(begun)) {
				break
			}
		}
		<-time.After(time.Duration(20+rand.IntN(80)) * time.Millisecond)
	}
	s.t.Errorf("not answered as it should be: %s", last)
	return answer{}, false
}

// again reports whether an answer says that it is worth to ask again.
func (s *struggle) again(a answer, took time.Duration) bool {
	switch a.StatusCode {
	case http.StatusServiceUnavailable:
		s.refused.Add(1)
		for slowest := s.slowest.Load(); int64(took) > slowest && !s.slowest.CompareAndSwap(slowest, int64(took)); slowest = s.slowest.Load() {
		}
		return a.Header.Get("Retry-After") != ""
	case http.StatusConflict:
		return strings.Contains(string(a.body), "previous_attempt_open")
	}
	return false
}

// judge prints the trial's row.
func (s *struggle) judge() {
	lost, double := s.compare()
	prove(s.t, "three nodes over one PostgreSQL: nodes killed and cut off, the database restarted and killed, under load",
		fmt.Sprintf("%d rounds, %d nodes killed, %d orders, %d answers", *proveRounds, s.kills, len(s.deals), s.acks.Load()),
		fmt.Sprintf("%d lost or not told to the shop, %d with a second payment; %d answers of 503, the slowest after %.1f s; taken over after %.1f s at most (%s)",
			lost, double, s.refused.Load(), time.Duration(s.slowest.Load()).Seconds(), s.longest.Seconds(), strings.Join(s.takeovers, ", ")))
}

// compare compares what was acknowledged with what the nodes say now, with the
// gateway's ledger and with the shop's log.
func (s *struggle) compare() (lost, double int) {
	wrong := make(map[string]string)
	if _, ok := within(s.t.Context(), startWithin, func() bool { return s.differences(wrong) == 0 }); !ok {
		for code, complaint := range wrong {
			s.t.Errorf("%s: %s", code, complaint)
		}
	}
	for code, n := range payableAtOnce(s.t, s.gateway) {
		if n > 1 {
			double++
			s.t.Errorf("%s: %d payments at once", code, n)
		}
	}
	s.wantBooksInOrder()
	if len(s.bell.wrong) > 0 {
		s.t.Errorf("the shop was told:\n%s", lines(s.bell.wrong))
	}
	return len(wrong), double
}

// differences notes what is wrong with orders that are not as they should be.
func (s *struggle) differences(wrong map[string]string) int {
	made := byOrder(ledgerOf(s.t, s.gateway).Payments)
	s.mu.Lock()
	defer s.mu.Unlock()
	var mu sync.Mutex
	clear(wrong)
	codes := make([]string, 0, len(s.deals))
	for code := range s.deals {
		codes = append(codes, code)
	}
	crowd(proveWorkers, len(codes), func(i int) {
		if complaint := s.difference(codes[i], s.deals[codes[i]], made[codes[i]]); complaint != "" {
			mu.Lock()
			defer mu.Unlock()
			wrong[codes[i]] = complaint
		}
	})
	return len(wrong)
}

func (s *struggle) difference(code string, d *deal, made []sandbox.PaymentRecord) string {
	if d.want == "" {
		return "" // its worker has complained
	}
	a, err := s.any().lookUp(code)
	if err != nil || a.StatusCode != http.StatusOK {
		return fmt.Sprintf("%v %s", err, a.body)
	}
	found := decode[orderJSON](s.t, a.body)
	if len(found.Bills) != len(d.bills) || len(made) != len(d.bills) {
		return fmt.Sprintf("answered were %+v, found are %+v, the gateway has %+v", d.bills, found, made)
	}
	for i, b := range d.bills {
		now := found.Bills[len(found.Bills)-1-i]
		if now.ID != b.ID || made[i].TradeUUID != b.ID || now.Version < b.Version || !now.Final {
			return fmt.Sprintf("answered was %+v, found is %+v, the gateway has %+v", b, now, made[i])
		}
	}
	last := found.Bills[0]
	if last.Status != d.want || found.Paid != (d.want == "SUCCESS") {
		return fmt.Sprintf("to be %s, found %+v", d.want, found)
	}
	told, _ := s.bell.of(code)
	if len(told) == 0 || told[len(told)-1].paid != found.Paid || told[len(told)-1].version != [2]int{last.Attempt, last.Version} {
		return fmt.Sprintf("found %+v, the shop was told %+v", last, told)
	}
	return ""
}

// wantBooksInOrder looks into the database itself: no order has two attempts
// that are open or paid, and what is counted is what is there.
func (s *struggle) wantBooksInOrder() {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.server.DSN())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.t.Context())
	for what, query := range map[string]string{
		"orders with two attempts": `SELECT count(*) FROM (SELECT FROM qlink.bills WHERE open OR status = 'SUCCESS' GROUP BY ledger, shop, order_code HAVING count(*) > 1) AS double`,
		"bills miscounted": `SELECT abs((SELECT count(*) FROM qlink.bills) - (SELECT sum(choose + created + wait + success + fail + canceled + expired) FROM qlink.counts)) +
			abs((SELECT count(*) FROM qlink.bills WHERE status = 'SUCCESS') - (SELECT sum(success) FROM qlink.counts))`,
		"notifications miscounted": `SELECT abs((SELECT count(*) FROM qlink.notifications) - (SELECT sum(pending + delivered + superseded + dead) FROM qlink.counts))`,
	} {
		var n int
		if err := conn.QueryRow(s.t.Context(), query).Scan(&n); err != nil || n != 0 {
			s.t.Errorf("%d %s: %v", n, what, err)
		}
	}
}
