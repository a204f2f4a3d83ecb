package caddyqlink

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// measuredSite is a shop whose every order is the one of the request's path,
// beside the metrics of its configuration.
func measuredSite(store string) string {
	return caddyfileOf("store "+store+"\n\t\t"+account, `qlink {
		checkout /checkout/*
	}
	metrics /metrics
	header /checkout/* Content-Type application/vnd.qlink.order+json
	respond /checkout/* `+"`"+`{"orderCode":"{http.request.uri.path.1}","amount":"15000","metadata":{"a":"not for others"}}`+"`"+` 201`)
}

// order hands one over, and returns its bill's id.
func handOver(t *testing.T, base, code string) (id string) {
	t.Helper()
	got := ask(t, http.MethodPost, base+"/checkout/"+code)
	found := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(got.body)
	if got.status != http.StatusAccepted || found == nil {
		t.Fatalf("%d %s", got.status, got.body)
	}
	return found[1]
}

// settle sends the gateway's word on a bill.
func settle(t *testing.T, base, id, status string) {
	t.Helper()
	body := fmt.Sprintf(`{"tradeUuid":%q,"status":%q}`, id, status)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/qlink/payNotification", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header["appKey"] = []string{"key"}
	r.Header["sign"] = []string{qlink.Sign(qlink.ContentString, "key", "secret", []byte(body))}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || err != nil {
		t.Fatalf("%s %s %v", resp.Status, answer, err)
	}
}

// scrape returns our samples, by name and labels as the text format has them.
func scrape(t *testing.T, base string) map[string]string {
	t.Helper()
	samples := make(map[string]string)
	for line := range strings.Lines(ask(t, http.MethodGet, base+"/metrics").body) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "caddy_qlink_") {
			samples[name] = value
		}
	}
	return samples
}

// steady leaves out what changes with the clock and the calls of the workers.
func steady(samples map[string]string) map[string]string {
	rest := make(map[string]string)
	for name, value := range samples {
		if !regexp.MustCompile(`_(gateway|commit|reconcile_lag|store_free)_`).MatchString(name) {
			rest[name] = value
		}
	}
	return rest
}

func TestMetricsOutliveReloadsAndLoadsThatFail(t *testing.T) {
	newProbe(t)
	text := measuredSite("probe " + probeName(t))
	base := run(t, text)
	before := scrape(t, base)
	paid := handOver(t, base, "O-1")
	handOver(t, base, "O-2")
	settle(t, base, paid, "SUCCESS")
	want := scrape(t, base)
	for name, increase := range map[string]float64{
		`caddy_qlink_checkouts_total{account="default",outcome="unknown"}`:                                   2,
		`caddy_qlink_webhooks_total{account="default",outcome="settled"}`:                                    1,
		`caddy_qlink_bill_transitions_total{account="default",from="none",source="shop",to="CREATED"}`:       2,
		`caddy_qlink_bill_transitions_total{account="default",from="CREATED",source="webhook",to="SUCCESS"}`: 1,
		`caddy_qlink_time_to_pay_seconds_count{account="default"}`:                                           1,
		`caddy_qlink_bills{status="SUCCESS"}`:                                                                1,
		`caddy_qlink_bills{status="CREATED"}`:                                                                1,
		`caddy_qlink_gateway_requests_total{account="default",operation="apply",outcome="not_sent"}`:         2,
	} {
		if got := number(t, want[name]) - number(t, before[name]); got < increase {
			t.Errorf("%s has moved from %q to %q", name, before[name], want[name])
		}
	}
	config := string(mustAdapt(t, text))
	for what, spoiled := range map[string]string{
		"nothing":             config,
		"another app's Start": strings.Replace(config, `"apps":{`, `"apps":{"zz_failing":{},`, 1),
		"an option":           strings.Replace(config, `"currency":"IDR"`, `"currency":"???"`, 1),
		"a handler":           strings.Replace(config, `"handler":"qlink"`, `"handler":"qlink","account":"other"`, 1),
	} {
		for range 4 { // apps load and start in the order of a map
			if err := caddy.Load([]byte(spoiled), true); (err == nil) != (what == "nothing") {
				t.Fatalf("load in spite of %s: %v", what, err)
			}
			base = siteURL(t)
			if diff := cmp.Diff(steady(want), steady(scrape(t, base))); diff != "" {
				t.Fatalf("after %s failed (-want +got):\n%s", what, diff)
			}
		}
	}
	settle(t, base, handOver(t, base, "O-3"), "SUCCESS")
	if got := scrape(t, base)[`caddy_qlink_bills{status="SUCCESS"}`]; got != "2" {
		t.Errorf("%s bills are paid", got)
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	var n float64
	if _, err := fmt.Sscan(text, &n); err != nil && text != "" {
		t.Fatal(err)
	}
	return n
}

func TestTheAdminEndpointOfALoadThatFailedHasTheMetrics(t *testing.T) {
	newProbe(t)
	base := run(t, measuredSite("probe "+probeName(t)))
	settle(t, base, handOver(t, base, "O-1"), "SUCCESS")
	// What Caddy does before it loads any app, and what it then goes on to serve.
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := (adminMetrics{}).Provision(ctx); err != nil {
		t.Fatal(err)
	}
	families, err := ctx.GetMetricsRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "caddy_qlink_bills" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == "SUCCESS" && m.GetGauge().GetValue() == 1 {
				return
			}
		}
	}
	t.Error("it does not know of the paid bill")
}

