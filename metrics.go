package caddyqlink

import (
	"cmp"
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

func init() {
	caddy.RegisterModule(adminMetrics{})
}

// measured are the metrics of the process. Caddy makes a new registry for each
// configuration it loads, and goes on serving that of one that failed: counters
// outlive them all, and gauges are those of the configuration that runs.
var measured = newMetrics()

const (
	metricsNamespace = "caddy"
	metricsSubsystem = "qlink"
)

// metrics counts what the engine and the endpoints tell. Its labels are names
// from the configuration, or of fixed sets.
type metrics struct {
	gatewayRequests *prometheus.CounterVec
	gatewayDuration *prometheus.HistogramVec
	webhooks        *prometheus.CounterVec
	checkouts       *prometheus.CounterVec
	transitions     *prometheus.CounterVec
	timeToPay       *prometheus.HistogramVec
	settlementDelay *prometheus.HistogramVec
	alarms          *prometheus.CounterVec
	notifications   *prometheus.CounterVec
	notifyDuration  *prometheus.HistogramVec
	events          *prometheus.CounterVec
	commitChanges   prometheus.Histogram
	commitDuration  prometheus.Histogram

	all []prometheus.Collector
}

// The bounds of histograms, in seconds, but for those of a batch.
var (
	callBuckets   = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	paymentBounds = []float64{5, 15, 30, 60, 120, 300, 600, 1800, 3600, 21600, 86400}
	delayBuckets  = []float64{1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400}
	commitBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5}
	batchBounds   = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}
)

func newMetrics() *metrics {
	m := new(metrics)
	m.gatewayRequests = m.counter("gateway_requests_total",
		"Calls to the gateway, by how they ended.", "account", "operation", "outcome")
	m.gatewayDuration = m.histogram("gateway_request_duration_seconds",
		"How long calls to the gateway took.", callBuckets, "account", "operation")
	m.webhooks = m.counter("webhooks_total",
		"Notifications of the gateway, by how they were answered.", "account", "outcome")
	m.checkouts = m.counter("checkouts_total",
		"Orders handed over, or tried again by a buyer, by how they were answered.", "account", "outcome")
	m.transitions = m.counter("bill_transitions_total",
		"Changes of bills' statuses, by what brought them; from is none for a new bill.", "account", "from", "to", "source")
	m.timeToPay = m.histogram("time_to_pay_seconds",
		"Time from a bill's creation until its payment was stored.", paymentBounds, "account")
	m.settlementDelay = m.histogram("settlement_delay_seconds",
		"Time from a payment, by the gateway's clock, until it was stored.", delayBuckets, "account", "source")
	m.alarms = m.counter("alarms_total",
		"What an operator has to look at, by kind.", "account", "kind")
	m.notifications = m.counter("notification_attempts_total",
		"Tries to tell a shop, by how they ended.", "account", "outcome")
	m.notifyDuration = m.histogram("notification_attempt_duration_seconds",
		"How long tries to tell a shop took.", callBuckets, "account")
	m.events = m.counter("events_total",
		"Caddy events handed on, or dropped because listeners are too slow.", "outcome")
	m.commitChanges = m.single("commit_changes",
		"Changes that shared one transaction of the store.", batchBounds)
	m.commitDuration = m.single("commit_duration_seconds",
		"How long transactions of the store took to become durable.", commitBuckets)
	m.all = append(m.all, gauges{})
	return m
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help,
	}, labels)
	m.all = append(m.all, c)
	return c
}

func (m *metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(histogramOpts(name, help, buckets), labels)
	m.all = append(m.all, h)
	return h
}

func (m *metrics) single(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(histogramOpts(name, help, buckets))
	m.all = append(m.all, h)
	return h
}

func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help, Buckets: buckets,
	}
}

// Describe sends every metric that there can be.
func (m *metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range m.all {
		c.Describe(descriptions)
	}
}

// Collect sends every metric as it stands.
func (m *metrics) Collect(values chan<- prometheus.Metric) {
	for _, c := range m.all {
		c.Collect(values)
	}
}

// register adds the metrics to the registry of a configuration.
func (m *metrics) register(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	err := registry.Register(m)
	if _, twice := errors.AsType[prometheus.AlreadyRegisteredError](err); twice {
		return nil // the admin endpoint was first
	}
	return err
}

// prepare brings the series of an account into being, at zero: of one that
// begins at one, Prometheus would not see the increase.
func (m *metrics) prepare(account string) {
	for _, op := range payment.Operations() {
		for _, outcome := range payment.CallOutcomes() {
			m.gatewayRequests.WithLabelValues(account, string(op), string(outcome))
		}
		m.gatewayDuration.WithLabelValues(account, string(op))
	}
	for _, outcome := range handlers.WebhookOutcomes() {
		m.webhooks.WithLabelValues(account, string(outcome))
	}
	m.webhooks.WithLabelValues("", string(handlers.WebhookForged))
	for _, outcome := range payment.Outcomes() {
		m.checkouts.WithLabelValues(account, string(outcome))
	}
	for _, alarm := range payment.Alarms() {
		m.alarms.WithLabelValues(account, string(alarm))
	}
	for _, outcome := range payment.NotifyOutcomes() {
		m.notifications.WithLabelValues(account, string(outcome))
	}
	m.notifyDuration.WithLabelValues(account)
	m.timeToPay.WithLabelValues(account)
	for _, source := range []bill.Source{bill.ByWebhook, bill.ByQuery} {
		m.settlementDelay.WithLabelValues(account, string(source))
	}
	for _, t := range usualTransitions {
		m.transition(account, t.from, t.to, t.source)
	}
	for _, dropped := range []bool{false, true} {
		m.event(dropped)
	}
}

