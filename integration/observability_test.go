package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

const observability = "../examples/observability/"

// observed is the example of observability on free ports, and a Prometheus that
// scrapes it.
type observed struct {
	*quickstart

	metrics    string // host:port of the site that serves them
	prometheus string // host:port
}

func startObserved(t *testing.T) *observed {
	t.Helper()
	shop := processtest.FreeAddress(t)
	w := prepareExample(t, "observability", processtest.FreeAddress(t))
	o := &observed{quickstart: &quickstart{world: w, sandbox: "http://" + w.gateway + "/sandbox/"}, metrics: processtest.FreeAddress(t)}
	w.browser()
	w.env = append(w.env, "OBSERVABILITY_PORT="+port(t, w.public), "OBSERVABILITY_SANDBOX_PORT="+port(t, w.gateway),
		"OBSERVABILITY_SHOP_PORT="+port(t, shop), "OBSERVABILITY_METRICS_PORT="+port(t, o.metrics), "OBSERVABILITY_ADMIN="+w.admin)
	w.start()
	w.await("the shop", func() bool {
		a, err := w.do(w.request("GET", "/", ""))
		return err == nil && a.StatusCode == http.StatusOK
	})
	o.prometheus = startPrometheus(t, o.metrics)
	return o
}

// startPrometheus runs the example's Prometheus, but that it scrapes the given
// address, and more often.
func startPrometheus(t *testing.T, target string) (address string) {
	t.Helper()
	dir := t.TempDir()
	config, err := os.ReadFile(observability + "prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("127.0.0.1:8103", target, ": 15s", ": 500ms").Replace(string(config))
	if text == string(config) || strings.Contains(text, "8103") {
		t.Fatalf("another target than that of the Caddyfile:\n%s", config)
	}
	rules, err := os.ReadFile(observability + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"prometheus.yml": text, "alerts.yml": string(rules)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address = processtest.FreeAddress(t)
	log := new(processtest.Log)
	cmd := exec.Command("prometheus", "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus said:\n%s", log.Tail())
		}
	})
	return address
}

// sample is a series' value of an answer of Prometheus.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

// number returns the value; NaN for what is none.
func (s sample) number() float64 {
	n, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64) //nolint:forbidigo // a measurement, no money
	if err != nil {
		return math.NaN()
	}
	return n
}

// ask asks Prometheus, which answers in the field data.
func ask[T any](o *observed, path string, query url.Values) (data T, err error) {
	var body struct {
		Status string
		Error  string
		Data   T
	}
	a, err := o.do(o.request("GET", "http://"+o.prometheus+"/api/v1/"+path+"?"+query.Encode(), ""))
	if err != nil {
		return data, err
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return data, err
	}
	if body.Status != "success" {
		return data, fmt.Errorf("%s: %s", body.Status, body.Error)
	}
	return body.Data, nil
}

// query evaluates an expression now.
func (o *observed) query(expr string) ([]sample, error) {
	data, err := ask[struct{ Result []sample }](o, "query", url.Values{"query": {expr}})
	return data.Result, err
}

// awaitSamples waits until Prometheus has scraped so many times more.
func (o *observed) awaitSamples(n float64) {
	o.t.Helper()
	scraped := func() float64 {
		if got, err := o.query(`count_over_time(caddy_qlink_store_up[1h])`); err == nil && len(got) == 1 {
			return got[0].number()
		}
		return 0
	}
	begun := scraped()
	o.await("scrapes", func() bool { return scraped() >= begun+n })
}

// trade makes what there is to measure: payments that end in each way, a
// webhook that is forged, and one of a bill that nobody knows.
func (o *observed) trade() {
	o.t.Helper()
	for _, deed := range []struct{ verb, status string }{
		{"pay", "SUCCESS"}, {"pay", "SUCCESS"}, {"fail", "FAIL"}, {"expire", "EXPIRED"},
	} {
		o.fillCart()
		b := decode[billJSON](o.t, o.must("POST", "/checkout", "", "Accept", "application/json").want(o.t, 201).body)
		o.control("POST", "/payments/"+b.ID+"/"+deed.verb, "")
		o.awaitStatus(b.ID, deed.status)
	}
	o.fillCart()
	b := decode[billJSON](o.t, o.must("POST", "/checkout", "", "Accept", "application/json").want(o.t, 201).body)
	o.must("POST", "/qlink/bills/"+b.ID+"/cancel", "").want(o.t, 200)
	o.must("POST", "/qlink/payNotification", "{}", "appKey", appKey, "sign", "forged").want(o.t, 401)
	o.must("POST", "/qlink/payNotification", "{}", "appKey", "nobody's", "sign", "forged").want(o.t, 401)
	o.webhook(appSecret, `{"tradeUuid":"nobody's","status":"SUCCESS"}`).want(o.t, 404)
}