func TestASeriesExistsBeforeItsFirstEvent(t *testing.T) {
	newProbe(t)
	text := strings.Replace(measuredSite("probe "+probeName(t)), "account {", "account fresh {", 1)
	base := run(t, strings.Replace(text, "checkout /", "account fresh\n\t\tcheckout /", 1))
	samples := scrape(t, base)
	for _, name := range []string{
		`caddy_qlink_alarms_total{account="fresh",kind="refund_due"}`,
		`caddy_qlink_webhooks_total{account="fresh",outcome="bad_signature"}`,
		`caddy_qlink_webhooks_total{account="",outcome="bad_signature"}`,
		`caddy_qlink_checkouts_total{account="fresh",outcome="too_many_open"}`,
		`caddy_qlink_gateway_requests_total{account="fresh",operation="apply",outcome="auth"}`,
		`caddy_qlink_notification_attempts_total{account="fresh",outcome="given_up"}`,
		`caddy_qlink_bill_transitions_total{account="fresh",from="WAIT",source="webhook",to="SUCCESS"}`,
		`caddy_qlink_time_to_pay_seconds_count{account="fresh"}`,
	} {
		if value, ok := samples[name]; !ok || !strings.Contains(name, `account=""`) && value != "0" {
			t.Errorf("%s is %q", name, value)
		}
	}
}

func TestMoreBillsMakeNoMoreSeries(t *testing.T) {
	newProbe(t)
	base := run(t, measuredSite("probe "+probeName(t)))
	bills := func(prefix string) {
		for n := range 10 {
			id := handOver(t, base, fmt.Sprintf("%s-%d", prefix, n))
			settle(t, base, id, []string{"SUCCESS", "FAIL", "a status of my own"}[n%3])
		}
		ask(t, http.MethodPost, base+"/qlink/payNotification")
	}
	bills("A")
	before := len(scrape(t, base))
	bills("B")
	if after := len(scrape(t, base)); after != before {
		t.Errorf("%d series, and after the same again %d", before, after)
	}
}

