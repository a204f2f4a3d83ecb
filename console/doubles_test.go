package console_test

import (
	"context"
	"sync"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// gateway knows bills by their tradeUuid.
type gateway struct {
	mu   sync.Mutex
	held map[string]string // statuses
	mode string            // "down", "refuses to cancel"
}

func (g *gateway) set(id, status string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held[id] = status
}

func (g *gateway) become(mode string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = mode
}

func (g *gateway) fault() error {
	if g.mode == "down" {
		return &qlink.Error{Operation: "any", Kind: qlink.KindUnclear}
	}
	return nil
}

func (g *gateway) Apply(_ context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.fault(); err != nil {
		return qlink.ApplyAnswer{}, err
	}
	g.held[r.TradeUUID] = "WAIT"
	return qlink.ApplyAnswer{BillCode: "B-" + r.TradeUUID, ActionValue: "000201"}, nil
}

func (g *gateway) GetPayStatus(_ context.Context, ids, _ []string) (qlink.StatusAnswer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	status, known := g.held[ids[0]]
	if err := g.fault(); err != nil || !known {
		return qlink.StatusAnswer{Empty: true}, err
	}
	return qlink.StatusAnswer{Rows: []qlink.PayStatus{{TradeUUID: ids[0], Status: qlink.ParseStatus(status)}}}, nil
}

func (g *gateway) Cancel(_ context.Context, id, _ string) (qlink.CancelAnswer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.fault(); err != nil {
		return qlink.CancelAnswer{}, err
	}
	if g.mode == "refuses to cancel" {
		return qlink.CancelAnswer{Status: qlink.ParseCancelStatus("FAIL")}, nil
	}
	g.held[id] = "CANCEL"
	return qlink.CancelAnswer{Status: qlink.ParseCancelStatus("SUCCESS")}, nil
}

func (g *gateway) QueryPayAccount(context.Context) ([]qlink.PayMethod, error) { return nil, g.fault() }

// broken is an engine whose store does not answer, or not in a way that anybody
// has foreseen.
type broken struct {
	operator.Payments

	err error
}

func (b broken) Gauges(context.Context) (payment.Gauges, error) { return payment.Gauges{}, b.err }

// crowd is an engine that lists a page of bills, and the same again for ever
// unless it is the last.
type crowd struct {
	operator.Payments

	page  []bill.Bill
	last  bool
	pages int
}

func (c *crowd) List(_ context.Context, q bill.Query) ([]bill.Bill, string, error) {
	if !q.StuckAt.IsZero() {
		return nil, "", nil
	}
	c.pages++
	if c.last {
		return c.page, "", nil
	}
	return c.page, "more", nil
}
