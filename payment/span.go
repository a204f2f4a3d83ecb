package payment

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// scopeName names this module in traces.
const scopeName = "github.com/caddy-qlink/caddy-qlink"

// tracing is where spans go: to the provider of the request that an operation
// belongs to, and those of the workers, which belong to none, to the latest
// provider that was seen. Who keeps one that has been shut down traces nothing.
type tracing struct {
	latest atomic.Pointer[trace.TracerProvider]
}

func (t *tracing) tracer(ctx context.Context) trace.Tracer {
	span := trace.SpanFromContext(ctx)
	provider := span.TracerProvider()
	if span.IsRecording() {
		t.latest.Store(&provider)
	} else if seen := t.latest.Load(); seen != nil && !span.SpanContext().IsValid() {
		provider = *seen
	}
	return provider.Tracer(scopeName)
}

// span begins a span: of the kind client, where it is of a call to somebody
// else. Whoever begins one has to end it by endSpan.
func (e *Engine) span(ctx context.Context, kind trace.SpanKind, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return e.tracing.tracer(ctx).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...)) //nolint:spancheck // see above
}

// endSpan ends a span with how the operation ended, in a word of a fixed set:
// the words of an error stay out of traces.
func endSpan(span trace.Span, outcome string, failed bool) {
	span.SetAttributes(attribute.String("qlink.outcome", outcome))
	if failed {
		span.SetStatus(codes.Error, outcome)
	}
	span.End()
}

// spanOf returns a context that holds nothing of ctx but its span: of what
// outlives the request that it follows from.
func spanOf(ctx context.Context) context.Context {
	return trace.ContextWithSpan(context.Background(), trace.SpanFromContext(ctx))
}