func TestAScrapeSaysThatTheStoreIsAwayAndWhenItIsBack(t *testing.T) {
	p := newProbe(t)
	p.breakDown(bill.ErrUnavailable)
	base := run(t, measuredSite("probe "+probeName(t)))
	samples := scrape(t, base)
	for name, want := range map[string]string{
		"caddy_qlink_store_up": "0", "caddy_qlink_checkouts_closed": "1", `caddy_qlink_bills{status="WAIT"}`: "",
		"caddy_qlink_watchers": "0", `caddy_qlink_gateway_up{account="default"}`: "1",
	} {
		if samples[name] != want {
			t.Errorf("%s is %q, want %q", name, samples[name], want)
		}
	}
	p.breakDown(nil)
	await(t, func() bool { return ask(t, http.MethodPost, base+"/checkout/O-1").status == http.StatusAccepted })
	if samples := scrape(t, base); samples["caddy_qlink_store_up"] != "1" || samples["caddy_qlink_checkouts_closed"] != "0" {
		t.Errorf("healed: %v", samples)
	}
}

// A scrape would not wait for a large store to open, and giving up is a failure
// that everybody would be told of.
func TestAScrapeOpensNoStore(t *testing.T) {
	v, p := newTestVault(t)
	v.engine = payment.New(payment.Config{Store: v.lease, Now: time.Now, Logger: zap.NewNop()})
	if _, err := v.gauges(); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("gauges: %v", err)
	}
	if n := p.opened.Load(); n != 0 || v.failed != nil {
		t.Errorf("opened %d times, and failed by %v", n, v.failed)
	}
	if err := v.start(); err != nil {
		t.Fatal(err)
	}
	defer v.stop()
	if _, err := v.gauges(); err != nil {
		t.Errorf("open: %v", err)
	}
}

func TestWithoutAConfigurationThatRunsThereAreNoGauges(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(gauges{}); err != nil {
		t.Fatal(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("there are %v, %v", families, err)
	}
}

// onDisk runs a site on a store that can tell everything.
func onDisk(t *testing.T) (base string) {
	t.Helper()
	return run(t, measuredSite("badger {\n\t\t\tpath "+t.TempDir()+"/store\n\t\t}"))
}

func TestTransactionsOfTheStoreAreCounted(t *testing.T) {
	base := onDisk(t)
	before := scrape(t, base)
	handOver(t, base, "O-1")
	after := scrape(t, base)
	for _, name := range []string{"caddy_qlink_commit_changes_count", "caddy_qlink_commit_changes_sum", "caddy_qlink_commit_duration_seconds_count"} {
		if got := number(t, after[name]) - number(t, before[name]); got < 2 { // the intent, and what came of it
			t.Errorf("%s has moved from %q to %q", name, before[name], after[name])
		}
	}
	if size := number(t, after["caddy_qlink_store_size_bytes"]); size < 1000 {
		t.Errorf("the store has %v bytes", size)
	}
	if free := number(t, after["caddy_qlink_store_free_bytes"]); free < 1000 {
		t.Errorf("the disk has %v bytes free", free)
	}
}

// measuredNow is a registry of ours alone, as strict as Caddy's.
func measuredNow(t *testing.T) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(measured); err != nil {
		t.Fatal(err)
	}
	return registry
}

// documented is a row of the table in docs/metrics.md.
var documented = regexp.MustCompile("(?m)^\\| `(caddy_qlink_[a-z_]+)`(?: °)? \\| (counter|gauge|histogram) \\| ([a-z, ]*?) ?\\| .+ \\|$")

func TestTheTableOfMetricsIsThatOfTheCode(t *testing.T) {
	text, err := os.ReadFile("docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for _, row := range documented.FindAllStringSubmatch(string(text), -1) {
		labels := strings.Fields(strings.ReplaceAll(row[3], ",", " "))
		slices.Sort(labels)
		want[row[1]] = row[2] + " " + strings.Join(labels, " ")
	}
	onDisk(t)
	families, err := measuredNow(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "caddy_qlink_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		got[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-docs/metrics.md +code:\n%s", diff)
	}
}

func TestEveryMetricIsNamedByTheConventionsOfPrometheus(t *testing.T) {
	onDisk(t)
	families, err := measuredNow(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(families) < 20 {
		t.Errorf("%d metrics were looked at, %v", len(families), err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
