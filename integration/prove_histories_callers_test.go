package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// The size of one history, as of the stores' own.
const (
	historyCallers = 4
	historyCalls   = 8
)

// tick is what each look at a history's clock adds to it. The engine's
// intervals pass within a history, and no call of the gateway takes longer than
// it may.
const tick = 100 * time.Millisecond

// history is what was done and told, in the order of one clock that gives
// every moment out once.
type history struct {
	mu    sync.Mutex
	clock int64
	facts []porcupine.Operation
	wrong string // an answer that can be seen to be wrong by itself
}

// moment is now.
func (h *history) moment() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	return h.clock
}

// at writes down what holds from now on.
func (h *history) at(f fact) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	h.facts = append(h.facts, porcupine.Operation{Input: f, Call: h.clock, Return: h.clock})
}

// between writes down what held some time since a moment.
func (h *history) between(began int64, facts ...fact) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	for _, f := range facts {
		h.facts = append(h.facts, porcupine.Operation{Input: f, Call: began, Return: h.clock})
	}
}

func (h *history) blame(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wrong == "" {
		h.wrong = fmt.Sprintf(format, args...)
	}
}

// String lists a history for people.
func (h *history) String() string {
	var text strings.Builder
	for _, op := range h.facts {
		fmt.Fprintf(&text, "%d to %d: %T %+v\n", op.Call, op.Return, op.Input, op.Input)
	}
	return text.String()
}

// encounter is one round: an engine, one order, and those who meet over it.
type encounter struct {
	name    string // of the order
	chance  func(who int) *rand.Rand
	engine  *payment.Engine
	scope   payment.Scope
	bank    *teller
	history *history
	ticks   atomic.Int64
	ids     atomic.Int64
}

func newEncounter(store bill.Store, seed uint64, round int) *encounter {
	name := fmt.Sprintf("history-%d-%d", seed, round)
	e := &encounter{name: name, history: &history{}}
	e.chance = func(who int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(round)<<8|uint64(who))) }
	e.bank = &teller{history: e.history, now: e.now, rand: e.chance(0)}
	account := &payment.Account{
		Name: "default", Ledger: "ledger", AppKey: "app", Secrets: []string{"s"}, Location: time.UTC, Gateway: e.bank,
		CallTimeout: time.Hour, StatusBatch: 50,
	}
	e.scope = payment.Scope{Account: account, Shop: "default"}
	e.engine = payment.New(payment.Config{
		Accounts:    []*payment.Account{account},
		Store:       func(context.Context) (bill.Store, func(), error) { return store, func() {}, nil },
		MinInterval: 10 * tick, MaxInterval: time.Minute, UnknownAfter: 20 * tick,
		Logger: zap.NewNop(), Now: e.now, NewID: func() string { return fmt.Sprint(name, "-", e.ids.Add(1)) },
		Rand: func(int64) int64 { return 0 },
	})
	return e
}

func (e *encounter) now() time.Time {
	return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).Add(time.Duration(e.ticks.Add(1)) * tick)
}

// run lets the callers do what the seed has for them, then heals the gateway,
// and returns the bills as they are in the end.
func (e *encounter) run(ctx context.Context) ([]bill.Bill, error) {
	begin := make(chan struct{})
	var running sync.WaitGroup
	for i := range historyCallers {
		c := &caller{encounter: e, rand: e.chance(i + 1)}
		running.Go(func() {
			<-begin
			for range historyCalls {
				c.one(ctx)
			}
		})
	}
	close(begin)
	running.Wait()
	return e.heal(ctx)
}

// heal ends all faults and asks after every bill until nothing is left to
// learn: twice for what the gateway never got, and once more for what follows.
func (e *encounter) heal(ctx context.Context) ([]bill.Bill, error) {
	e.bank.heal()
	last := &caller{encounter: e}
	for range 3 {
		e.ticks.Add(int64(time.Minute / tick))
		last.order(ctx)
		for _, id := range last.knows {
			last.refresh(ctx, id)
		}
	}
	if err := e.engine.Stop(ctx); err != nil {
		return nil, err
	}
	order, err := e.engine.Order(ctx, e.scope, e.name)
	if errors.Is(err, bill.ErrNotFound) {
		return nil, nil
	}
	return order.Bills, err
}

// caller is one of those who work on an order at once: a buyer, the shop, the
// gateway's messenger.
type caller struct {
	*encounter

	rand  *rand.Rand
	knows []string // bills that it has been told of, oldest first
}

// one makes one call, of a kind that the seed chooses. A third hands the order
// over, a quarter reads.
func (c *caller) one(ctx context.Context) {
	what, which := c.rand.IntN(24), c.rand.IntN(4)
	id := c.pick(which)
	switch {
	case what < 8:
		c.create(ctx, which)
	case id == "" || what < 11:
		c.order(ctx)
	case what < 14:
		c.read(ctx, id)
	case what < 16:
		c.cancel(ctx, id)
	case what < 18:
		c.refresh(ctx, id)
	case what < 22:
		c.notify(ctx, what < 20)
	case which == 0:
		c.bank.happens(c.bank.newest(), "SUCCESS", false)
		c.notify(ctx, false)
	case which == 1:
		c.bank.happens(id, "SUCCESS", what == 22) // nobody is told
	default:
		c.bank.happens(c.bank.newest(), "FAIL", false)
		c.notify(ctx, false)
	}
}

