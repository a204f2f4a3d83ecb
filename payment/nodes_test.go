package payment_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

// node is one of the processes that share a store, a gateway and a shop.
type node struct {
	*counter

	name    string
	shop    *mailbox
	asked   *asked
	slow    *atomic.Int64 // nanoseconds that the gateway takes to answer this node
	cutOff  *atomic.Bool  // the gateway does not answer it
	dead    *atomic.Bool  // it reaches the store no longer
	stopRun func()        // ends its workers; nil while there are none
}

// asked says which node asked after which bill, and when.
type asked struct {
	mu   sync.Mutex
	list []question
}

type question struct {
	node, bill string
	at         time.Time
}

// by returns how often a node asked after a bill; "" is any.
func (a *asked) by(node, id string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.list {
		if (node == "" || q.node == node) && (id == "" || q.bill == id) {
			n++
		}
	}
	return n
}

// times returns when a bill was asked after.
func (a *asked) times(id string) (times []time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.list {
		if q.bill == id {
			times = append(times, q.at)
		}
	}
	return times
}

// GetPayStatus is the gateway's, with a note on who asked.
func (n *node) GetPayStatus(ctx context.Context, ids, codes []string) (qlink.StatusAnswer, error) {
	n.asked.mu.Lock()
	for _, id := range ids {
		n.asked.list = append(n.asked.list, question{n.name, id, time.Now()})
	}
	n.asked.mu.Unlock()
	select {
	case <-time.After(time.Duration(n.slow.Load())):
	case <-ctx.Done():
		return qlink.StatusAnswer{}, failed(qlink.KindUnclear)
	}
	if n.cutOff.Load() {
		return qlink.StatusAnswer{}, failed(qlink.KindNotSent)
	}
	return n.gateway.GetPayStatus(ctx, ids, codes)
}

func (n *node) Apply(ctx context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	return n.gateway.Apply(ctx, r)
}

func (n *node) Cancel(ctx context.Context, id, code string) (qlink.CancelAnswer, error) {
	return n.gateway.Cancel(ctx, id, code)
}

func (n *node) QueryPayAccount(ctx context.Context) ([]qlink.PayMethod, error) {
	return n.gateway.QueryPayAccount(ctx)
}

// RoundTrip is the shop's, with a note on who posted.
func (n *node) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("From-Node", n.name)
	return n.shop.RoundTrip(r)
}

// run starts the node's workers.
func (n *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.engine.Run(ctx)
	}()
	n.stopRun = func() {
		cancel()
		<-done
		n.stopRun = nil
	}
}

// die ends the node's workers as a kill does: nothing is given back.
func (n *node) die() {
	n.dead.Store(true)
	n.stopRun()
}

