package payment

import (
	"context"
	"slices"
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

func (t *tracing) tracer(span trace.Span) trace.Tracer {
	provider := span.TracerProvider()
	if span.IsRecording() {
		t.see(provider)
	} else if seen := t.latest.Load(); seen != nil && !span.SpanContext().IsValid() {
		provider = *seen
	}
	return provider.Tracer(scopeName)
}

func (t *tracing) see(provider trace.TracerProvider) { t.latest.Store(&provider) }

// untraced is the provider of a context that holds no span.
var untraced = trace.NewNoopTracerProvider() //nolint:staticcheck // its successor, of the package noop, is another one

// off reports whether nobody traces: neither who asked nor anybody before.
func (t *tracing) off(span trace.Span) bool {
	return t.latest.Load() == nil && span.TracerProvider() == untraced
}

// span begins a span: of the kind client, where it is of a call to somebody
// else. Whoever begins one has to end it by endSpan.
func (e *Engine) span(ctx context.Context, kind trace.SpanKind, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	current := trace.SpanFromContext(ctx)
	if e.tracing.off(current) {
		return ctx, current // which does nothing
	}
	// A copy, so that attributes stay off the heap where nobody traces.
	options := trace.WithAttributes(slices.Clone(attributes)...)
	return e.tracing.tracer(current).Start(ctx, name, trace.WithSpanKind(kind), options) //nolint:spancheck // see above
}

// endSpan ends a span with how the operation ended, in a word of a fixed set:
// the words of an error stay out of traces.
func endSpan(span trace.Span, outcome string, failed bool) {
	if !span.IsRecording() {
		span.End()
		return
	}
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
