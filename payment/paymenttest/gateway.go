// Package paymenttest is for tests of who calls the engine (operator, console):
// a gateway that needs no network. It proves nothing of the engine or of QLink,
// whose tests have a gateway that can do more, and the sandbox.
package paymenttest

import (
	"context"
	"sync"

	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Mode is how a gateway behaves.
type Mode int

// The modes of a gateway.
const (
	Willing       Mode = iota
	Down               // gives no answer that could be read
	RefusesCancel      // answers a cancel with "no"
)

// Gateway is a payment.Gateway that knows bills by their tradeUuid. The zero
// value is willing, holds nothing, and is safe for concurrent use.
type Gateway struct {
	mu       sync.Mutex
	statuses map[string]string
	mode     Mode
}

// Set gives a bill a status, in QLink's words.
func (g *Gateway) Set(id, status string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.statuses == nil {
		g.statuses = make(map[string]string)
	}
	g.statuses[id] = status
}

// Become changes how it behaves from now on.
func (g *Gateway) Become(m Mode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = m
}

// asked returns how it behaves, and what it knows of a bill.
func (g *Gateway) asked(id string) (mode Mode, status string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mode == Down {
		err = &qlink.Error{Operation: "any", Kind: qlink.KindUnclear}
	}
	return g.mode, g.statuses[id], err
}

// Apply books a payment.
func (g *Gateway) Apply(_ context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	if _, _, err := g.asked(r.TradeUUID); err != nil {
		return qlink.ApplyAnswer{}, err
	}
	g.Set(r.TradeUUID, "WAIT")
	return qlink.ApplyAnswer{BillCode: "B-" + r.TradeUUID, ActionValue: "000201"}, nil
}

// GetPayStatus answers for the first of the bills.
func (g *Gateway) GetPayStatus(_ context.Context, ids, _ []string) (qlink.StatusAnswer, error) {
	_, status, err := g.asked(ids[0])
	if err != nil || status == "" {
		return qlink.StatusAnswer{Empty: true}, err
	}
	return qlink.StatusAnswer{Rows: []qlink.PayStatus{{TradeUUID: ids[0], Status: qlink.ParseStatus(status)}}}, nil
}

// Cancel cancels, whatever the bill's status.
func (g *Gateway) Cancel(_ context.Context, id, _ string) (qlink.CancelAnswer, error) {
	mode, _, err := g.asked(id)
	switch {
	case err != nil:
		return qlink.CancelAnswer{}, err
	case mode == RefusesCancel:
		return qlink.CancelAnswer{Status: qlink.ParseCancelStatus("FAIL")}, nil
	}
	g.Set(id, "CANCEL")
	return qlink.CancelAnswer{Status: qlink.ParseCancelStatus("SUCCESS")}, nil
}

// QueryPayAccount lists nothing.
func (g *Gateway) QueryPayAccount(context.Context) ([]qlink.PayMethod, error) {
	_, _, err := g.asked("")
	return nil, err
}

// Interface guard
var _ payment.Gateway = (*Gateway)(nil)