// nodes runs a test on two nodes, a and b, none of which has workers yet.
func nodes(t *testing.T, change func(name string, cfg *payment.Config), test func(t *testing.T, a, b *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, shop, log := memory.New(), &mailbox{holdURLs: make(map[string]chan struct{})}, new(asked)
		begin := func(name string) *node {
			n := &node{name: name, shop: shop, asked: log, slow: new(atomic.Int64), cutOff: new(atomic.Bool), dead: new(atomic.Bool)}
			n.counter = newCounter(t, func(cfg *payment.Config) {
				cfg.Accounts[0].Gateway, cfg.Accounts[0].StatusBatch = n, 1
				cfg.NotifyTransport = n
				cfg.Notify = func(string, string) []payment.Target {
					return []payment.Target{{URL: shopURL, Secrets: [][]byte{newKey}, Events: everyEnd}}
				}
				lease := cfg.Store
				cfg.Store = func(ctx context.Context) (bill.Store, func(), error) {
					if n.dead.Load() {
						return nil, nil, bill.ErrUnavailable
					}
					return lease(ctx)
				}
				change(name, cfg)
			})
			n.store = store
			return n
		}
		a, b := begin("a"), begin("b")
		b.gateway = a.gateway
		test(t, a, b)
		for _, n := range []*node{a, b} {
			if n.stopRun != nil {
				n.stopRun()
			}
			if err := n.engine.Stop(t.Context()); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func alike(string, *payment.Config) {}

// both starts the workers of both, those of a first at each look at what is due.
func both(a, b *node) {
	a.run()
	pass(10 * time.Millisecond)
	b.run()
}

// orders hands over n orders, and returns their bills.
func (n *node) orders(count int) (bills []bill.Bill) {
	n.t.Helper()
	for i := range count {
		o := order("15000")
		o.OrderCode = fmt.Sprint("N", i)
		bills = append(bills, n.mustCreate(o, payment.OutcomeNew))
	}
	return bills
}

func (b *mailbox) hold(url string) (let func()) {
	held := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holdURLs[url] = held
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.holdURLs[url] == held {
			delete(b.holdURLs, url)
			close(held)
		}
	}
}

func TestEachBillThatIsDueIsAskedAfterByOneNode(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		bills := a.orders(40)
		a.slow.Store(int64(2 * time.Second))
		b.slow.Store(int64(2 * time.Second))
		both(a, b)
		pass(10 * time.Minute)
		for _, of := range bills {
			times := a.asked.times(of.ID)
			for i := 1; i < len(times); i++ {
				if gap := times[i].Sub(times[i-1]); gap < 5*time.Second {
					t.Errorf("asked after twice within %v", gap)
				}
			}
			if len(times) < 4 {
				t.Errorf("asked after %d times in ten minutes", len(times))
			}
		}
		if ofA, ofB := a.asked.by("a", ""), a.asked.by("b", ""); ofA < ofB/4 || ofB < ofA/4 {
			t.Errorf("a asked %d times, b %d times", ofA, ofB)
		}
	})
}

func TestABillThatIsBeingAskedAfterAndIsWatchedAtAnotherNodeIsNotAskedAfterTwice(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		of := a.orders(1)[0]
		a.run()
		pass(10 * time.Hour)
		a.slow.Store(int64(4 * time.Second))
		before := a.asked.by("a", of.ID)
		for a.asked.by("a", of.ID) == before {
			pass(100 * time.Millisecond)
		}
		b.run()
		ctx, leave := context.WithCancel(t.Context())
		go func() { _, _ = b.engine.Wait(ctx, b.scope, of.ID, of.Version) }()
		pass(1500 * time.Millisecond)
		if n := a.asked.by("b", of.ID); n != 0 {
			t.Errorf("b asked %d times beside a", n)
		}
		pass(time.Minute)
		if n := a.asked.by("b", of.ID); n < 8 || n > 14 {
			t.Errorf("%d questions in a watched minute", n)
		}
		leave()
	})
}

func TestTheWorkOfANodeThatDiedIsTakenOverWithinThirtySeconds(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		bills := a.orders(5)
		for _, of := range bills {
			a.gateway.pay(of.ID)
		}
		let := a.shop.hold(shopURL)
		defer let()
		told := order("1")
		told.OrderCode = "told"
		paid := a.mustCreate(told, payment.OutcomeNew)
		a.slow.Store(int64(time.Hour))
		a.run()
		pass(6 * time.Second) // a is asking after one, and has the others
		if err := a.notify(paid, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second) // a is delivering
		b.run()
		pass(10 * time.Second)
		if n := a.asked.by("b", ""); n > 0 || len(a.shop.all()) != 1 {
			t.Errorf("b asked %d times, and %d deliveries were begun, while a had them", n, len(a.shop.all()))
		}
		a.die()
		let()
		pass(30 * time.Second)
		for _, of := range bills {
			a.wantStatus(of.ID, bill.Success)
		}
		came := make(map[string]int)
		for _, m := range a.shop.all() {
			came[m.bill+" "+m.header.Get("From-Node")]++
		}
		if came[paid.ID+" b"] != 1 {
			t.Errorf("came: %v", came)
		}
	})
}

func TestTheWorkOfANodeThatStopsIsTakenOverAtOnce(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		bills := a.orders(5)
		for _, of := range bills {
			a.gateway.pay(of.ID)
		}
		a.slow.Store(int64(time.Hour))
		let := a.shop.hold(shopURL)
		defer let()
		a.run()
		pass(6 * time.Second)
		told := order("1")
		told.OrderCode = "told"
		paid := a.mustCreate(told, payment.OutcomeNew)
		if err := a.notify(paid, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		a.stopRun()
		let()
		b.run()
		pass(2 * time.Second)
		for _, of := range bills {
			a.wantStatus(of.ID, bill.Success)
		}
		if n := len(a.shop.all()); n != 1+1+len(bills) {
			t.Errorf("%d deliveries", n)
		}
	})
}

