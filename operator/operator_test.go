package operator_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/payment/paymenttest"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is the admin API over an engine, a store in memory and a gateway.
type office struct {
	t       *testing.T
	engine  *payment.Engine
	store   bill.Store
	gateway *paymenttest.Gateway
	scope   payment.Scope
	ended   chan struct{}
	url     string
}

// open opens one. Its clock stands still unless a test moves it.
func open(t *testing.T) *office {
	t.Helper()
	g := new(paymenttest.Gateway)
	account := &payment.Account{
		Name: "default", Ledger: "ledger", AppKey: "app", Secrets: []string{"s"}, Location: time.UTC, Gateway: g,
		ExpireAfter: 24 * time.Hour, CallTimeout: 10 * time.Second, StatusBatch: 50,
	}
	o := &office{t: t, store: memory.New(), gateway: g, scope: payment.Scope{Account: account, Shop: "default"}, ended: make(chan struct{})}
	o.engine = payment.New(payment.Config{
		Accounts: []*payment.Account{account},
		Store:    func(context.Context) (bill.Store, func(), error) { return o.store, func() {}, nil },
		Notify: func(string, string) []payment.Target {
			return []payment.Target{{URL: "https://shop.example/told", Secrets: [][]byte{make([]byte, 32)}, Events: bill.NotificationTypes()[1:]}}
		},
		MinInterval: time.Nanosecond, MaxInterval: time.Minute, UnknownAfter: time.Second,
		Logger: zap.NewNop(), Now: time.Now, NewID: uuid.NewString, Rand: func(int64) int64 { return 0 },
	})
	mux := http.NewServeMux()
	for _, route := range operator.Routes() {
		mux.HandleFunc(route.Path, func(w http.ResponseWriter, r *http.Request) {
			desk := operator.Desk{Payments: o.engine, Now: time.Now, Ended: o.ended}
			if err := route.Serve(desk, w, r); err != nil {
				w.WriteHeader(operator.StatusOf(err))
				_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
			}
		})
	}
	server := httptest.NewServer(mux)
	o.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := o.engine.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return o
}

// sell makes a bill.
func (o *office) sell(code, amount string) bill.Bill {
	o.t.Helper()
	created, err := o.engine.Create(o.t.Context(), o.scope, bill.Order{
		OrderCode: code, Amount: bill.Amount(amount), Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS",
		Details: bill.Details{Metadata: `{"who":"=1+1"}`},
	}, payment.HandOver{At: time.Now()})
	if err != nil {
		o.t.Fatal(err)
	}
	return created.Bill
}

// report has the gateway tell of a bill.
func (o *office) report(b bill.Bill, status string) {
	o.t.Helper()
	err := o.engine.Settle(o.t.Context(), []*payment.Account{o.scope.Account}, qlink.Notification{
		TradeUUID: b.ID, BillCode: b.BillCode, OrderCode: b.OrderCode, Status: qlink.ParseStatus(status),
	}, "hash")
	if err != nil {
		o.t.Fatal(err)
	}
}

// reply is an answer of the admin API.
type reply struct {
	status int
	header http.Header
	text   string
}