// pick returns a bill that c knows, mostly the newest; "" where it knows none.
func (c *caller) pick(which int) string {
	switch n := len(c.knows); {
	case n == 0:
		return ""
	case which == 0:
		return c.knows[c.rand.IntN(n)]
	default:
		return c.knows[n-1]
	}
}

// told is what an answer with a bill says of it.
func (c *caller) told(b bill.Bill) fact {
	if !slices.Contains(c.knows, b.ID) {
		c.knows = append(c.knows, b.ID)
	}
	return saw{b.ID, b.Amount, sightOf(b)}
}

// create hands the order over, one time in four at the other amount. A new
// bill has the address that this very call gave it.
func (c *caller) create(ctx context.Context, which int) {
	want := bill.Order{OrderCode: c.name, Amount: "15000.00", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS"}
	amount := 0
	if which == 0 {
		amount, want.Amount = 1, asked[1]
	}
	c.history.at(handedOver{amount})
	began := c.history.moment()
	page := fmt.Sprint("https://shop.example/", began)
	created, err := c.engine.Create(ctx, c.scope, want, payment.HandOver{At: c.now(), PayURL: func(string) string { return page }})
	if refusal, ok := errors.AsType[*payment.Refusal](err); ok {
		created.Bill = *refusal.Bill
	}
	b := created.Bill
	paid, isNew := b.Status == bill.Success, err == nil && b.PayURL == page
	switch code := refusalOf(err); {
	case err != nil && code != payment.CodePreviousOpen && code != payment.CodePaidOtherwise,
		code == payment.CodePaidOtherwise && (!paid || b.Amount.Equal(want.Amount)),
		code == payment.CodePreviousOpen && b.Status.Final(),
		err == nil && (!b.Amount.Equal(want.Amount) || created.Outcome != outcome(b, isNew)):
		c.history.blame("create at %s: %v, %s %s, %s at %s", want.Amount, err, created.Outcome, b.ID, b.Status, b.Amount)
	case isNew:
		c.history.between(began, begun{b.ID, b.Attempt, b.Amount}, c.told(b))
	case paid:
		c.history.between(began, c.told(b))
	default:
		c.history.between(began, stood{b.ID}, c.told(b))
	}
}

// outcome is what a buyer is to be told with a bill.
func outcome(b bill.Bill, isNew bool) payment.Outcome {
	switch {
	case b.Status == bill.Created:
		return payment.OutcomeUnknown
	case b.Status == bill.Fail:
		return payment.OutcomeRefused
	case isNew:
		return payment.OutcomeNew
	}
	return payment.OutcomeExisting
}

func (c *caller) cancel(ctx context.Context, id string) {
	c.history.at(wishes{id})
	began := c.history.moment()
	b, err := c.engine.Cancel(ctx, c.scope, id, bill.CancelBuyer)
	switch code := refusalOf(err); {
	case err != nil && code != payment.CodeAlreadyPaid && code != payment.CodeCancelRefused:
		c.history.blame("cancel %s: %v", id, err)
	case (code == payment.CodeAlreadyPaid) != (b.Status == bill.Success),
		code == payment.CodeCancelRefused && (b.Status.Final() || b.Cancel.Requested),
		err == nil && !b.Status.Final() && !b.Cancel.Requested:
		c.history.blame("cancel %s: %v, %s, requested %v", id, err, b.Status, b.Cancel.Requested)
	default:
		c.history.between(began, c.told(b))
	}
}

func (c *caller) refresh(ctx context.Context, id string) {
	began := c.history.moment()
	b, err := c.engine.Refresh(ctx, c.scope, id)
	if err != nil {
		c.history.blame("refresh %s: %v", id, err)
		return
	}
	c.history.between(began, c.told(b))
}

func (c *caller) read(ctx context.Context, id string) {
	began := c.history.moment()
	b, err := c.engine.Bill(ctx, c.scope, id)
	if err != nil {
		c.history.blame("read %s: %v", id, err)
		return
	}
	c.history.between(began, c.told(b))
}

// order reads the order, and then each of its bills: several moments.
func (c *caller) order(ctx context.Context) {
	began := c.history.moment()
	order, err := c.engine.Order(ctx, c.scope, c.name)
	if err != nil && !errors.Is(err, bill.ErrNotFound) {
		c.history.blame("read the order: %v", err)
		return
	}
	list := listed{paid: order.PaidBill, open: order.OpenBill}
	var facts []fact
	for _, b := range slices.Backward(order.Bills) {
		list.ids = append(list.ids, b.ID)
		facts = append(facts, c.told(b))
	}
	c.history.between(began, append(facts, list)...)
}

// notify brings a notification of the gateway.
func (c *caller) notify(ctx context.Context, stale bool) {
	n, ok := c.bank.news(c.rand, stale)
	if !ok {
		return
	}
	began := c.history.moment()
	if err := c.engine.Settle(ctx, []*payment.Account{c.scope.Account}, n, "hash"); err != nil {
		c.history.blame("settle %s of %s: %v", n.Status.Raw, n.TradeUUID, err)
		return
	}
	c.history.between(began, acknowledged{n.TradeUUID, n.Status.Raw})
}