func TestANotificationIsDeliveredByOneNode(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		a.shop.set(func(mail) (int, http.Header, error) {
			pass(3 * time.Second)
			return http.StatusNoContent, nil, nil
		})
		both(a, b)
		for i, of := range a.orders(30) {
			settled := []*node{a, b}[i%2]
			if err := settled.notify(of, "SUCCESS"); err != nil {
				t.Fatal(err)
			}
			pass(400 * time.Millisecond)
		}
		pass(5 * time.Minute)
		deliveries, by := make(map[string]int), make(map[string]int)
		for _, m := range a.shop.all() {
			deliveries[m.bill]++
			by[m.header.Get("From-Node")]++
		}
		for id, n := range deliveries {
			if n != 1 {
				t.Errorf("bill %s was told of %d times", id, n)
			}
		}
		if len(deliveries) != 30 || by["a"] == 0 || by["b"] == 0 {
			t.Errorf("%d bills were told of, by %v", len(deliveries), by)
		}
	})
}

// underWay has a deliver that a bill has failed, to a shop that does not answer
// until it is let.
func underWay(t *testing.T, a *node) (failed bill.Bill, let func()) {
	t.Helper()
	let = a.shop.hold(shopURL)
	failed = a.orders(1)[0]
	a.run()
	pass(10 * time.Millisecond)
	if err := a.notify(failed, "FAIL"); err != nil {
		t.Fatal(err)
	}
	pass(time.Second)
	if got := a.shop.kinds(); got != "bill.failed" {
		t.Fatalf("came: %s", got)
	}
	return failed, let
}

// wantInOrder lets a delivery end beside which nothing is to have come, and waits
// for the next.
func wantInOrder(t *testing.T, a *node, let func()) {
	t.Helper()
	if got := a.shop.kinds(); got != "bill.failed" {
		t.Errorf("beside the one under way came: %s", got)
	}
	let()
	pass(2 * time.Second)
	if got := a.shop.kinds(); got != "bill.failed bill.late_payment" {
		t.Errorf("came: %s", got)
	}
}

// story 14: an old "failed" never follows a "paid", whoever delivers which.
func TestANewerNotificationNeverOvertakesADeliveryUnderWayAtAnotherNode(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		of, let := underWay(t, a)
		b.run()
		if err := b.notify(of, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(12 * time.Second)
		wantInOrder(t, a, let)
	})
}

func TestWhatSupersededADeliveryIsAnybodysOnceThatHasEnded(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		of, let := underWay(t, a)
		if err := b.notify(of, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		next, err := a.store.PendingNotification(t.Context(), shopURL, of.OrderKey())
		if err != nil {
			t.Fatal(err)
		}
		for _, wants := range []int{0, 1} { // beside it, and after it
			ids, err := a.store.(bill.Leaser).LeaseDueNotifications(t.Context(), bill.Lease{
				Holder: "somebody", For: time.Minute, Until: time.Now(), Limit: 10,
			})
			if err != nil || len(ids) != wants || wants == 1 && ids[0] != next.ID {
				t.Errorf("leased %v, %v; want %d", ids, err, wants)
			}
			let()
			synctest.Wait()
		}
	})
}

func TestWhatSupersededADeliveryIsToldWithinThirtySecondsWhereItsNodeDies(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		of, let := underWay(t, a)
		b.run()
		if err := b.notify(of, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		a.die()
		let()
		pass(30 * time.Second)
		if got := a.shop.kinds(); got != "bill.failed bill.late_payment" {
			t.Errorf("came: %s", got)
		}
	})
}

