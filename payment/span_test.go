package payment_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// recorded is a tracer of requests, as Caddy's is, and what it has exported.
type recorded struct {
	*tracetest.InMemoryExporter

	provider *sdktrace.TracerProvider
}

func newRecorded(t *testing.T) recorded {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return recorded{exporter, provider}
}

// request begins the span of a request, which end ends.
func (r recorded) request(t *testing.T) (ctx context.Context, end func()) {
	ctx, span := r.provider.Tracer("test").Start(t.Context(), "request")
	return ctx, func() { span.End() }
}

// names returns the names of the spans in a trace, as they ended.
func (r recorded) names(of context.Context) []string {
	var names []string
	for _, s := range r.GetSpans() {
		if s.SpanContext.TraceID() == trace.SpanContextFromContext(of).TraceID() {
			names = append(names, s.Name)
		}
	}
	return names
}

func TestWhatARequestDoesAtTheGatewayAndInTheStoreIsInItsTrace(t *testing.T) {
	r := newRecorded(t)
	at(t, func(t *testing.T, c *counter) {
		ctx, end := r.request(t)
		created, err := c.engine.Create(ctx, c.scope, order("15000"), payment.HandOver{At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		end()
		if want, got := []string{"qlink commit", "qlink apply", "qlink commit", "request"}, r.names(ctx); !slices.Equal(got, want) {
			t.Errorf("spans %v, want %v", got, want)
		}
		for _, s := range r.GetSpans() {
			if s.Name == "request" {
				continue
			}
			if s.Parent.SpanID() != trace.SpanContextFromContext(ctx).SpanID() || s.Status.Code == codes.Error {
				t.Errorf("%s: parent %v, status %v", s.Name, s.Parent.SpanID(), s.Status)
			}
			if s.Name == "qlink apply" && (s.SpanKind != trace.SpanKindClient || !strings.Contains(attributes(s), "qlink.bill="+created.Bill.ID+" ")) {
				t.Errorf("%s: %s", s.SpanKind, attributes(s))
			}
		}
	})
}

func attributes(s tracetest.SpanStub) string {
	var all strings.Builder
	for _, a := range s.Attributes {
		all.WriteString(string(a.Key) + "=" + a.Value.String() + " ")
	}
	return all.String()
}

func TestAFailureIsMarkedInItsSpanWithoutTheGatewaysWords(t *testing.T) {
	r := newRecorded(t)
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = refused("words of the gateway") })
		ctx, end := r.request(t)
		if _, err := c.engine.Create(ctx, c.scope, order("15000"), payment.HandOver{At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		end()
		found := false
		for _, s := range r.GetSpans() {
			text := s.Name + s.Status.Description + attributes(s)
			for _, e := range s.Events {
				text += e.Name
			}
			if strings.Contains(text, "words of the gateway") {
				t.Errorf("%s", text)
			}
			if s.Name == "qlink apply" {
				found = s.Status.Code == codes.Error && strings.Contains(attributes(s), "qlink.outcome=refused ")
			}
		}
		if !found {
			t.Error("no span says that it was refused")
		}
	})
}

// What follows a webhook is done after its answer; it is still in its trace.
func TestWhatFollowsARequestIsInItsTraceToo(t *testing.T) {
	r := newRecorded(t)
	at(t, func(t *testing.T, c *counter) {
		first := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(first, "FAIL")
		c.mustCreate(order("15000"), payment.OutcomeNew)
		ctx, end := r.request(t)
		ctx, cancel := context.WithCancel(ctx)
		err := c.engine.Settle(ctx, []*payment.Account{c.account}, qlink.Notification{
			TradeUUID: first.ID, Status: qlink.ParseStatus("SUCCESS"),
		}, "hash")
		end()
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := r.names(ctx); !slices.Contains(got, "qlink cancel") || !slices.Contains(got, "qlink getPayStatus") {
			t.Errorf("spans %v", got)
		}
	})
}

func TestNotificationsHaveSpansOnceARequestHadOne(t *testing.T) {
	r := newRecorded(t)
	notified(t, func(t *testing.T, c *counter, _ *mailbox) {
		untraced := c.mustCreate(order("15000"), payment.OutcomeNew)
		c.mustNotify(untraced, "FAIL")
		pass(time.Second)
		if n := len(r.GetSpans()); n != 0 {
			t.Errorf("%d spans, and nobody traces", n)
		}
		ctx, end := r.request(t)
		created, err := c.engine.Create(ctx, c.scope, order("15000"), payment.HandOver{At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		end()
		r.Reset()
		c.mustNotify(created.Bill, "SUCCESS")
		pass(time.Second)
		i := slices.IndexFunc(r.GetSpans(), func(s tracetest.SpanStub) bool { return s.Name == "qlink notification" })
		if i < 0 {
			t.Fatalf("no span: %v", r.GetSpans())
		}
		s := r.GetSpans()[i]
		if s.Parent.IsValid() || !strings.Contains(attributes(s), "qlink.type="+string(bill.BillPaid)+" ") ||
			!strings.Contains(attributes(s), "qlink.outcome=delivered ") {
			t.Errorf("parent %v, %s", s.Parent, attributes(s))
		}
	})
}