func TestEveryExpressionOfTheDashboardShowsSomethingAndEveryAlertLooksAtWhatThereIs(t *testing.T) {
	o := startObserved(t)
	o.awaitSamples(2)
	o.trade()
	o.awaitSamples(3)
	for title, exprs := range o.dashboard() {
		for _, expr := range exprs {
			got, err := o.query(strings.NewReplacer("$__rate_interval", "5m", "$account", ".*").Replace(expr))
			if err != nil || !slices.ContainsFunc(got, func(s sample) bool { return !math.IsNaN(s.number()) }) {
				t.Errorf("%s: %s\nshows %v, %v", title, expr, got, err)
			}
		}
	}
	alerts := o.alerts()
	if len(alerts) < 15 {
		t.Errorf("%d alerts", len(alerts))
	}
	for name, expr := range alerts {
		o.wantSelectors(name, expr)
		if got, err := o.query("(" + expr + ") or vector(1)"); err != nil || len(got) == 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for expr, want := range map[string]float64{
		`sum(caddy_qlink_bills{status="SUCCESS"})`:                                        2,
		`sum(caddy_qlink_orphans)`:                                                        1,
		`sum(caddy_qlink_bill_transitions_total{to="SUCCESS", source="webhook"})`:         2,
		`sum(caddy_qlink_webhooks_total{outcome="bad_signature", account="default"})`:     1,
		`sum(caddy_qlink_webhooks_total{outcome="bad_signature", account=""})`:            1,
		`sum(caddy_qlink_checkouts_total{outcome="new"})`:                                 5,
		`sum(caddy_qlink_time_to_pay_seconds_count)`:                                      2,
		`sum(caddy_qlink_notifications{state="delivered"})`:                               5,
		`sum(caddy_qlink_notification_attempts_total{outcome="delivered"})`:               5,
		`sum(caddy_qlink_gateway_requests_total{operation="apply", outcome="answered"})`:  5,
		`sum(caddy_qlink_gateway_requests_total{operation="cancel", outcome="answered"})`: 1,
	} {
		o.await(expr, func() bool {
			got, err := o.query(expr)
			return err == nil && len(got) == 1 && got[0].number() == want
		})
	}
}

// dashboard returns the expressions of the dashboard by its panels' titles.
func (o *observed) dashboard() map[string][]string {
	o.t.Helper()
	text, err := os.ReadFile(observability + "dashboard.json")
	if err != nil {
		o.t.Fatal(err)
	}
	exprs := make(map[string][]string)
	for _, panel := range decode[struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}](o.t, text).Panels {
		for _, target := range panel.Targets {
			exprs[panel.Title] = append(exprs[panel.Title], target.Expr)
		}
		if panel.Type != "row" && len(panel.Targets) == 0 {
			o.t.Errorf("the panel %q shows nothing", panel.Title)
		}
	}
	if len(exprs) < 20 {
		o.t.Errorf("%d panels", len(exprs))
	}
	return exprs
}

// alerts returns the expressions of the rules as Prometheus has read them.
func (o *observed) alerts() map[string]string {
	o.t.Helper()
	data, err := ask[struct {
		Groups []struct {
			Rules []struct{ Name, Query, Health, LastError string }
		}
	}](o, "rules", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	exprs := make(map[string]string)
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			exprs[rule.Name] = rule.Query
			if rule.LastError != "" {
				o.t.Errorf("%s: %s", rule.Name, rule.LastError)
			}
		}
	}
	return exprs
}

var (
	selectors = regexp.MustCompile(`caddy_qlink_\w+(\{[^}]*\})?`)
	groupings = regexp.MustCompile(`(?:by|without|on|ignoring) ?\(([^)]*)\)`)
	values    = regexp.MustCompile(`(\w+)(=~|=)"([^"]*)"`)
)

// wantSelectors fails the test unless each selector of an expression selects
// series of the scrape, each alternative of its labels among them, and every
// label that it groups by is one of theirs.
func (o *observed) wantSelectors(name, expr string) {
	o.t.Helper()
	labels := make(map[string]bool)
	for _, selector := range selectors.FindAllString(expr, -1) {
		metric, _, _ := strings.Cut(selector, "{")
		if len(o.series(name, selector, labels)) == 0 {
			o.t.Errorf("%s: nothing is %s", name, selector)
		}
		for _, label := range values.FindAllStringSubmatch(selector, -1) {
			for value := range strings.SplitSeq(label[3], "|") {
				if one := fmt.Sprintf("%s{%s=%q}", metric, label[1], value); len(o.series(name, one, labels)) == 0 {
					o.t.Errorf("%s: nothing is %s", name, one)
				}
			}
		}
	}
	for _, group := range groupings.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(group[1], ",") {
			if label = strings.TrimSpace(label); !labels[label] {
				o.t.Errorf("%s: no series has the label %q", name, label)
			}
		}
	}
}

// series returns those of a selector, and notes their labels.
func (o *observed) series(name, selector string, labels map[string]bool) []map[string]string {
	o.t.Helper()
	found, err := ask[[]map[string]string](o, "series", url.Values{"match[]": {selector}})
	if err != nil {
		o.t.Errorf("%s: %s: %v", name, selector, err)
	}
	for _, s := range found {
		for label := range s {
			labels[label] = true
		}
	}
	return found
}

func TestTheAlertsFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"}, {"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"},
	} {
		promtool(t, nil, args...)
	}
	rules, err := os.ReadFile(observability + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(observability + "alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		fires := fmt.Sprintf("        alertname: %s\n        exp_alerts:\n          - exp_labels:", alert[1])
		if !bytes.Contains(tests, []byte(fires)) {
			t.Errorf("nothing shows that %s fires", alert[1])
		}
	}
}

// promtool runs it in the example's folder.
func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir, cmd.Stdin = observability, bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// ourMetrics returns the lines of a scrape that are about our metrics.
func ourMetrics(scrape []byte) []byte {
	var lines bytes.Buffer
	for line := range bytes.Lines(scrape) {
		if bytes.Contains(line, []byte("caddy_qlink_")) {
			lines.Write(line)
		}
	}
	return lines.Bytes()
}

func TestAScrapeIsAsPrometheusWantsItAndTheSameAfterAReloadThatFails(t *testing.T) {
	w := newWorld(t, plainSite)
	scrape := func() string {
		w.t.Helper()
		var text []byte
		w.await("the admin endpoint", func() bool { // which each load replaces
			a, err := w.do(w.request("GET", "http://"+w.admin+"/metrics", ""))
			text = a.body
			return err == nil && a.StatusCode == http.StatusOK
		})
		return string(ourMetrics(text))
	}
	b := w.checkout(order("O-1", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	w.awaitStatus(b.ID, "SUCCESS")
	w.checkout(order("O-2", "15000"), 201)
	promtool(t, []byte(scrape()), "check", "metrics")
	want := []string{
		`caddy_qlink_bills{status="SUCCESS"} 1`, `caddy_qlink_bills{status="WAIT"} 1`, `caddy_qlink_store_up 1`,
		`caddy_qlink_checkouts_total{account="default",outcome="new"} 2`, `caddy_qlink_time_to_pay_seconds_count{account="default"} 1`,
	}
	taken := listen(t, processtest.FreeAddress(t)).Addr().String()
	good := w.values
	for what, spoil := range map[string]string{
		"a port that is taken": "http://" + taken + " {\n\tbind 127.0.0.1\n\trespond no\n}",
		"no certificate":       "https://" + processtest.FreeAddress(t) + " {\n\tbind 127.0.0.1\n\ttls " + w.home + "/no.crt " + w.home + "/no.key\n}",
		"a bad option":         "http://" + processtest.FreeAddress(t) + " {\n\tqlink {\n\t\taccount nobody\n\t}\n}",
	} {
		for range 5 { // apps are provisioned, and start, in any order
			w.values = replaced(good, "extra", spoil)
			w.write(worldConfig, w.values)
			if err := w.reload(); err == nil {
				t.Fatalf("it loads in spite of %s", what)
			}
			text := scrape()
			for _, line := range want {
				if !strings.Contains(text, line+"\n") {
					t.Fatalf("after %s, no %s in\n%s", what, line, text)
				}
			}
		}
	}
}

// replaced returns values with one of them replaced.
func replaced(values map[string]string, name, value string) map[string]string {
	changed := map[string]string{name: value}
	for n, v := range values {
		if n != name {
			changed[n] = v
		}
	}
	return changed
}

// Caddy's tracing writes its spans to the console where it is told to.
func TestWhatACheckoutDoesIsInTheTraceOfItsRequest(t *testing.T) {
	w := prepareWorld(t, "\ttracing\n"+plainSite, "")
	w.env = append(w.env, "OTEL_TRACES_EXPORTER=console", "OTEL_BSP_SCHEDULE_DELAY=100")
	w.start()
	w.checkout(order("O-1", "15000"), 201)
	var spans []span
	w.await("the request's span", func() bool {
		spans = spansIn(w.log.String())
		return slices.ContainsFunc(spans, func(s span) bool { return s.Name == "handler" })
	})
	root := spans[slices.IndexFunc(spans, func(s span) bool { return s.Name == "handler" })]
	var names []string
	for _, s := range spans {
		if s.Parent.SpanID == root.SpanContext.SpanID && s.SpanContext.TraceID == root.SpanContext.TraceID {
			names = append(names, s.Name)
		}
	}
	for _, name := range []string{"qlink commit", "qlink apply"} {
		if !slices.Contains(names, name) {
			t.Errorf("below the request there are %v", names)
		}
	}
	if strings.Contains(w.log.String(), appSecret) {
		t.Error("the secret is in a trace")
	}
}

// span is one as Caddy's console exporter prints it.
type span struct {
	Name                string
	SpanContext, Parent struct{ TraceID, SpanID string }
}

// spansIn finds the spans among other lines of JSON.
func spansIn(log string) []span {
	var spans []span
	for _, text := range regexp.MustCompile(`(?m)^\{"Name":.*$`).FindAllString(log, -1) {
		var s span
		if json.Unmarshal([]byte(text), &s) == nil {
			spans = append(spans, s)
		}
	}
	return spans
}
