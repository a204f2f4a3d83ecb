package payment

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// commit writes a change: the one way of the engine to do so. Nothing is
// counted or emitted before it is durable.
func (e *Engine) commit(ctx context.Context, store bill.Store, change bill.Change) error {
	ctx, span := e.span(ctx, trace.SpanKindInternal, "qlink commit", attribute.Int("qlink.bills", len(change.Bills)),
		attribute.Int("qlink.notifications", len(change.Notifications)))
	err := store.Commit(ctx, change)
	switch {
	case err == nil:
		endSpan(span, "written", false)
	case errors.Is(err, bill.ErrConflict):
		endSpan(span, "conflict", false) // somebody else was first: the caller looks again
	default:
		endSpan(span, "failed", true)
	}
	if err != nil {
		return err
	}
	for _, c := range change.Bills {
		for _, line := range c.Events {
			e.count(c.Bill, line)
			e.emit(c.Bill, line)
		}
	}
	return nil
}
