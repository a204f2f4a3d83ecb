package integration

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	caddyserver "github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

// step is a deed of a plan, and which of its kind.
type step struct {
	deed *deed
	what int
}

// GoString keeps what rapid prints of a plan readable.
func (s step) GoString() string { return fmt.Sprintf("%s %d", s.deed.name, s.what) }

// deed is something that somebody does in a sequence.
type deed struct {
	name   string
	weight int
	do     func(o *ordeal, what int)
}

// deeds are all that can happen.
var deeds = []*deed{
	{"the shop hands the order over", 6, (*ordeal).create},
	{"time goes by", 6, (*ordeal).wait},
	{"the buyer pays", 4, (*ordeal).pay},
	{"webhook", 10, func(o *ordeal, what int) { o.webhook(what, false) }},
	{"stale webhook", 5, func(o *ordeal, what int) { o.webhook(what, true) }},
	{"the last webhook again", 4, (*ordeal).repeat},
	{"a webhook that the ledger knows nothing of", 2, (*ordeal).lie},
	{"a webhook that changes nothing", 1, (*ordeal).noise},
	{"an ended payment is paid", 2, (*ordeal).payLate},
	{"the bank ends a payment", 2, (*ordeal).end},
	{"the buyer cancels", 2, (*ordeal).cancel},
	{"the shop cancels", 1, (*ordeal).cancelOrder},
	{"the buyer asks", 2, (*ordeal).refresh},
	{"/apply from now on", 3, func(o *ordeal, what int) { o.with(func() { o.bank.apply = applyFault(what % applyFaults) }) }},
	{"/getPayStatus from now on", 2, func(o *ordeal, what int) { o.with(func() { o.bank.query = queryFault(what % queryFaults) }) }},
	{"/cancel from now on", 3, func(o *ordeal, what int) { o.with(func() { o.bank.cancel = cancelFault(what % cancelFaults) }) }},
	{"the gateway heals", 2, func(o *ordeal, _ int) {
		o.with(func() { o.bank.apply, o.bank.query, o.bank.cancel = applyTakes, queryAnswers, cancelAnswers })
	}},
	{"in the middle of the next call", 3, (*ordeal).interrupt},
	{"the shop's door", 1, func(o *ordeal, what int) { o.with(func() { o.shop.shut = what%2 == 0 }) }},
}

// lots holds each deed as often as it weighs.
var lots = func() (lots []*deed) {
	for _, d := range deeds {
		for range d.weight {
			lots = append(lots, d)
		}
	}
	return lots
}()

func drawStep(t *rapid.T) step {
	return step{
		deed: lots[rapid.Uint64().Draw(t, "deed")%uint64(len(lots))],
		what: int(rapid.Uint16().Draw(t, "what")),
	}
}

// openBadger opens a store in a folder of its own.
func openBadger(t *testing.T) bill.Store { return opened(t, &badger.Store{Path: t.TempDir()}) }