func TestARedeliveryAtOneNodeDoesNotBeginBesideTheDeliveryAtAnother(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		of, let := underWay(t, a)
		b.run()
		again, err := b.engine.Operator("o").Redeliver(t.Context(), of.ID)
		if err != nil || len(again.Sent) != 1 {
			t.Fatalf("%+v, %v", again, err)
		}
		pass(2 * time.Second)
		if err := b.notify(of, "SUCCESS"); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Second)
		wantInOrder(t, a, let)
		history, err := a.store.History(t.Context(), of.ID)
		if err != nil || !slices.ContainsFunc(history, func(line bill.Event) bool { return line.Kind == bill.EventRedelivered }) {
			t.Errorf("the history does not tell of the operator: %v", err)
		}
	})
}

// atOnce runs something at both nodes, which have both read the order before
// either goes on, and returns the ids of the bills that came of it.
func atOnce(t *testing.T, a, b *node, what func(n *node) (payment.Created, error)) (ids [2]string) {
	t.Helper()
	meeting := &crossing{Store: a.store, both: make(chan struct{})}
	a.store, b.store = meeting, meeting
	var running sync.WaitGroup
	for i, n := range []*node{a, b} {
		running.Go(func() {
			created, err := what(n)
			if err != nil || created.Bill.Status != bill.Wait {
				t.Errorf("%s: %+v, %v", n.name, created, err)
			}
			ids[i] = created.Bill.ID
		})
	}
	running.Wait()
	return ids
}

// story 2, story 4
func TestTwoNodesThatAreHandedOneOrderMakeOnePayment(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		ids := atOnce(t, a, b, func(n *node) (payment.Created, error) { return n.create(order("15000")) })
		if ids[0] != ids[1] || a.gateway.count("apply") != 1 || len(a.gateway.booked("O1")) != 1 {
			t.Errorf("bills %v, %d calls of /apply, %v", ids, a.gateway.count("apply"), a.gateway.booked("O1"))
		}
	})
}

func TestAnIdempotencyKeyOfOneNodeIsKnownAtAnother(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		post := func(n *node, code, body string) (payment.Created, error) {
			o := order("15000")
			o.OrderCode = code
			return n.engine.Create(t.Context(), n.scope, o, payment.HandOver{Idempotency: &payment.Idempotency{Key: "key", Body: body}})
		}
		first, err := post(a, "O1", "body")
		again, err2 := post(b, "O1", "body")
		if err != nil || err2 != nil || again.Bill.ID != first.Bill.ID {
			t.Errorf("%+v, %v; %+v, %v", first, err, again, err2)
		}
		if _, err := post(b, "O2", "another"); refusal(err) != payment.CodeKeyReused || a.gateway.count("apply") != 1 {
			t.Errorf("another body: %v, %d calls of /apply", err, a.gateway.count("apply"))
		}
	})
}

// story 2, story 4
func TestTryAgainAtTwoNodesIsOneAttempt(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		failed := a.failedBill(order("15000"))
		ids := atOnce(t, a, b, func(n *node) (payment.Created, error) { return n.retry(failed.ID) })
		if ids[0] != ids[1] || ids[0] == failed.ID || a.gateway.count("apply") != 2 {
			t.Errorf("bills %v, %d calls of /apply", ids, a.gateway.count("apply"))
		}
	})
}

// outrun is a store in which something happens once, after a bill was read for
// the second time, which is to change it: who read it does not know.
type outrun struct {
	bill.Store

	id    string
	by    func()
	reads int
}

func (o *outrun) Bill(ctx context.Context, id string) (bill.Bill, error) {
	b, err := o.Store.Bill(ctx, id)
	if id == o.id {
		if o.reads++; o.reads == 2 {
			o.by()
		}
	}
	return b, err
}

