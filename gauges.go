package caddyqlink

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/store"
)

// gaugeWait bounds how long a scrape waits for the store.
const gaugeWait = 2 * time.Second

// gauges are read at each scrape, from the newest configuration that runs and
// its store. Without one there are none, and while the store cannot be read
// those that are read from it are missing.
type gauges struct{}

var (
	gaugeBills         = gauge("bills", "Bills in the store.", "status")
	gaugeNotifications = gauge("notifications", "Notifications in the store, by what became of them.", "state")
	gaugeLate          = gauge("late_payments", "Bills in the store that were paid after they had ended.")
	gaugeRefunds       = gauge("refunds_due", "Bills in the store whose order another bill has paid, too.")
	gaugePendingAge    = gauge("notification_oldest_pending_age_seconds", "Age of the oldest notification that is not delivered yet; 0 without one.")
	gaugeReconcileLag  = gauge("reconcile_lag_seconds", "How long overdue the bill is that the gateway should have been asked after first; 0 without one.")
	gaugeOrphans       = gauge("orphans", "Payments of bills that the store does not know, to which no operator has seen.")
	gaugeStoreSize     = gauge("store_size_bytes", "Size of the store's files or tables.")
	gaugeStoreFree     = gauge("store_free_bytes", "Free space where the store writes.")
	gaugeStoreUp       = gauge("store_up", "Whether the store could be read: 1, or else 0.")
	gaugeClosed        = gauge("checkouts_closed", "Whether new orders are refused for want of a store or of disk space, or because a restored store was not reopened: 1, or else 0.")
	gaugeWatchers      = gauge("watchers", "Event streams and long polls that follow a bill now.")
	gaugeGatewayUp     = gauge("gateway_up", "Whether the account's gateway gives answers: 0 after some failures in a row, until it does again.", "account")
)

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricsNamespace, metricsSubsystem, name), help, labels, nil)
}

// Describe sends every gauge that there can be.
func (gauges) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		gaugeBills, gaugeNotifications, gaugeLate, gaugeRefunds, gaugePendingAge, gaugeReconcileLag, gaugeOrphans, gaugeStoreSize, gaugeStoreFree,
		gaugeStoreUp, gaugeClosed, gaugeWatchers, gaugeGatewayUp,
	} {
		descriptions <- d
	}
}

// Collect sends every gauge as it is now.
func (gauges) Collect(values chan<- prometheus.Metric) {
	v, ok := running.newest(func(v *vault) bool { return v.engine != nil })
	if !ok {
		return
	}
	g, err := v.gauges()
	send := sender(values)
	send.value(gaugeWatchers, float64(g.Watchers))
	for _, gateway := range g.Gateways {
		send.truth(gaugeGatewayUp, gateway.Answers, gateway.Account)
	}
	send.truth(gaugeStoreUp, err == nil)
	send.truth(gaugeClosed, g.Closed)
	if err != nil {
		v.logger.Warn("gauges cannot be read", zap.Error(err))
		return
	}
	send.stored(g)
}

// gauges reads them. A scrape opens no store: it would not wait long enough.
func (v *vault) gauges() (payment.Gauges, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gaugeWait)
	defer cancel()
	if !store.Has(v.key) {
		cancel()
	}
	return v.engine.Gauges(ctx)
}

// sender sends what was read to a scrape.
type sender chan<- prometheus.Metric

func (s sender) value(d *prometheus.Desc, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (s sender) truth(d *prometheus.Desc, is bool, labels ...string) {
	value := 0.0
	if is {
		value = 1
	}
	s.value(d, value, labels...)
}

func (s sender) stored(g payment.Gauges) {
	for _, status := range bill.Statuses() {
		s.value(gaugeBills, float64(g.Counts.Bills[status]), string(status))
	}
	for _, state := range bill.NotificationStates() {
		s.value(gaugeNotifications, float64(g.Counts.Notifications[state]), string(state))
	}
	s.value(gaugeLate, float64(g.Counts.Late))
	s.value(gaugeRefunds, float64(g.Counts.Refunds))
	s.value(gaugePendingAge, g.PendingAge.Seconds())
	s.value(gaugeReconcileLag, g.ReconcileLag.Seconds())
	s.value(gaugeOrphans, float64(g.Counts.Orphans))
	if g.StoreBytes != nil {
		s.value(gaugeStoreSize, float64(*g.StoreBytes))
	}
	if g.FreeBytes != nil {
		s.value(gaugeStoreFree, float64(*g.FreeBytes))
	}
}