func (o *office) ask(method, path, body string, header ...string) reply {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, o.url+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatalf("%s %s broke off: %v", method, path, err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// read decodes an answer that has to have the status.
func read[T any](o *office, r reply, status int) (v T) {
	o.t.Helper()
	if r.status != status {
		o.t.Fatalf("answered %d, not %d: %s", r.status, status, r.text)
	}
	if err := json.Unmarshal([]byte(r.text), &v); err != nil {
		o.t.Fatalf("%v in %s", err, r.text)
	}
	return v
}

type listed struct {
	Bills []struct{ ID, OrderCode, Status, Stuck string }
	Next  string
}

func (l listed) codes() string {
	var codes []string
	for _, b := range l.Bills {
		codes = append(codes, b.OrderCode)
	}
	return strings.Join(codes, " ")
}

func TestBillsAreListedByEachFilterNewestFirst(t *testing.T) {
	o := open(t)
	first := o.sell("A-1", "15000")
	second := o.sell("A-2", "10.00")
	o.sell("B-1", "7")
	o.report(first, "FAIL")
	o.report(first, "SUCCESS")
	for query, want := range map[string]string{
		"":                             "B-1 A-2 A-1",
		"?status=WAIT":                 "B-1 A-2",
		"?status=success":              "A-1",
		"?order=A-":                    "A-2 A-1",
		"?amount=10":                   "A-2",
		"?late=true":                   "A-1",
		"?untold":                      "A-1",
		"?stuck=true":                  "",
		"?shop=other":                  "",
		"?account=default&status=FAIL": "",
		"?from=1h":                     "B-1 A-2 A-1",
		"?to=1h":                       "",
		"?to=2001-01-01":               "",
		"?from=" + second.CreatedAt.Format(time.RFC3339Nano): "B-1 A-2",
	} {
		if got := read[listed](o, o.ask("GET", "/qlink/bills"+query, ""), 200); got.codes() != want {
			t.Errorf("%s: %q, want %q", query, got.codes(), want)
		}
	}
}

func TestPagesOfBillsLeadFromOneToTheNext(t *testing.T) {
	o := open(t)
	want := ""
	for i := range 7 {
		want = strings.TrimSpace(o.sell(fmt.Sprintf("O-%d", i), "1").OrderCode + " " + want)
	}
	var got []string
	for cursor := ""; ; {
		page := read[listed](o, o.ask("GET", "/qlink/bills?limit=3&cursor="+cursor, ""), 200)
		got = append(got, page.codes())
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if all := strings.Join(got, " "); all != want || len(got) != 3 {
		t.Errorf("%d pages: %s", len(got), all)
	}
}

func TestAQueryThatIsNotUnderstoodIsRefusedInWords(t *testing.T) {
	o := open(t)
	for path, want := range map[string]string{
		"/qlink/bills?statsu=WAIT":             "unknown parameter",
		"/qlink/bills?status=PAID":             "is none of",
		"/qlink/bills?status=WAIT&status=FAIL": "twice",
		"/qlink/bills?limit=0":                 "from 1 to 1000",
		"/qlink/bills?limit=x":                 "from 1 to 1000",
		"/qlink/bills?from=yesterday":          "from is",
		"/qlink/bills?from=-1h":                "from is",
		"/qlink/bills?late=perhaps":            "true or false",
		"/qlink/bills?amount=ten":              "no decimal number",
		"/qlink/bills?cursor=AAAA":             "cursor",
		"/qlink/bills?a;b":                     "could not be read",
		"/qlink/notifications?state=lost":      "is none of",
		"/qlink/export?format=xml":             "neither ndjson nor csv",
		"/qlink/watch?stuck=true":              "could be watched",
		"/qlink/stats?x":                       "unknown parameter",
	} {
		r := read[struct{ Error string }](o, o.ask("GET", path, ""), 400)
		if !strings.Contains(r.Error, want) {
			t.Errorf("%s: %q", path, r.Error)
		}
	}
	if r := o.ask("POST", "/qlink/bills", ""); r.status != 405 || r.header.Get("Allow") != "GET" {
		t.Errorf("POST: %d, Allow %q", r.status, r.header.Get("Allow"))
	}
}

type timeline struct {
	Bill    struct{ ID, Status, Stuck string }
	Order   struct{ Paid bool }
	Details struct{ Metadata map[string]string }
	History []struct{ Kind, Source, Actor, To, Note string }

	Notifications []struct{ Type, State string }
}

func TestOneBillIsShownWholeByAnyOfItsNames(t *testing.T) {
	o := open(t)
	b := o.sell("A/1 ü", "15000")
	o.report(b, "SUCCESS")
	for _, name := range []string{b.ID, "A%2F1%20%C3%BC", b.BillCode} {
		r := o.ask("GET", "/qlink/bills/"+name, "")
		got := read[timeline](o, r, 200)
		if got.Bill.ID != b.ID || !got.Order.Paid || got.Details.Metadata["who"] != "=1+1" || len(got.History) != 3 || len(got.Notifications) != 1 {
			t.Errorf("%s: %s", name, r.text)
		}
		if again := o.ask("GET", "/qlink/bills/"+name, "", "If-None-Match", r.header.Get("ETag")); again.status != 304 || again.text != "" {
			t.Errorf("%s: not changed, and %d", name, again.status)
		}
	}
	if r := read[struct{ Error string }](o, o.ask("GET", "/qlink/bills/nobody", ""), 404); !strings.Contains(r.Error, "nobody") {
		t.Errorf("%q", r.Error)
	}
}

func TestANameOfSeveralOrdersIsRefusedWithTheirIDs(t *testing.T) {
	o := open(t)
	first := o.sell("A-1", "1")
	o.scope.Shop = "other"
	second := o.sell("A-1", "1")
	r := read[struct {
		Code  string
		Bills []string
	}](o, o.ask("GET", "/qlink/bills/A-1", ""), 409)
	if r.Code != "ambiguous" || strings.Join(r.Bills, " ") != second.ID+" "+first.ID {
		t.Errorf("%+v", r)
	}
}

func TestAnOperatorAsksCancelsAndForces(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	o.gateway.Set(b.ID, "SUCCESS")
	after := read[timeline](o, o.ask("POST", "/qlink/bills/A-1/refresh", ""), 200)
	if after.Bill.Status != "SUCCESS" {
		t.Errorf("paid at the gateway, and %s", after.Bill.Status)
	}
	refusal := read[struct {
		Error, Code string
		Bill        struct{ ID string }
	}](o, o.ask("POST", "/qlink/bills/A-1/cancel", ""), 409)
	if refusal.Code != "already_paid" || refusal.Bill.ID != b.ID {
		t.Errorf("%+v", refusal)
	}

	open := o.sell("A-2", "1")
	if r := o.ask("POST", "/qlink/bills/A-2/cancel", "{}", "QLink-Operator", "siti@desk"); r.status != 200 {
		t.Errorf("cancel: %d %s", r.status, r.text)
	}
	got := read[timeline](o, o.ask("GET", "/qlink/bills/"+open.ID, ""), 200)
	if line := got.History[2]; got.Bill.Status != "CANCELED" || line.Kind != "cancel_asked" || line.Actor != "siti@desk" {
		t.Errorf("%+v", got)
	}

	o.gateway.Become(paymenttest.Down)
	created := o.sell("A-3", "1")
	if r := o.ask("POST", "/qlink/bills/A-3/cancel", `{"force":true}`); r.status != 400 {
		t.Errorf("force without a reason: %d", r.status)
	}
	if r := o.ask("POST", "/qlink/bills/A-3/cancel", `{"reason":"x"}`); r.status != 400 {
		t.Errorf("a reason without force: %d", r.status)
	}
	if r := o.ask("POST", "/qlink/bills/A-3/cancel", `{"farce":true}`); r.status != 400 {
		t.Errorf("a misspelt force: %d", r.status)
	}
	if r := o.ask("POST", "/qlink/bills/A-3/cancel", `{"force":true,"reason":"QLink says so"}`); r.status != 200 {
		t.Errorf("force: %d %s", r.status, r.text)
	}
	got = read[timeline](o, o.ask("GET", "/qlink/bills/"+created.ID, ""), 200)
	if line := got.History[len(got.History)-1]; got.Bill.Status != "CANCELED" || line.Note != "QLink says so" || !strings.HasPrefix(line.Actor, "admin 127.0.0.1") {
		t.Errorf("%+v", line)
	}
}

func TestAnActOnABillThatHasChangedSinceIsRefused(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	seen := o.ask("GET", "/qlink/bills/A-1", "").header.Get("ETag")
	o.report(b, "FAIL")
	for _, act := range []string{"cancel", "refresh", "redeliver", "resolve"} {
		if r := o.ask("POST", "/qlink/bills/A-1/"+act, `{}`, "If-Match", seen); r.status != 412 && act != "resolve" {
			t.Errorf("%s: %d %s", act, r.status, r.text)
		}
	}
	if r := o.ask("POST", "/qlink/bills/A-1/resolve", `{"note":"x"}`, "If-Match", seen); r.status != 412 {
		t.Errorf("resolve: %d", r.status)
	}
	now := o.ask("GET", "/qlink/bills/A-1", "").header.Get("ETag")
	if r := o.ask("POST", "/qlink/bills/A-1/resolve", `{"note":"x"}`, "If-Match", now); r.status != 200 {
		t.Errorf("resolve of what was seen: %d %s", r.status, r.text)
	}
}

func TestAShopIsToldAgainOfOneBillAndOfMany(t *testing.T) {
	o := open(t)
	for i := range 3 {
		o.report(o.sell(fmt.Sprintf("A-%d", i), "1"), "SUCCESS")
	}
	one := read[struct{ Notifications []struct{ State string } }](o, o.ask("POST", "/qlink/bills/A-0/redeliver", ""), 200)
	if len(one.Notifications) != 1 || one.Notifications[0].State != "pending" {
		t.Errorf("%+v", one)
	}
	for query, want := range map[string]string{
		"?all=true&since=1h":              `"dryRun":false,"bills":3,"notifications":3,"failed":0`,
		"?all=true&since=1h&dry_run=true": `"dryRun":true,"bills":3,"notifications":3,"failed":0`,
		"?failed=true&since=1h":           `"dryRun":false,"bills":0,"notifications":0,"failed":0`,
	} {
		r := o.ask("POST", "/qlink/redeliver"+query, "")
		lines := strings.Split(strings.TrimSpace(r.text), "\n")
		if last := lines[len(lines)-1]; r.status != 200 || !strings.Contains(last, want) || !strings.Contains(last, `"done":true`) {
			t.Errorf("%s: %d %s", query, r.status, r.text)
		}
	}
	for _, query := range []string{"", "?all=true", "?failed=true", "?all=true&failed=true&since=1h", "?since=1h"} {
		if r := o.ask("POST", "/qlink/redeliver"+query, ""); r.status != 400 {
			t.Errorf("%q: %d", query, r.status)
		}
	}
	if page := o.ask("GET", "/qlink/notifications?state=pending&limit=2", ""); strings.Count(page.text, "bill.paid") != 2 || !strings.Contains(page.text, `"next":"`) {
		t.Errorf("%s", page.text)
	}
}

func TestAnOrphanIsListedUntilAnOperatorHasSeenToIt(t *testing.T) {
	o := open(t)
	_ = o.engine.Settle(t.Context(), []*payment.Account{o.scope.Account}, qlink.Notification{
		TradeUUID: "stray", OrderCode: "O-9", Status: qlink.ParseStatus("SUCCESS"),
	}, "hash")
	type orphans struct {
		Orphans []struct{ ID, OrderCode, Note, Actor string }
	}
	if got := read[orphans](o, o.ask("GET", "/qlink/orphans", ""), 200); len(got.Orphans) != 1 || got.Orphans[0].OrderCode != "O-9" {
		t.Errorf("%+v", got)
	}
	if r := o.ask("POST", "/qlink/bills/stray/resolve", `{"note":""}`); r.status != 400 {
		t.Errorf("without a note: %d %s", r.status, r.text)
	}
	if r := o.ask("POST", "/qlink/bills/stray/resolve", `{"note":"paid back"}`, "QLink-Operator", "siti"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.text)
	}
	if got := read[orphans](o, o.ask("GET", "/qlink/orphans", ""), 200); len(got.Orphans) != 0 {
		t.Errorf("%+v", got)
	}
	if got := read[orphans](o, o.ask("GET", "/qlink/orphans?resolved=true", ""), 200); len(got.Orphans) != 1 || got.Orphans[0].Actor != "siti" {
		t.Errorf("%+v", got)
	}
	if r := o.ask("POST", "/qlink/bills/nobody/resolve", `{"note":"x"}`); r.status != 404 {
		t.Errorf("an unknown one: %d", r.status)
	}
}

func TestFiguresTellWhatIsThere(t *testing.T) {
	o := open(t)
	o.report(o.sell("A-1", "1"), "SUCCESS")
	o.sell("A-2", "1")
	got := read[struct {
		Bills struct {
			Total, Open int
			ByStatus    map[string]int
		}
		Notifications struct{ Pending int }
		Accounts      []struct{ Name string }
	}](o, o.ask("GET", "/qlink/stats", ""), 200)
	if got.Bills.Total != 2 || got.Bills.Open != 1 || got.Bills.ByStatus["SUCCESS"] != 1 || got.Notifications.Pending != 1 || got.Accounts[0].Name != "default" {
		t.Errorf("%+v", got)
	}
}

func TestWhoWatchesSeesWhatTheFiltersSelectUntilTheConfigurationEnds(t *testing.T) {
	o := open(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.url+"/qlink/watch?status=SUCCESS", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	o.sell("A-1", "1")
	o.report(o.sell("A-2", "1"), "SUCCESS")
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || !strings.Contains(lines.Text(), `"orderCode":"A-2"`) || !strings.Contains(lines.Text(), `"status":"SUCCESS"`) {
		t.Errorf("saw %s, %v", lines.Text(), lines.Err())
	}
	close(o.ended)
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("after its end %q, %v", lines.Text(), lines.Err())
	}
}
