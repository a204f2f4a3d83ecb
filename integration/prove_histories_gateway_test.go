package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// teller is the gateway of a history: it serves several at once from one
// ledger, and writes down what it does in the moment it does it.
type teller struct {
	history *history
	now     func() time.Time

	mu       sync.Mutex // of everything below
	payments ledger
	rand     *rand.Rand
	healed   bool // no fault from now on
	wrong    string
}

// In so many calls, one goes wrong.
const tellerFaults = 6

// faulty decides whether this call goes wrong. It is called under the lock.
func (g *teller) faulty() bool { return g.rand.IntN(tellerFaults) == 0 && !g.healed }

// crossed lets others run between a call and its effect, and between that and
// its answer, as a network does.
func crossed() {
	for range 3 {
		runtime.Gosched()
	}
}

func (g *teller) Apply(_ context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	crossed()
	defer crossed()
	g.mu.Lock()
	defer g.mu.Unlock()
	how := applyTakes
	if g.faulty() {
		how = []applyFault{applyRefuses, applyTimesOut, applyLosesAnswer, applyUnreachable, applyHidesAction}[g.rand.IntN(5)]
	}
	d := g.payments.find(r.TradeUUID)
	if d == nil && how.books() {
		g.onlyOne(r.TradeUUID)
		d = newDeposit(r, g.now())
		g.payments = append(g.payments, d)
		g.history.at(booked{d.id, bill.Amount(d.amount)})
	}
	if how != applyTakes {
		g.history.at(fails{r.TradeUUID, how == applyRefuses})
	}
	return d.applied(how)
}

// onlyOne is the first promise, seen from the gateway. The model would say the
// same; this does not depend on it.
func (g *teller) onlyOne(id string) {
	for _, d := range g.payments {
		if d.payable() && g.wrong == "" {
			g.wrong = fmt.Sprintf("%s is booked while %s can be paid", id, d.id)
		}
	}
}

func (g *teller) GetPayStatus(_ context.Context, ids, _ []string) (qlink.StatusAnswer, error) {
	crossed()
	defer crossed()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.faulty() {
		return qlink.StatusAnswer{}, noAnswer("getPayStatus")
	}
	var rows []qlink.PayStatus
	for _, id := range ids {
		if d := g.payments.find(id); d != nil {
			rows = append(rows, d.row(queryAnswers))
		}
	}
	return qlink.StatusAnswer{Rows: rows, Empty: len(rows) == 0}, nil
}

func (g *teller) Cancel(_ context.Context, id, _ string) (qlink.CancelAnswer, error) {
	crossed()
	defer crossed()
	g.mu.Lock()
	defer g.mu.Unlock()
	how := cancelAnswers
	if g.faulty() {
		how = []cancelFault{cancelRefuses, cancelLosesAnswer, cancelFails}[g.rand.IntN(3)]
	}
	d := g.payments.find(id)
	switch {
	case how == cancelFails:
		return qlink.CancelAnswer{}, noAnswer("cancel")
	case d == nil:
		return qlink.CancelAnswer{}, &qlink.Error{Operation: "cancel", HTTPStatus: 200, Kind: qlink.KindRefused}
	case how == cancelRefuses, !d.payable():
		return cancelAnswer("FAIL"), nil
	}
	g.turn(d, "CANCEL")
	if how == cancelLosesAnswer {
		return qlink.CancelAnswer{}, noAnswer("cancel")
	}
	return cancelAnswer("SUCCESS"), nil
}

// turn gives a payment another status, under the lock.
func (g *teller) turn(d *deposit, status string) {
	d.become(status, g.now())
	g.history.at(turns{d.id, status})
}

// happens lets something happen at the bank to the payment of a bill, if it
// can: a buyer pays what can be paid, a buyer pays from a picture what cannot
// be paid any more, the bank fails what can be paid.
func (g *teller) happens(id, status string, late bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := g.payments.find(id); d != nil && d.paidAt.IsZero() && d.payable() != late {
		g.turn(d, status)
	}
}

// news is a notification about a payment, mostly the newest, as it stands or,
// stale, as it once stood. Of one that is paid it may then also say, against
// all that was so, that it failed. False where there is no payment.
func (g *teller) news(r *rand.Rand, stale bool) (n qlink.Notification, ok bool) {
	which, when := r.IntN(3), r.IntN(4)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.payments) == 0 {
		return n, false
	}
	d := g.payments[len(g.payments)-1]
	if which == 0 {
		d = g.payments[when%len(g.payments)]
	}
	status := d.status
	switch {
	case stale && !d.paidAt.IsZero() && when < 2:
		status = "FAIL"
		g.history.at(denies{d.id})
	case stale:
		status = d.had[when%len(d.had)]
	}
	return qlink.Notification{TradeUUID: d.id, BillCode: billCode(d.id), OrderCode: d.order, Status: qlink.ParseStatus(status), PayTime: d.paidAt}, true
}

// newest is the id of the newest payment; "" where there is none.
func (g *teller) newest() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.payments) == 0 {
		return ""
	}
	return g.payments[len(g.payments)-1].id
}

func (g *teller) heal() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.healed = true
}

// verdict holds the ledger against the order as it is in the end; "" where
// they agree. What can be paid is one payment at most, and none once one is
// paid.
func (g *teller) verdict(bills []bill.Bill) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wrong != "" {
		return g.wrong
	}
	payable, paid := 0, 0
	for _, b := range bills {
		d := g.payments.find(b.ID)
		if d != nil && d.payable() {
			payable++
		}
		if d != nil && !d.paidAt.IsZero() {
			paid++
		}
		if d == nil && !b.Status.EndedUnpaid() || d != nil && (d.payable() != (b.Status == bill.Wait) || d.paidAt.IsZero() == (b.Status == bill.Success)) {
			return fmt.Sprintf("%s is %s in the end, in the ledger %+v", b.ID, b.Status, d)
		}
	}
	if payable > 1 || paid > 0 && payable > 0 || len(g.payments) > len(bills) {
		return fmt.Sprintf("of %d payments of %d bills, %d can be paid and %d are", len(g.payments), len(bills), payable, paid)
	}
	return ""
}
