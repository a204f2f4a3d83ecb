package caddyqlink

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

// BenchmarkPaymentsWithMetrics takes orders and has them paid, over a store in
// memory and a gateway that answers at once, so that nothing hides what metrics
// cost: times is how long that takes as a multiple of what it takes without
// them.
func BenchmarkPaymentsWithMetrics(b *testing.B) {
	var with, without time.Duration
	const round = 50 // in turns, so that both see the same machine, and over stores that stay small
	for done := 0; done < b.N; done += round {
		without += newTill(nil).take(b, min(round, b.N-done))
		with += newTill(measured).take(b, min(round, b.N-done))
	}
	b.ReportMetric(float64(with)/float64(without), "times")
}

// till is an engine with nothing slow around it.
type till struct {
	engine *payment.Engine
	scope  payment.Scope
	orders int
}

func newTill(m payment.Metrics) *till {
	store := memory.New()
	account := &payment.Account{Name: "bench", Ledger: "ledger", Location: time.UTC, Gateway: prompt{}, CallTimeout: time.Second}
	return &till{
		scope: payment.Scope{Account: account, Shop: "default"},
		engine: payment.New(payment.Config{
			Accounts:    []*payment.Account{account},
			Store:       func(context.Context) (bill.Store, func(), error) { return store, func() {}, nil },
			MinInterval: time.Second, MaxInterval: time.Minute, UnknownAfter: time.Second, Metrics: m,
			Logger: zap.NewNop(), Now: time.Now, NewID: uuid.NewString, Rand: rand.Int64N,
		}),
	}
}

// take takes so many payments and returns how long that was.
func (k *till) take(b *testing.B, payments int) time.Duration {
	b.Helper()
	begun := time.Now()
	for range payments {
		k.orders++
		o := bill.Order{
			OrderCode: strconv.Itoa(k.orders), Amount: "15000", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS",
		}
		created, err := k.engine.Create(b.Context(), k.scope, o, payment.HandOver{At: begun})
		if err != nil {
			b.Fatal(err)
		}
		n := qlink.Notification{TradeUUID: created.Bill.ID, Status: qlink.ParseStatus("SUCCESS"), PayTime: begun}
		if err := k.engine.Settle(b.Context(), []*payment.Account{k.scope.Account}, n, "hash"); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begun)
}

// prompt is a gateway that answers at once.
type prompt struct{ payment.Gateway }

func (prompt) Apply(_ context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	return qlink.ApplyAnswer{BillCode: r.TradeUUID, ActionValue: "code"}, nil
}
