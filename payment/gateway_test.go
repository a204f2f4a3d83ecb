package payment_test

import (
	"context"
	"sync"
	"time"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// gateway is QLink as far as the engine can tell, with a ledger that says what
// it was asked and what it holds. Faults are set by the field they are named
// after; they are read under the lock at each call.
type gateway struct {
	mu       sync.Mutex
	ledger   map[string]*booking // by tradeUuid
	calls    []string            // operation and tradeUuid, in order
	applying chan struct{}       // where not nil, /apply waits for it to close

	applyErr     error // the answer of /apply, which books nothing …
	applyLost    bool  // … or books, and then fails with applyErr
	noAction     bool
	queryErr     error
	queryEmpty   bool // answers as if it knew nothing
	onQuery      func()
	cancelErr    error
	cancelAnswer string // "": by the payment's state
	onCancel     func(p *booking)

	methods []qlink.PayMethod // that it lists …
	listErr error
	listing chan struct{} // … once this is closed
}

type booking struct {
	id, order, amount, currency, channel, status string
}

func newGateway() *gateway {
	g := &gateway{ledger: make(map[string]*booking), listing: make(chan struct{})}
	close(g.listing)
	return g
}

func (g *gateway) Apply(_ context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	g.mu.Lock()
	wait := g.applying
	g.calls = append(g.calls, "apply "+r.TradeUUID)
	g.mu.Unlock()
	if wait != nil {
		<-wait
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.applyErr != nil && !g.applyLost {
		return qlink.ApplyAnswer{}, g.applyErr
	}
	if _, known := g.ledger[r.TradeUUID]; !known {
		g.ledger[r.TradeUUID] = &booking{id: r.TradeUUID, order: r.OrderCode, amount: r.Amount, currency: r.Currency, channel: r.PayTypeCode + "/" + r.PayChannelCode, status: "WAIT"}
	}
	if g.applyErr != nil {
		return qlink.ApplyAnswer{}, g.applyErr
	}
	answer := qlink.ApplyAnswer{BillCode: "B-" + r.TradeUUID, PaymentRequestID: "R-" + r.TradeUUID, ActionValue: "000201" + r.TradeUUID}
	if g.noAction {
		answer.ActionValue = ""
	}
	return answer, nil
}

func (g *gateway) GetPayStatus(_ context.Context, ids, _ []string) (qlink.StatusAnswer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, "query "+ids[0])
	if g.onQuery != nil {
		g.onQuery()
	}
	if g.queryErr != nil {
		return qlink.StatusAnswer{}, g.queryErr
	}
	p, known := g.ledger[ids[0]]
	if !known || g.queryEmpty {
		return qlink.StatusAnswer{Empty: true}, nil
	}
	return qlink.StatusAnswer{Rows: []qlink.PayStatus{{
		TradeUUID: p.id, BillCode: "B-" + p.id, OrderCode: p.order, PaymentRequestID: "R-" + p.id,
		Status: qlink.ParseStatus(p.status), Currency: p.currency, PayTime: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC),
	}}}, nil
}

func (g *gateway) Cancel(_ context.Context, id, _ string) (qlink.CancelAnswer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls = append(g.calls, "cancel "+id)
	if g.cancelErr != nil {
		return qlink.CancelAnswer{}, g.cancelErr
	}
	p, known := g.ledger[id]
	if !known {
		return qlink.CancelAnswer{}, refused("no such bill")
	}
	if g.onCancel != nil {
		g.onCancel(p)
	}
	if g.cancelAnswer != "" {
		return qlink.CancelAnswer{Status: qlink.ParseCancelStatus(g.cancelAnswer)}, nil
	}
	if p.status != "WAIT" {
		return qlink.CancelAnswer{Status: qlink.ParseCancelStatus("FAIL")}, nil
	}
	p.status = "CANCEL"
	return qlink.CancelAnswer{Status: qlink.ParseCancelStatus("SUCCESS")}, nil
}

func (g *gateway) QueryPayAccount(ctx context.Context) ([]qlink.PayMethod, error) {
	g.mu.Lock()
	wait := g.listing
	g.calls = append(g.calls, "list")
	g.mu.Unlock()
	select {
	case <-wait:
	case <-ctx.Done():
		return nil, &qlink.Error{Operation: "queryPayAccount", Kind: qlink.KindUnclear, Err: ctx.Err()}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.methods, g.listErr
}

// set changes the gateway under its lock.
func (g *gateway) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// pay is the buyer, who pays whatever the gateway holds open.
func (g *gateway) pay(id string) { g.set(func() { g.ledger[id].status = "SUCCESS" }) }

// count returns how many calls began with the given text.
func (g *gateway) count(prefix string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, c := range g.calls {
		if len(c) >= len(prefix) && c[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

// booked returns what the gateway holds for an order, by status.
func (g *gateway) booked(order string) map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	by := make(map[string]int)
	for _, p := range g.ledger {
		if p.order == order {
			by[p.status]++
		}
	}
	return by
}

func refused(message string) error {
	return &qlink.Error{Operation: "apply", HTTPStatus: 200, Message: message, ErrorCode: "E1", Kind: qlink.KindRefused}
}

func failed(kind qlink.Kind) error {
	return &qlink.Error{Operation: "apply", Kind: kind, Err: context.DeadlineExceeded}
}
