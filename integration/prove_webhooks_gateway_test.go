package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// How the bank answers /apply …
type applyFault int

const (
	applyTakes applyFault = iota
	applyRefuses
	applyTimesOut    // nothing was booked
	applyLosesAnswer // booked, and the answer lost
	applyBooksLate   // lost, and not to be seen before bookedLate
	applyUnreachable // the connection was never made
	applyHidesAction // taken, without saying how to pay
)

// books reports whether a payment is written down, whatever is answered.
func (how applyFault) books() bool {
	return slices.Contains([]applyFault{applyTakes, applyHidesAction, applyLosesAnswer, applyBooksLate}, how)
}

// … /getPayStatus …
type queryFault int

const (
	queryAnswers queryFault = iota
	queryFails
	queryNamesAnother // rows of another order
	queryInvents      // a status nobody has defined
	queryLeavesOut    // an answer that is not empty, and yet lacks what was asked
)

// … and /cancel.
type cancelFault int

const (
	cancelAnswers     cancelFault = iota
	cancelPends                   // and is done later
	cancelRefuses                 // whatever the payment's state
	cancelLosesAnswer             // done, and the answer lost
	cancelFails
)

// How many faults there are of each kind.
const (
	applyFaults  = int(applyHidesAction) + 1
	queryFaults  = int(queryLeavesOut) + 1
	cancelFaults = int(cancelFails) + 1
)

// bookedLate is how long a booking may stay out of sight: less than what the
// module waits before it believes that there is none.
const bookedLate = 20 * time.Second

// breakerTrips is how many calls in a row without an answer make the module
// ask only to see whether there is one: what such a question says may be lost.
const breakerTrips = 5

// bank is the gateway of a sequence: a ledger, and the faults that the plan
// sets. It tells the model what it answers.
type bank struct {
	o        *ordeal
	payments ledger
	apply    applyFault
	query    queryFault
	cancel   cancelFault
	during   func() // done once, in the middle of the next call

	unanswered int // calls in a row
}

// ledger is what a bank has booked, oldest first.
type ledger []*deposit

// find returns a payment, whether it can be seen yet or not.
func (l ledger) find(id string) *deposit {
	for _, d := range l {
		if d.id == id {
			return d
		}
	}
	return nil
}

// deposit is a payment in a bank's ledger.
type deposit struct {
	id, order, amount, currency string
	status                      string
	had                         []string // every status so far, for stale webhooks
	visible                     time.Time
	ends                        time.Time // when a pending cancel is done
	paidAt                      time.Time
}

func newDeposit(r qlink.ApplyRequest, now time.Time) *deposit {
	d := &deposit{id: r.TradeUUID, order: r.OrderCode, amount: r.Amount, currency: r.Currency}
	d.become("WAIT", now)
	return d
}

func (d *deposit) become(status string, now time.Time) {
	d.status, d.ends = status, time.Time{}
	d.had = append(d.had, status)
	if status == "SUCCESS" {
		d.paidAt = now
	}
}

// payable is the state in which somebody with the QR code can pay.
func (d *deposit) payable() bool { return d.status == "WAIT" }

// see returns a payment that can be seen, its pending cancel done if it is time.
func (g *bank) see(id string) *deposit {
	d, now := g.payments.find(id), g.o.now()
	if d == nil || now.Before(d.visible) {
		return nil
	}
	if d.payable() && !d.ends.IsZero() && !now.Before(d.ends) {
		d.become("CANCEL", now)
	}
	return d
}

// interrupt does what the plan wants done in the middle of a call, without the
// lock, which it holds before and after.
func (g *bank) interrupt() {
	during := g.during
	g.during = nil
	if during != nil {
		g.o.mu.Unlock()
		during()
		g.o.mu.Lock()
	}
}

// answered counts a call, and reports whether the module is sure to heed what
// it says.
func (g *bank) answered(ok bool) (heeded bool) {
	heeded = g.unanswered < breakerTrips
	g.o.seen.count("calls of the gateway")
	if g.unanswered++; ok {
		g.unanswered = 0
	}
	return heeded
}

func (g *bank) Apply(_ context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	g.o.mu.Lock()
	defer g.o.mu.Unlock()
	how, now := g.apply, g.o.now()
	g.o.note("  /apply %s: %d", r.TradeUUID, how)
	b := g.o.beliefs[r.TradeUUID]
	if b == nil {
		g.o.blame("%s was applied for before it was stored", r.TradeUUID)
		return qlink.ApplyAnswer{}, errors.New("unknown")
	}
	g.mayBook(b)
	b.applies++
	b.applying, b.firstMiss = true, time.Time{}
	d := g.book(r, how, now)
	g.interrupt()
	b.applied(how, g.o.now())
	g.answered(how == applyTakes || how == applyRefuses || how == applyHidesAction)
	return d.applied(how)
}

// applied is what the caller of /apply gets. Only a booked payment is answered
// as taken.
func (d *deposit) applied(how applyFault) (qlink.ApplyAnswer, error) {
	switch how {
	case applyTakes, applyHidesAction:
		answer := qlink.ApplyAnswer{TradeUUID: d.id, BillCode: billCode(d.id), OrderCode: d.order, PaymentRequestID: "R-" + d.id, Currency: d.currency}
		if how == applyTakes {
			answer.ActionValue = "000201" + d.id
		}
		return answer, nil
	case applyRefuses:
		return qlink.ApplyAnswer{}, &qlink.Error{Operation: "apply", HTTPStatus: 200, ErrorCode: "E1", Kind: qlink.KindRefused}
	case applyUnreachable:
		return qlink.ApplyAnswer{}, &qlink.Error{Operation: "apply", Kind: qlink.KindNotSent}
	default:
		return qlink.ApplyAnswer{}, noAnswer("apply")
	}
}

