package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	caddyserver "github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/sandbox"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

// audited is an engine over the memory store and the simulated gateway, whose
// books a test falsifies.
type audited struct {
	t       *testing.T
	url     string // of the sandbox
	account *payment.Account
	store   bill.Store
	engine  *payment.Engine
	begun   time.Time

	mu        sync.Mutex
	questions map[int]int // received by the sandbox, by the number of bills they name
}

func newAudited(t *testing.T) *audited {
	s := &sandbox.Sandbox{Name: t.Name()}
	ctx, cancel := caddyserver.NewContext(caddyserver.Context{Context: context.Background()})
	t.Cleanup(func() {
		cancel()
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusNotFound); return nil })
	a := &audited{t: t, store: memory.New(), begun: time.Now().UTC().Truncate(time.Second), questions: make(map[int]int)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.count(r)
		if err := s.ServeHTTP(w, r, next); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	client, err := qlink.NewClient(qlink.Config{
		Endpoint: server.URL + "/sandbox/pay", AppKey: "app-test", AppSecret: "s3cr3t-test", PayAccount: "account1",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	a.url = server.URL
	a.account = &payment.Account{Name: "default", Ledger: "sandbox", Location: time.UTC, Gateway: client, CallTimeout: 10 * time.Second, StatusBatch: 50}
	a.engine = payment.New(payment.Config{
		Accounts:    []*payment.Account{a.account},
		Store:       func(context.Context) (bill.Store, func(), error) { return a.store, func() {}, nil },
		MinInterval: time.Second, MaxInterval: time.Minute, UnknownAfter: 30 * time.Second,
		Logger: zap.NewNop(), Now: time.Now, NewID: uuid.NewString, Rand: func(int64) int64 { return 0 },
	})
	return a
}

// sell books a payment at the gateway and keeps the bill, as of two hours ago.
func (a *audited) sell(n int) bill.Bill {
	at := a.begun.Add(-2*time.Hour - time.Duration(n)*time.Millisecond)
	b := bill.Bill{
		ID: uuid.NewString(), Ledger: "sandbox", Account: "default", Shop: "default", OrderCode: fmt.Sprintf("R%05d", n), Attempt: 1,
		Status: bill.Wait, Amount: bill.Amount(fmt.Sprintf("%d.%02d", 100+n, n%100)), Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS",
		CreatedAt: at, UpdatedAt: at, Version: 1, Revision: 1, Apply: bill.Applying{Tries: 1, StartedAt: at, EndedAt: at, Accepted: true},
	}
	answer, err := a.account.Gateway.Apply(a.t.Context(), qlink.ApplyRequest{
		PayTypeCode: b.PayType, PayChannelCode: b.PayChannel, TradeUUID: b.ID, TradeTime: at, OrderCode: b.OrderCode,
		Country: b.Country, Currency: string(b.Currency), Amount: string(b.Amount),
	})
	if err != nil {
		a.t.Errorf("apply for %s: %v", b.OrderCode, err)
	}
	b.BillCode, b.PaymentRequestID = answer.BillCode, answer.PaymentRequestID
	if n%10 == 0 {
		a.decide(b, "pay")
		b.Status, b.SettledBy, b.PayTime = bill.Success, bill.ByWebhook, at
	}
	a.keep(b)
	return b
}

// decide settles a payment at the gateway, long ago and without a word to
// anybody.
func (a *audited) decide(b bill.Bill, fate string) {
	a.control("POST", "/payments/"+b.ID+"/"+fate, `{"silent":true,"payTime":"2026-01-01 10:00:00"}`)
}

func (a *audited) keep(b bill.Bill) {
	if err := a.store.Commit(a.t.Context(), bill.Change{Bills: []bill.BillChange{{Bill: b}}}); err != nil {
		a.t.Error(err)
	}
}

// falsify changes the kept bill alone.
func (a *audited) falsify(b bill.Bill, change func(b *bill.Bill)) {
	change(&b)
	b.Revision++
	b.Version++
	a.keep(b)
}

func (a *audited) control(method, path, body string) []byte {
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+"/sandbox/control"+path, strings.NewReader(body))
	if err != nil {
		a.t.Error(err)
		return nil
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Error(err)
		return nil
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		a.t.Errorf("control %s: %d %s, %v", path, answer.StatusCode, text, err)
	}
	return text
}

// count notes how many bills a call of /getPayStatus is about, as the gateway
// receives it.
func (a *audited) count(r *http.Request) {
	if r.URL.Path != "/sandbox/pay/getPayStatus" {
		return
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	var body struct {
		List []string `json:"tradeUuidList"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		a.t.Error(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.questions[len(body.List)]++
}

// dump is all that the store holds of the bills.
func (a *audited) dump() []byte {
	var all bytes.Buffer
	for cursor, more := "", true; more; {
		page, next, err := a.store.List(a.t.Context(), bill.Query{Cursor: cursor, Limit: 1000})
		if err != nil {
			a.t.Fatal(err)
		}
		for _, b := range page {
			history, err := a.store.History(a.t.Context(), b.ID)
			if err != nil {
				a.t.Fatal(err)
			}
			if err := json.MarshalWrite(&all, []any{b, history}); err != nil {
				a.t.Fatal(err)
			}
		}
		cursor, more = next, next != ""
	}
	return all.Bytes()
}

func (a *audited) report() payment.Report {
	a.t.Helper()
	before := a.dump()
	r, err := a.engine.Report(a.t.Context(), payment.ReportQuery{}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	if !bytes.Equal(before, a.dump()) {
		a.t.Error("the report changed what is stored")
	}
	return r
}

// Ten thousand bills against the simulated gateway, asked after in batches; then
// every kind of falsification, each found and told by its name; then a gateway
// that is down half-way.
func TestAReportOfTenThousandBillsIsProvenAgainstTheSimulatedGatewayAndFindsEveryFalsification(t *testing.T) {
	const bills = 10000
	a := newAudited(t)
	sold := make([]bill.Bill, bills)
	var tills sync.WaitGroup
	for till := range 8 {
		tills.Go(func() {
			for n := till; n < bills; n += 8 {
				sold[n] = a.sell(n)
			}
		})
	}
	tills.Wait()

	r := a.report()
	if !r.Agrees() || r.Compared != bills || r.Accounts[0].CurrencyTold != bills || r.Accounts[0].AmountTold != 0 {
		t.Fatalf("%s: %d wrong, %d of %d compared: %v", r.Verdict, r.Wrong, r.Compared, bills, wrongIn(r))
	}
	if diff := cmp.Diff(map[int]int{50: bills / 50}, a.questions); diff != "" {
		t.Errorf("questions: %s", diff)
	}
	cents := make(map[bill.Status]int)
	for _, b := range sold {
		n, err := strconv.Atoi(strings.Replace(string(b.Amount), ".", "", 1))
		if err != nil {
			t.Fatal(err)
		}
		cents[b.Status] += n
	}
	amount := func(s bill.Status) string { return fmt.Sprintf("%d.%02d", cents[s]/100, cents[s]%100) }
	want := []payment.Total{
		{Currency: "IDR", Status: "WAIT", Count: 9000, Amount: amount(bill.Wait)},
		{Currency: "IDR", Status: "SUCCESS", Count: 1000, Amount: amount(bill.Success)},
	}
	if diff := cmp.Diff(want, r.Totals); diff != "" {
		t.Error(diff)
	}

	a.decide(sold[1], "pay")
	a.falsify(sold[2], func(b *bill.Bill) { b.Status = bill.Success })
	a.falsify(sold[3], func(b *bill.Bill) { b.Currency = "USD" })
	a.decide(sold[4], "expire")
	a.falsify(sold[5], func(b *bill.Bill) { b.Status = bill.Canceled })
	// The gateway loses the payments of the batch that the oldest bill is in.
	a.control("POST", "/faults", `{"operation":"getPayStatus","fault":"forget","orderCode":"R09999"}`)
	wrong := map[string][]string{
		"paid_there_only": {"R00001"}, "paid_here_only": {"R00002"}, "contradiction": {"R00003"}, "ended_there": {"R00004"}, "open_there": {"R00005"},
	}
	for _, b := range sold[bills-50:] {
		kind := "unknown_there"
		if b.Status == bill.Success {
			kind = "paid_here_only"
		}
		wrong[kind] = append(wrong[kind], b.OrderCode)
	}
	r = a.report()
	same := cmpopts.SortSlices(strings.Compare)
	if diff := cmp.Diff(wrong, wrongIn(r), same); diff != "" || r.Wrong != 55 || r.Agrees() {
		t.Errorf("%s, %d wrong: %s", r.Verdict, r.Wrong, diff)
	}
	if diff := cmp.Diff(map[int]int{50: 2 * bills / 50, 1: 50}, a.questions); diff != "" {
		t.Errorf("those alone are asked after that were missing from their batch: %s", diff)
	}

	a.control("POST", "/faults", `{"operation":"getPayStatus","fault":"status","status":503,"skip":100,"times":100000}`)
	r = a.report()
	if r.Agrees() || r.Compared < 4000 || r.Compared > 5000 || r.NotCompared != bills-r.Compared {
		t.Errorf("half down: %s, %d compared, %d not", r.Verdict, r.Compared, r.NotCompared)
	}
}

// wrongIn returns the order codes of what is wrong, by kind.
func wrongIn(r payment.Report) map[string][]string {
	orders := make(map[string][]string)
	for _, m := range r.Mismatches {
		for _, line := range m.Wrong.Listed {
			orders[string(m.Kind)] = append(orders[string(m.Kind)], line.OrderCode)
		}
	}
	return orders
}
