package payment

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// A gateway that failed to answer so often in a row is left alone for the
// pause, and then tried by one question.
const (
	breakerFailures = 5
	breakerPause    = 10 * time.Second
)

// watched is an account's gateway. Every call is counted and traced, and of
// every call about a bill a breaker hears how it ended. Buyers' and shops' calls
// are always made; only the workers heed it.
type watched struct {
	Gateway

	engine   *Engine
	account  string
	breaker  circuitbreaker.CircuitBreaker[any]
	reopened atomic.Bool // the gateway has come back: all of its bills are due
}

func watch(e *Engine, a *Account) *watched {
	w := &watched{Gateway: a.Gateway, engine: e, account: a.Name}
	w.breaker = circuitbreaker.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return isDown(err) }).
		WithFailureThreshold(breakerFailures).WithSuccessThreshold(1).WithDelay(breakerPause).
		OnClose(func(circuitbreaker.StateChangedEvent) { w.reopened.Store(true) }).
		Build()
	return w
}

// isDown tells a gateway that gives no usable answer from one that says no.
func isDown(err error) bool {
	failure, ok := errors.AsType[*qlink.Error](err)
	if !ok {
		return err != nil
	}
	return failure.Kind == qlink.KindNotSent || failure.Kind == qlink.KindUnclear
}

// answers reports whether the gateway may be asked: always while it answers,
// and after each pause once by a probe about the bill with the given id.
func (w *watched) answers(ctx context.Context, id string) bool {
	if w.breaker.IsClosed() {
		return true
	}
	if !w.breaker.TryAcquirePermit() {
		return false
	}
	_, _ = w.GetPayStatus(ctx, []string{id}, nil) // the breaker has heard how it went
	return w.breaker.IsClosed()
}

// note tells the breaker how a call ended, and returns its error.
func (w *watched) note(err error) error {
	if isDown(err) {
		w.breaker.RecordFailure()
	} else {
		w.breaker.RecordSuccess()
	}
	return err
}

// begin begins a call; end counts how it ended, and returns its error.
func (w *watched) begin(ctx context.Context, op Operation, attributes ...attribute.KeyValue) (_ context.Context, end func(error) error) {
	begun := w.engine.cfg.Now()
	ctx, span := w.engine.span(ctx, trace.SpanKindClient, "qlink "+string(op), append(attributes, attribute.String("qlink.account", w.account))...)
	return ctx, func(err error) error {
		outcome := callOutcome(err)
		endSpan(span, string(outcome), err != nil)
		w.engine.cfg.Metrics.GatewayCalled(w.account, op, outcome, w.engine.cfg.Now().Sub(begun))
		return err
	}
}

func (w *watched) Apply(ctx context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	ctx, end := w.begin(ctx, OpApply, attribute.String("qlink.bill", r.TradeUUID))
	answer, err := w.Gateway.Apply(ctx, r)
	return answer, w.note(end(err))
}

func (w *watched) GetPayStatus(ctx context.Context, tradeUUIDs, billCodes []string) (qlink.StatusAnswer, error) {
	ctx, end := w.begin(ctx, OpGetPayStatus, attribute.StringSlice("qlink.bills", tradeUUIDs))
	answer, err := w.Gateway.GetPayStatus(ctx, tradeUUIDs, billCodes)
	if err = end(err); err != nil && ctx.Err() != nil && w.breaker.IsClosed() {
		return answer, err // whoever asked has gone: that tells nothing of the gateway
	}
	return answer, w.note(err)
}

func (w *watched) Cancel(ctx context.Context, tradeUUID, billCode string) (qlink.CancelAnswer, error) {
	ctx, end := w.begin(ctx, OpCancel, attribute.String("qlink.bill", tradeUUID))
	answer, err := w.Gateway.Cancel(ctx, tradeUUID, billCode)
	return answer, w.note(end(err))
}

// QueryPayAccount is about no bill: the breaker does not hear of it.
func (w *watched) QueryPayAccount(ctx context.Context) ([]qlink.PayMethod, error) {
	ctx, end := w.begin(ctx, OpQueryPayAccount)
	rows, err := w.Gateway.QueryPayAccount(ctx)
	return rows, end(err)
}

// CloseIdleConnections closes the gateway's, where it keeps any.
func (w *watched) CloseIdleConnections() {
	if c, ok := w.Gateway.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
