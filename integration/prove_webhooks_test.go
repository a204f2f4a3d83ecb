package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

var proveSequences = flag.Int("prove.sequences", 300, "sequences of webhooks, faults and wishes held against the model")

const (
	unknownAfter = 30 * time.Second // of the engine under trial, as by default
	lateFor      = 72 * time.Hour   // how long after an unpaid end a payment is still looked for
	onBadger     = 100              // of so many sequences, one runs over Badger
)

// story 8, story 9, story 10, story 12, story 14: whatever the gateway, the
// buyer and the shop do, in whatever order, the engine does what the model of
// the contract's table allows, and in the end has what the ledger has.
func TestProveWebhooksInEveryOrder(t *testing.T) {
	seen := make(tally)
	for _, over := range []struct {
		what  string
		times int
		open  func(t *testing.T) bill.Store
	}{
		{"memory", *proveSequences, func(*testing.T) bill.Store { return memory.New() }},
		{"badger", max(*proveSequences/onBadger, 1), openBadger},
	} {
		restore := setRapid(t, over.times)
		before := seen["sequences"]
		rapid.Check(t, func(rt *rapid.T) {
			plan := rapid.SliceOfN(rapid.Custom(drawStep), 4, 24).Draw(rt, "plan")
			var wrong string
			synctest.Test(t, func(t *testing.T) { wrong = try(t, over.open(t), plan, seen) })
			if wrong != "" {
				rt.Fatalf("over %s: %s", over.what, wrong)
			}
		})
		restore()
		if ran := seen["sequences"] - before; ran < over.times {
			t.Errorf("%d sequences over %s, want %d", ran, over.what, over.times)
		}
	}
	for _, what := range rareSights {
		if *proveSequences >= 10_000 && seen[what] == 0 {
			t.Errorf("no sequence saw any %s", what)
		}
	}
	prove(t, "webhooks in every order, duplicated, late, contradicting", seen.String("sequences", "webhooks", "calls of the gateway", "payments booked"),
		"0 differ from the model; "+seen.String(rareSights...))
}

// rareSights are what a long trial has to have seen.
var rareSights = []string{"late payments", "refunds due", "ends reported of paid bills", "attempts replaced", "orders paid", "notifications superseded"}

// tally counts what a trial went through.
type tally map[string]int

func (s tally) count(what string) { s[what]++ }

func (s tally) String(whats ...string) string {
	var parts []string
	for _, what := range whats {
		parts = append(parts, fmt.Sprintf("%d %s", s[what], what))
	}
	return strings.Join(parts, ", ")
}

// setRapid makes rapid run so many checks from the trial's seed.
func setRapid(t *testing.T, checks int) (restore func()) {
	t.Helper()
	before := make(map[string]string)
	for name, value := range map[string]string{
		"rapid.checks": strconv.Itoa(checks), "rapid.seed": strconv.FormatUint(*proveSeed, 10), "rapid.nofailfile": "true",
	} {
		before[name] = flag.Lookup(name).Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for name, value := range before {
			if err := flag.Set(name, value); err != nil {
				t.Error(err)
			}
		}
	}
}

// ordeal is one sequence: an engine with its workers, the bank, the shop, and
// what the model believes.
type ordeal struct {
	engine  *payment.Engine
	account *payment.Account
	scope   payment.Scope
	ctx     context.Context //nolint:containedctx // an ordeal is one run: its context lives and ends with it
	leaps   atomic.Int64    // how far the clock is ahead of the bubble's
	made    atomic.Int64    // ids so far
	again   func()          // sends the last webhook once more

	mu      sync.Mutex // of everything below
	bank    *bank
	shop    *till
	ids     []string // of bills, oldest first
	bills   map[string]bill.Bill
	had     map[string][]bill.Status
	beliefs map[string]*belief
	notices map[string]*notice
	newest  map[string]string // by order, the newest notification's id
	seen    tally
	trace   []string
	wrong   string
}

// try runs a plan and returns what went wrong first, with all that led there.
func try(t *testing.T, store bill.Store, plan []step, seen tally) (wrong string) {
	o := newOrdeal(t, store, seen)
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	workers.Go(func() { o.engine.Run(ctx) })
	for i, s := range append([]step{{deed: deeds[0]}}, plan...) { // nothing happens before there is an order
		o.note("%d: %s %d", i+1, s.deed.name, s.what)
		s.deed.do(o, s.what)
		if o.settled(); o.wrong != "" {
			break
		}
	}
	if o.wrong == "" {
		o.heal()
	}
	stop()
	workers.Wait()
	if err := o.engine.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	seen.count("sequences")
	if o.wrong == "" {
		return ""
	}
	return o.wrong + "\n" + strings.Join(o.trace, "\n")
}