// usualTransitions are those that most bills make. Any other appears with the
// first bill that makes it.
var usualTransitions = []struct {
	from, to bill.Status
	source   bill.Source
}{
	{"", bill.Created, bill.ByShop},
	{"", bill.Choose, bill.ByShop},
	{bill.Choose, bill.Created, bill.ByBuyer},
	{bill.Choose, bill.Expired, bill.ByExpiry},
	{bill.Created, bill.Wait, bill.ByApply},
	{bill.Created, bill.Fail, bill.ByQuery},
	{bill.Wait, bill.Success, bill.ByWebhook},
	{bill.Wait, bill.Success, bill.ByQuery},
	{bill.Wait, bill.Fail, bill.ByWebhook},
	{bill.Wait, bill.Fail, bill.ByQuery},
	{bill.Wait, bill.Canceled, bill.ByQuery},
	{bill.Wait, bill.Canceled, bill.ByWebhook},
	{bill.Wait, bill.Expired, bill.ByQuery},
	{bill.Wait, bill.Expired, bill.ByWebhook},
	{bill.Canceled, bill.Success, bill.ByWebhook},
	{bill.Expired, bill.Success, bill.ByWebhook},
	{bill.Fail, bill.Success, bill.ByWebhook},
}

func (m *metrics) transition(account string, from, to bill.Status, source bill.Source) prometheus.Counter {
	return m.transitions.WithLabelValues(account, cmp.Or(string(from), "none"), string(to), string(source))
}

func (m *metrics) event(dropped bool) prometheus.Counter {
	if dropped {
		return m.events.WithLabelValues("dropped")
	}
	return m.events.WithLabelValues("handed_on")
}

// GatewayCalled counts a call to the gateway.
func (m *metrics) GatewayCalled(account string, op payment.Operation, outcome payment.CallOutcome, took time.Duration) {
	m.gatewayRequests.WithLabelValues(account, string(op), string(outcome)).Inc()
	m.gatewayDuration.WithLabelValues(account, string(op)).Observe(took.Seconds())
}

// Webhook counts a notification of the gateway.
func (m *metrics) Webhook(account string, outcome handlers.WebhookOutcome) {
	m.webhooks.WithLabelValues(account, string(outcome)).Inc()
}

// CheckedOut counts an order.
func (m *metrics) CheckedOut(account string, outcome payment.Outcome) {
	m.checkouts.WithLabelValues(account, string(outcome)).Inc()
}

// Moved counts a change of a bill's status.
func (m *metrics) Moved(account string, from, to bill.Status, source bill.Source) {
	m.transition(account, from, to, source).Inc()
}

// Paid counts how long a buyer took.
func (m *metrics) Paid(account string, after time.Duration) {
	m.timeToPay.WithLabelValues(account).Observe(after.Seconds())
}

// HeardOf counts how long the word of a payment took.
func (m *metrics) HeardOf(account string, source bill.Source, late time.Duration) {
	m.settlementDelay.WithLabelValues(account, string(source)).Observe(late.Seconds())
}

// Alarmed counts an alarm.
func (m *metrics) Alarmed(account string, alarm payment.Alarm) {
	m.alarms.WithLabelValues(account, string(alarm)).Inc()
}

// Notified counts a try to tell a shop.
func (m *metrics) Notified(account string, outcome payment.NotifyOutcome, took time.Duration) {
	m.notifications.WithLabelValues(account, string(outcome)).Inc()
	m.notifyDuration.WithLabelValues(account).Observe(took.Seconds())
}

// Emitted counts an event.
func (m *metrics) Emitted(dropped bool) { m.event(dropped).Inc() }

// committed counts a transaction of a store.
func (m *metrics) committed(changes int, took time.Duration) {
	m.commitChanges.Observe(float64(changes))
	m.commitDuration.Observe(took.Seconds())
}

// adminMetrics adds the metrics to the admin endpoint. It is a router without
// routes: Caddy replaces that endpoint before it loads any app and never rolls
// that back, so that after a failed load /metrics is served from a registry to
// which our app may not have got.
type adminMetrics struct{}

// CaddyModule returns the Caddy module information.
func (adminMetrics) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.qlink_metrics", New: func() caddy.Module { return new(adminMetrics) }}
}

// Provision registers them.
func (adminMetrics) Provision(ctx caddy.Context) error { return measured.register(ctx) }

// Routes returns none.
func (adminMetrics) Routes() []caddy.AdminRoute { return nil }

// Interface guards
var (
	_ payment.Metrics      = (*metrics)(nil)
	_ handlers.Metrics     = (*metrics)(nil)
	_ prometheus.Collector = (*metrics)(nil)
	_ caddy.Provisioner    = (*adminMetrics)(nil)
	_ caddy.AdminRouter    = (*adminMetrics)(nil)
)