// story 12
func TestAPaymentReportedToOneNodeWinsOverACancelAtAnother(t *testing.T) {
	for name, meet := range map[string]func(a *node, of bill.Bill, paid func()){
		"before the wish is stored": func(a *node, of bill.Bill, paid func()) {
			a.store = &outrun{Store: a.store, id: of.ID, by: paid}
		},
		"while the gateway cancels": func(a *node, _ bill.Bill, paid func()) {
			a.gateway.onCancel = func(p *booking) {
				p.status = "SUCCESS"
				paid()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes(t, alike, func(t *testing.T, a, b *node) {
				of := a.orders(1)[0]
				meet(a, of, func() {
					if err := b.notify(of, "SUCCESS"); err != nil {
						t.Error(err)
					}
				})
				both(a, b)
				if _, err := a.engine.Cancel(t.Context(), a.scope, of.ID, bill.CancelBuyer); refusal(err) != payment.CodeAlreadyPaid {
					t.Errorf("cancel: %v", err)
				}
				pass(10 * time.Second)
				if paid := b.wantStatus(of.ID, bill.Success); paid.SettledBy != bill.ByWebhook {
					t.Errorf("settled by %s", paid.SettledBy)
				}
				if got := a.shop.kinds(); got != "bill.paid" {
					t.Errorf("came: %s", got)
				}
				if calls := a.gateway.count("cancel"); (calls == 0) != (name == "before the wish is stored") {
					t.Errorf("%d calls of /cancel", calls)
				}
			})
		})
	}
}

// While a configuration is being rolled out one node knows an account, and one
// does not: which looks at what is due first.
func TestANodeThatDoesNotKnowAnAccountLeavesItsBillsToOneThatDoes(t *testing.T) {
	unknown := func(name string, cfg *payment.Config) {
		if name == "a" {
			cfg.Accounts = nil
		}
	}
	nodes(t, unknown, func(t *testing.T, a, b *node) {
		both(a, b)
		bills := b.orders(10)
		pass(3 * time.Minute)
		for _, of := range bills {
			if n := a.asked.by("b", of.ID); n < 5 {
				t.Errorf("asked after %d times in three minutes", n)
			}
			b.gateway.pay(of.ID)
		}
		pass(time.Minute)
		for _, of := range bills {
			b.wantStatus(of.ID, bill.Success)
		}
	})
}

func TestANodeThatDoesNotReachTheGatewayLeavesBillsToOneThatDoes(t *testing.T) {
	nodes(t, alike, func(t *testing.T, a, b *node) {
		a.cutOff.Store(true)
		both(a, b)
		bills := b.orders(10)
		pass(3 * time.Minute)
		before := make(map[string]int)
		for _, of := range bills {
			before[of.ID] = a.asked.by("b", of.ID)
			if before[of.ID] < 5 {
				t.Errorf("asked after %d times in three minutes", before[of.ID])
			}
			b.gateway.pay(of.ID)
		}
		pass(time.Minute)
		for _, of := range bills {
			b.wantStatus(of.ID, bill.Success)
		}
	})
}

func TestANodeThatDoesNotKnowAURLLeavesItToOneThatDoes(t *testing.T) {
	unknown := func(name string, cfg *payment.Config) {
		if name == "a" {
			cfg.Notify = nil
		}
	}
	nodes(t, unknown, func(t *testing.T, a, b *node) {
		bills := b.orders(8)
		for _, of := range bills {
			if err := b.notify(of, "SUCCESS"); err != nil {
				t.Fatal(err)
			}
		}
		both(a, b)
		pass(2 * time.Second)
		if n := len(a.shop.all()); n != len(bills) {
			t.Errorf("%d of %d were told", n, len(bills))
		}
		for _, of := range bills {
			told, err := b.store.Notifications(t.Context(), of.ID)
			if err != nil || len(told) != 1 || told[0].State != bill.Delivered || told[0].Tries != 1 {
				t.Errorf("%+v, %v", told, err)
			}
		}
	})
}

// A gateway that comes back makes everything due, for one of the nodes.
func TestAGatewaysReturnMakesAllDueAtOneNode(t *testing.T) {
	nodes(t, func(_ string, cfg *payment.Config) { cfg.Accounts[0].ExpireAfter = 0 }, func(t *testing.T, a, b *node) {
		both(a, b)
		bills := a.orders(50)
		pass(5 * time.Hour)
		a.cutOff.Store(true)
		b.cutOff.Store(true)
		pass(10 * time.Minute)
		for _, of := range bills {
			a.gateway.pay(of.ID)
		}
		a.cutOff.Store(false)
		b.cutOff.Store(false)
		pass(40 * time.Second)
		for _, of := range bills {
			a.wantStatus(of.ID, bill.Success)
		}
	})
}