func newOrdeal(t *testing.T, store bill.Store, seen tally) *ordeal {
	o := &ordeal{
		ctx: t.Context(), seen: seen, bills: make(map[string]bill.Bill), had: make(map[string][]bill.Status),
		beliefs: make(map[string]*belief), notices: make(map[string]*notice), newest: make(map[string]string),
	}
	o.bank = &bank{o: o}
	o.shop = &till{o: o, last: make(map[string]string), paid: make(map[string]bool)}
	o.account = &payment.Account{
		Name: "default", Ledger: "ledger", AppKey: "app", Secrets: []string{"s"}, Location: time.UTC, Gateway: o.bank,
		ExpireAfter: 24 * time.Hour, CallTimeout: 10 * time.Second, StatusBatch: 50,
	}
	o.scope = payment.Scope{Account: o.account, Shop: "default"}
	target := payment.Target{URL: "https://shop.example/", Secrets: [][]byte{[]byte("a key of twenty-four bytes")}, Events: bill.NotificationTypes()}
	watched := &witness{Store: store, o: o}
	o.engine = payment.New(payment.Config{
		Accounts: []*payment.Account{o.account},
		Store:    func(context.Context) (bill.Store, func(), error) { return watched, func() {}, nil },
		Notify:   func(string, string) []payment.Target { return []payment.Target{target} }, NotifyTransport: o.shop,
		MinInterval: 5 * time.Second, MaxInterval: 10 * time.Minute, UnknownAfter: unknownAfter,
		Logger: zap.NewNop(), Now: o.now, NewID: func() string { return fmt.Sprint("b", o.made.Add(1)) },
		Rand: func(int64) int64 { return 0 },
	})
	return o
}

// now is the clock of everybody in the sequence, in the engine's precision.
func (o *ordeal) now() time.Time {
	return time.Now().UTC().Round(0).Add(time.Duration(o.leaps.Load())).Truncate(time.Microsecond)
}

// leap lets time go by, and the workers look at what has become due.
func (o *ordeal) leap(d time.Duration) {
	o.leaps.Add(int64(max(d-time.Second, 0)))
	<-time.After(time.Second)
	synctest.Wait()
}

// with does something under the lock.
func (o *ordeal) with(do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do()
}

// note and blame are called under the lock, or while nothing else runs.
func (o *ordeal) note(format string, args ...any) {
	o.trace = append(o.trace, fmt.Sprintf(format, args...))
}

func (o *ordeal) blame(format string, args ...any) {
	o.note("wrong: "+format, args...)
	if o.wrong == "" {
		o.wrong = fmt.Sprintf(format, args...)
	}
}

// attempts returns what is believed of an order's bills, oldest first.
func (o *ordeal) attempts(order string) []*belief {
	var attempts []*belief
	for _, id := range o.ids {
		if b := o.beliefs[id]; b.order == order {
			attempts = append(attempts, b)
		}
	}
	return attempts
}

// paid is what a payment means for the other attempts: their end is wished for.
func (o *ordeal) paid(id string) {
	b := o.beliefs[id]
	if !b.maybe(bill.Success) {
		return
	}
	for _, other := range o.attempts(b.order) {
		if other != b {
			other.wished = true
		}
	}
}

// settled waits until nothing goes on, holds every bill against the model, and
// takes over what the model left open.
func (o *ordeal) settled() {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	paid := 0
	for _, id := range o.ids {
		b, stored := o.beliefs[id], o.bills[id]
		b.pass(o.now())
		switch {
		case !b.maybe(stored.Status):
			o.blame("%s is %s, the model says %v", id, stored.Status, b.may)
		case stored.Status == bill.Success && !b.paidSaid:
			o.blame("%s is paid, and nobody said so", id)
		}
		b.may = []bill.Status{stored.Status}
		if stored.Status.EndedUnpaid() && b.endedAt.IsZero() {
			b.endedAt = o.now()
		}
		if stored.Status == bill.Success && !stored.RefundDue {
			paid++
		}
	}
	if paid > 1 {
		o.blame("%d attempts are paid, and no refund is due", paid)
	}
}