// opened opens a store as Caddy would.
func opened(t *testing.T, module interface {
	caddyserver.Provisioner
	bill.Opener
},
) bill.Store {
	t.Helper()
	if err := module.Provision(caddyserver.Context{}); err != nil {
		t.Fatal(err)
	}
	store, err := module.Open(t.Context(), bill.Env{Logger: zap.NewNop})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// pick returns a bill, mostly the newest; "" where there is none.
func (o *ordeal) pick(what int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch n := len(o.ids); {
	case n == 0:
		return ""
	case what%4 == 3:
		return o.ids[what/4%n]
	default:
		return o.ids[n-1]
	}
}

// wants are the terms under which the order is handed over.
var wants = []bill.Order{
	{Amount: "15000", PayType: "ONLINE", PayChannel: "QRIS"},
	{Amount: "15000", PayType: "ONLINE", PayChannel: "QRIS"},
	{Amount: "15000.00", PayType: "ONLINE", PayChannel: "QRIS"},
	{Amount: "20000", PayType: "ONLINE", PayChannel: "QRIS"},
	{Amount: "15000", PayType: "ONLINE", PayChannel: "VA", ChannelSet: true},
	{Amount: "15000"},
}

func (o *ordeal) create(what int) {
	want := wants[what%len(wants)]
	want.OrderCode, want.Currency, want.Country = "O1", "IDR", "ID"
	before := o.standing(want)
	created, err := o.engine.Create(o.ctx, o.scope, want, payment.HandOver{At: o.now()})
	o.mu.Lock()
	defer o.mu.Unlock()
	id, code := created.Bill.ID, refusalOf(err)
	existed := slices.Contains(before.ids, id)
	o.note("  created %s, %s %v", id, created.Outcome, err)
	switch {
	case code == payment.CodePreviousOpen && before.paid == nil:
		return
	case before.paid != nil && !before.paid.Amount.Equal(want.Amount) && code == payment.CodePaidOtherwise:
		return
	case err != nil:
		// A payment that the engine found on its way may be at another amount.
		if code != payment.CodePaidOtherwise || o.anyPaid() == nil {
			o.blame("create: %v", err)
		}
		return
	case before.paid != nil && (created.Outcome != payment.OutcomeExisting || created.Bill.Status != bill.Success):
		o.blame("created %s, %s, of a paid order", id, created.Outcome)
	case before.wanted != "" && id != before.wanted && !o.bills[before.wanted].Status.Final():
		o.blame("created %s although %s is open", id, before.wanted)
	case existed && created.Outcome == payment.OutcomeNew, !existed && created.Outcome == payment.OutcomeExisting:
		o.blame("%s is said to be %s", id, created.Outcome)
	case created.Outcome == payment.OutcomeUnknown != (created.Bill.Status == bill.Created),
		created.Outcome == payment.OutcomeRefused && created.Bill.Status != bill.Fail:
		o.blame("%s, %s, is said to be %s", id, created.Bill.Status, created.Outcome)
	}
	o.statusIsStored(created.Bill)
}

// standing is how an order stands before it is handed over.
type standing struct {
	ids    []string
	paid   *bill.Bill
	wanted string // the open bill that the terms ask for
}

// standing also notes the wish that other terms express.
func (o *ordeal) standing(want bill.Order) standing {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := standing{ids: slices.Clone(o.ids), paid: o.anyPaid()}
	for _, id := range o.ids {
		b := o.bills[id]
		if b.Status.Final() {
			continue
		}
		asked := !want.ChannelSet || b.PayChannel == want.PayChannel
		if asked && b.Amount.Equal(want.Amount) && !b.Cancel.Requested && !o.beliefs[id].expired(o.now()) {
			s.wanted = id
		} else if s.paid == nil && !o.beliefs[id].expired(o.now()) {
			o.beliefs[id].wished = true
		}
	}
	return s
}

func (o *ordeal) anyPaid() *bill.Bill {
	for _, id := range o.ids {
		if b := o.bills[id]; b.Status == bill.Success {
			return &b
		}
	}
	return nil
}

func (o *ordeal) wait(what int) {
	waits := []time.Duration{
		time.Second, 5 * time.Second, 11 * time.Second, 31 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 25 * time.Hour,
	}
	o.leap(waits[what%len(waits)])
}

// payment returns a payment of the ledger, mostly the newest; nil where there
// is none.
func (o *ordeal) payment(what int) *deposit {
	switch n := len(o.bank.payments); {
	case n == 0:
		return nil
	case what%4 == 3:
		return o.bank.payments[what/4%n]
	default:
		return o.bank.payments[n-1]
	}
}

func (o *ordeal) pay(what int) {
	o.with(func() {
		if d := o.payment(what); d != nil && o.bank.see(d.id) != nil && d.payable() {
			d.become("SUCCESS", o.now())
		}
	})
}

func (o *ordeal) payLate(what int) {
	o.with(func() {
		if d := o.payment(what); d != nil && !d.payable() && d.paidAt.IsZero() {
			d.become("SUCCESS", o.now())
		}
	})
}

func (o *ordeal) end(what int) {
	o.with(func() {
		if d := o.payment(what); d != nil && o.bank.see(d.id) != nil && d.payable() {
			d.become([]string{"FAIL", "EXPIRED", "CANCEL"}[what/4%3], o.now())
		}
	})
}

// webhook reports a payment as it stands, or once stood.
func (o *ordeal) webhook(what int, stale bool) {
	var n qlink.Notification
	o.with(func() {
		if d := o.payment(what); d != nil {
			d.visible = time.Time{}
			status := d.status
			if stale {
				status = d.had[what/4%len(d.had)]
			}
			n = qlink.Notification{TradeUUID: d.id, BillCode: billCode(d.id), OrderCode: d.order, Status: qlink.ParseStatus(status), PayTime: d.paidAt}
		}
	})
	if n.TradeUUID != "" {
		o.send(n)
	}
}

// send delivers a webhook and keeps it, to be sent again.
func (o *ordeal) send(n qlink.Notification) {
	o.with(func() {
		o.note("  webhook: %s is %s", n.TradeUUID, n.Status.Raw)
		o.again = func() { o.settle(n) }
	})
	o.settle(n)
}

func (o *ordeal) repeat(int) {
	if o.again != nil {
		o.again()
	}
}

// lie reports what never was.
func (o *ordeal) lie(what int) {
	id := o.pick(what)
	if id == "" {
		return
	}
	status := []string{"WAIT", "FAIL", "CANCEL", "EXPIRED", "SUCCESS"}[what/4%5]
	o.with(func() {
		d := o.bank.payments.find(id)
		o.beliefs[id].lied = o.beliefs[id].lied || d == nil || !slices.Contains(d.had, status)
	})
	o.send(qlink.Notification{TradeUUID: id, OrderCode: "O1", Status: qlink.ParseStatus(status)})
}

// noise are webhooks about nobody, about another order, of an unknown status.
func (o *ordeal) noise(what int) {
	n := qlink.Notification{TradeUUID: o.pick(what), OrderCode: "O1", Status: qlink.ParseStatus("SUCCESS")}
	switch what / 4 % 3 {
	case 0:
		n.TradeUUID = "nobody"
	case 1:
		n.OrderCode = "another"
	default:
		n.Status = qlink.ParseStatus("REFUNDING")
	}
	if n.TradeUUID != "" {
		o.settle(n)
	}
}

func (o *ordeal) cancel(what int) {
	id := o.pick(what)
	if id == "" {
		return
	}
	o.wish(id)
	b, err := o.engine.Cancel(o.ctx, o.scope, id, bill.CancelBuyer)
	o.cancelled(id, b, err)
}

func (o *ordeal) cancelOrder(int) {
	var id string
	o.with(func() {
		for _, candidate := range o.ids {
			if !o.bills[candidate].Status.Final() {
				id = candidate
			}
		}
	})
	o.wish(id)
	b, err := o.engine.CancelOrder(o.ctx, o.scope, "O1")
	if errors.Is(err, bill.ErrNotFound) && o.pick(0) == "" {
		return
	}
	o.cancelled(b.ID, b, err)
}

// wish notes that somebody wants a bill to end.
func (o *ordeal) wish(id string) {
	o.with(func() {
		if id != "" && !o.bills[id].Status.Final() {
			o.beliefs[id].wished = true
		}
	})
}

// cancelled checks the answer to a wish.
func (o *ordeal) cancelled(id string, b bill.Bill, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	stored := o.bills[id].Status
	switch code := refusalOf(err); {
	case code == payment.CodeAlreadyPaid && stored == bill.Success:
	case code == payment.CodeCancelRefused && !b.Status.Final():
	case err != nil:
		o.blame("cancel %s, which is %s: %v", id, stored, err)
	case b.ID != id, !b.Status.Final() && !b.Cancel.Requested, b.Status == bill.Success:
		o.blame("cancel %s: %s %s, %+v", id, b.ID, b.Status, b.Cancel)
	default:
		o.statusIsStored(b)
	}
}

func (o *ordeal) refresh(what int) {
	id := o.pick(what)
	if id == "" {
		return
	}
	b, err := o.engine.Refresh(o.ctx, o.scope, id)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.blame("refresh %s: %v", id, err)
		return
	}
	o.statusIsStored(b)
}

// interrupt makes something happen in the middle of the next call: the payment
// lands between query and cancel, the webhook comes before /apply returned.
func (o *ordeal) interrupt(what int) {
	during := []func(){
		func() { o.pay(0) },
		func() { o.webhook(0, false) },
		func() { o.pay(0); o.webhook(0, false) },
		func() { o.end(what); o.webhook(0, false) },
	}[what%4]
	o.with(func() {
		o.bank.during = func() {
			o.with(func() { o.note("    meanwhile (%d)", what%4) })
			during()
		}
	})
}