// book writes a payment down, unless it is there.
func (g *bank) book(r qlink.ApplyRequest, how applyFault, now time.Time) *deposit {
	d := g.payments.find(r.TradeUUID)
	switch {
	case d != nil && how != applyUnreachable && how != applyTimesOut:
		d.visible = time.Time{}
	case d == nil && how.books():
		d = newDeposit(r, now)
		if how == applyBooksLate {
			d.visible = now.Add(bookedLate)
		}
		g.payments = append(g.payments, d)
		g.o.seen.count("payments booked")
	}
	return d
}

// mayBook is the first promise, seen from the gateway: no second payment of an
// order unless every earlier one has certainly ended.
func (g *bank) mayBook(b *belief) {
	if why := b.mayApply(g.o.now()); why != "" {
		g.o.blame("%s was %s (%v)", b.id, why, b.may)
	}
	for _, other := range g.o.attempts(b.order) {
		if other == b {
			return // the later ones answer for themselves
		}
		d := g.payments.find(other.id)
		other.pass(g.o.now())
		switch {
		case b.applies > 0:
		case other.maybe(bill.Success) && len(other.may) == 1:
			g.o.blame("%s was applied for although %s had paid", b.id, other.id)
		case !other.ended():
			g.o.blame("%s was applied for while %s may be %v", b.id, other.id, other.may)
		case d != nil && d.payable() && !other.lied:
			g.o.blame("%s was applied for while %s can be paid", b.id, other.id)
		}
	}
}

func (g *bank) GetPayStatus(_ context.Context, ids, _ []string) (qlink.StatusAnswer, error) {
	g.o.mu.Lock()
	defer g.o.mu.Unlock()
	how, asked := g.query, g.o.now()
	g.o.note("  /getPayStatus %v: %d", ids, how)
	var rows []qlink.PayStatus
	for _, id := range ids {
		if d := g.see(id); d != nil {
			rows = append(rows, d.row(how))
		}
	}
	g.interrupt()
	heeded := g.answered(how != queryFails)
	switch how {
	case queryFails:
		return qlink.StatusAnswer{}, noAnswer("getPayStatus")
	case queryLeavesOut:
		return qlink.StatusAnswer{}, nil
	case queryAnswers:
		g.tell(ids, rows, asked, heeded)
	case queryNamesAnother, queryInvents:
		if len(rows) == 0 { // there is nothing to get wrong
			g.tell(ids, nil, asked, heeded)
		}
	}
	return qlink.StatusAnswer{Rows: rows, Empty: len(rows) == 0}, nil
}

// tell lets the model know what was answered. Missing among several proves
// nothing.
func (g *bank) tell(ids []string, rows []qlink.PayStatus, asked time.Time, heeded bool) {
	for _, row := range rows {
		g.o.note("    %s is %s", row.TradeUUID, row.Status.Raw)
		g.o.beliefs[row.TradeUUID].queried(row.Status.Raw, asked, g.o.now(), heeded)
		g.o.paid(row.TradeUUID)
	}
	if len(rows) == 0 && len(ids) == 1 {
		g.o.beliefs[ids[0]].queried("", asked, g.o.now(), heeded)
	}
}

func (d *deposit) row(how queryFault) qlink.PayStatus {
	row := qlink.PayStatus{
		TradeUUID: d.id, BillCode: billCode(d.id), OrderCode: d.order, PaymentRequestID: "R-" + d.id,
		Status: qlink.ParseStatus(d.status), Currency: d.currency, PayTime: d.paidAt,
	}
	switch how {
	case queryNamesAnother:
		row.OrderCode = "another"
	case queryInvents:
		row.Status = qlink.ParseStatus("REFUNDING")
	default:
	}
	return row
}

// QueryPayAccount lists nothing: the shop names every order's channel.
func (g *bank) QueryPayAccount(context.Context) ([]qlink.PayMethod, error) { return nil, nil }

func (g *bank) Cancel(_ context.Context, id, _ string) (qlink.CancelAnswer, error) {
	g.o.mu.Lock()
	defer g.o.mu.Unlock()
	how, b := g.cancel, g.o.beliefs[id]
	g.o.note("  /cancel %s: %d", id, how)
	if !b.mayCancel(g.o.now()) {
		g.o.blame("%s was cancelled without a reason", id)
	}
	b.called = true
	if !b.expired(g.o.now()) || !b.hasAction {
		b.wished = true // not, or not only, for its time
	}
	g.interrupt()
	d, now := g.see(id), g.o.now()
	g.answered(how != cancelFails && how != cancelLosesAnswer)
	switch {
	case how == cancelFails:
		return qlink.CancelAnswer{}, noAnswer("cancel")
	case d == nil:
		return qlink.CancelAnswer{}, &qlink.Error{Operation: "cancel", HTTPStatus: 200, Kind: qlink.KindRefused}
	case how == cancelRefuses, !d.payable():
		b.confirmed = false
		return cancelAnswer("FAIL"), nil
	case how == cancelPends:
		d.ends = now.Add(bookedLate)
		return cancelAnswer("WAIT"), nil
	}
	d.become("CANCEL", now)
	if how == cancelLosesAnswer {
		return qlink.CancelAnswer{}, noAnswer("cancel")
	}
	b.confirmed = true
	return cancelAnswer("SUCCESS"), nil
}

func cancelAnswer(status string) qlink.CancelAnswer {
	return qlink.CancelAnswer{Status: qlink.ParseCancelStatus(status)}
}

func noAnswer(operation string) error {
	return &qlink.Error{Operation: operation, Kind: qlink.KindUnclear, Err: context.DeadlineExceeded}
}

func billCode(id string) string { return fmt.Sprint("B-", id) }