// heal ends all faults, lets every wait go by, and compares with the ledger
// and with what the shop took.
func (o *ordeal) heal() {
	o.note("everything heals")
	o.with(func() {
		o.bank.apply, o.bank.query, o.bank.cancel, o.bank.during, o.shop.shut = applyTakes, queryAnswers, cancelAnswers, nil, false
	})
	for range 11 { // the breaker's pause is counted in the bubble's time
		o.leap(time.Second)
	}
	for _, d := range []time.Duration{
		31 * time.Second, 31 * time.Second, 12 * time.Minute, 25 * time.Hour, 12 * time.Minute, 12 * time.Minute, 12 * time.Minute, 6 * time.Hour, lateFor,
	} {
		o.leap(d)
		o.settled()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range o.ids {
		o.atLast(o.bills[id], o.beliefs[id], o.bank.payments.find(id))
	}
	for order, id := range o.newest {
		if o.shop.last[order] != id {
			n := o.notices[id]
			o.blame("the last that the shop took is %q, the newest news are %s of %s", o.shop.last[order], n.kind, n.bill)
		}
	}
	o.sum()
}

// atLast holds a bill against the ledger.
func (o *ordeal) atLast(b bill.Bill, believed *belief, d *deposit) {
	paid := d != nil && !d.paidAt.IsZero()
	inTime := believed.endedAt.IsZero() || paid && !d.paidAt.After(believed.endedAt.Add(lateFor))
	switch {
	case paid && inTime && b.Status != bill.Success && b.Status != bill.Choose:
		o.blame("%s is paid in the ledger, but %s", b.ID, b.Status)
	case believed.lied:
	case !b.Status.Final():
		o.blame("%s is still %s", b.ID, b.Status)
	case b.Status == bill.Success && !paid:
		o.blame("%s is not paid in the ledger", b.ID)
	case d != nil && d.payable():
		o.blame("%s is %s, and can still be paid", b.ID, b.Status)
	}
}

// sum counts what the sequence saw.
func (o *ordeal) sum() {
	for _, b := range o.bills {
		if b.LatePayment {
			o.seen.count("late payments")
		}
		if b.RefundDue {
			o.seen.count("refunds due")
		}
		if b.Status == bill.Success {
			o.seen.count("orders paid")
		}
		if b.Cancel.Reason == bill.CancelReplaced {
			o.seen.count("attempts replaced")
		}
	}
	for n := range maps.Values(o.notices) {
		if !n.taken {
			o.seen.count("notifications superseded")
		}
	}
}

// statusIsStored checks that a bill that was answered with is one that was
// stored.
func (o *ordeal) statusIsStored(b bill.Bill) {
	if !slices.Contains(o.had[b.ID], b.Status) || b.Version > o.bills[b.ID].Version {
		o.blame("answered with %s as %s, version %d, which never was", b.ID, b.Status, b.Version)
	}
}

// refusalOf returns the code of a refusal, "" for any other error.
func refusalOf(err error) payment.Code {
	if r, ok := errors.AsType[*payment.Refusal](err); ok {
		return r.Code
	}
	return ""
}

// settle hands the engine a notification and, where it was taken, lets the
// model know.
func (o *ordeal) settle(n qlink.Notification) {
	err := o.engine.Settle(o.ctx, []*payment.Account{o.account}, n, "hash")
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.count("webhooks")
	b, now := o.beliefs[n.TradeUUID], o.now()
	switch {
	case b == nil:
		if !errors.Is(err, bill.ErrNotFound) {
			o.blame("a webhook about an unknown bill: %v", err)
		}
	case n.OrderCode != b.order:
		if !errors.Is(err, payment.ErrContradiction) {
			o.blame("a webhook about another order: %v", err)
		}
	case err != nil:
		o.blame("webhook %s of %s: %v", n.Status.Raw, n.TradeUUID, err)
	default:
		if b.maybe(bill.Success) && len(b.may) == 1 && (n.Status.Code == qlink.StatusFail || n.Status.Code == qlink.StatusCanceled) {
			o.seen.count("ends reported of paid bills")
		}
		b.told(n.Status.Raw, now, true)
		o.paid(b.id)
	}
}
