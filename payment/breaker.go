package payment

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// A gateway that failed to answer so often in a row is left alone for the
// pause, and then tried by one question.
const (
	breakerFailures = 5
	breakerPause    = 10 * time.Second
)

// watched is an account's gateway with a breaker that hears of every call about
// a bill. Buyers' and shops' calls are always made; only the workers heed it.
type watched struct {
	Gateway

	breaker  circuitbreaker.CircuitBreaker[any]
	reopened atomic.Bool // the gateway has come back: all of its bills are due
}

func watch(g Gateway) *watched {
	w := &watched{Gateway: g}
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

func (w *watched) Apply(ctx context.Context, r qlink.ApplyRequest) (qlink.ApplyAnswer, error) {
	answer, err := w.Gateway.Apply(ctx, r)
	return answer, w.note(err)
}

func (w *watched) GetPayStatus(ctx context.Context, tradeUUIDs, billCodes []string) (qlink.StatusAnswer, error) {
	answer, err := w.Gateway.GetPayStatus(ctx, tradeUUIDs, billCodes)
	return answer, w.note(err)
}

func (w *watched) Cancel(ctx context.Context, tradeUUID, billCode string) (qlink.CancelAnswer, error) {
	answer, err := w.Gateway.Cancel(ctx, tradeUUID, billCode)
	return answer, w.note(err)
}

// CloseIdleConnections closes the gateway's, where it keeps any.
func (w *watched) CloseIdleConnections() {
	if c, ok := w.Gateway.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
