package console_test

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/console"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/payment/paymenttest"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ownKey is a console's, if it has no other.
const ownKey = "a key of the tests, 32 bytes long"

// office is a console at /console over an engine, a store in memory and a
// gateway, with somebody at the desk.
type office struct {
	t       *testing.T
	engine  *payment.Engine
	store   bill.Store
	gateway *paymenttest.Gateway
	scope   payment.Scope
	config  console.Config
	url     string
	user    string // who is signed in
	lead    time.Duration
}

func open(t *testing.T, change ...func(*console.Config)) *office {
	t.Helper()
	g := new(paymenttest.Gateway)
	account := &payment.Account{
		Name: "default", Ledger: "ledger", AppKey: "app", Secrets: []string{"s"}, Location: time.UTC, Gateway: g,
		ExpireAfter: 24 * time.Hour, CallTimeout: 10 * time.Second, StatusBatch: 50,
	}
	o := &office{t: t, store: memory.New(), gateway: g, scope: payment.Scope{Account: account, Shop: "default"}, user: "siti"}
	o.engine = payment.New(payment.Config{
		Accounts: []*payment.Account{account},
		Store:    func(context.Context) (bill.Store, func(), error) { return o.store, func() {}, nil },
		Notify: func(string, string) []payment.Target {
			return []payment.Target{{URL: "https://shop.example/told", Secrets: [][]byte{make([]byte, 32)}, Events: bill.NotificationTypes()[1:]}}
		},
		MinInterval: time.Nanosecond, MaxInterval: time.Minute, UnknownAfter: time.Second,
		Logger: zap.NewNop(), Now: o.now, NewID: uuid.NewString, Rand: func(int64) int64 { return 0 },
	})
	o.config = console.Config{
		Payments: o.engine, Now: o.now, Keys: [][]byte{[]byte(ownKey)}, Logger: zap.NewNop(),
		User:   func(*http.Request) string { return o.user },
		Client: func(*http.Request) string { return "192.0.2.7" },
		Host:   func(r *http.Request) string { return r.Host },
	}
	for _, c := range change {
		c(&o.config)
	}
	t.Cleanup(func() {
		if err := o.engine.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	o.serve()
	return o
}

// serve opens the console over the office's engine.
func (o *office) serve() {
	o.t.Helper()
	pages, err := console.New(o.config)
	if err != nil {
		o.t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages.Serve(w, r, strings.TrimPrefix(r.URL.EscapedPath(), "/console"))
	}))
	o.t.Cleanup(server.Close)
	o.url = server.URL
}

// node is another console over the same engine, for the same user.
func (o *office) node(keys ...string) *office {
	o.t.Helper()
	n := *o
	n.config.Keys = nil
	for _, key := range keys {
		n.config.Keys = append(n.config.Keys, []byte(key))
	}
	n.serve()
	return &n
}

// now is a clock that a test may set ahead.
func (o *office) now() time.Time { return time.Now().Add(o.lead) }

// sell makes a bill.
func (o *office) sell(code, amount string) bill.Bill {
	o.t.Helper()
	return o.sellWith(code, amount, bill.Details{})
}

func (o *office) sellWith(code, amount string, details bill.Details) bill.Bill {
	o.t.Helper()
	created, err := o.engine.Create(o.t.Context(), o.scope, bill.Order{
		OrderCode: code, Amount: bill.Amount(amount), Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS", Details: details,
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

// reply is an answer of the console.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	text   string
}

// want fails the test unless the answer has the status and says all of this.
func (r reply) want(status int, says ...string) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("answered %d, not %d: %s", r.status, status, r.words())
	}
	for _, words := range says {
		if !strings.Contains(r.words(), words) {
			r.t.Errorf("the page does not say %q:\n%s", words, r.words())
		}
	}
	return r
}

// lacks fails the test where the answer says any of this.
func (r reply) lacks(words ...string) reply {
	r.t.Helper()
	for _, words := range words {
		if strings.Contains(r.words(), words) {
			r.t.Errorf("the page says %q:\n%s", words, r.words())
		}
	}
	return r
}

var (
	styles = regexp.MustCompile(`(?s)<style>.*?</style>`)
	tags   = regexp.MustCompile(`(?s)<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// words is what is to be read on a page.
func (r reply) words() string {
	text := tags.ReplaceAllString(styles.ReplaceAllString(r.text, ""), "")
	return spaces.ReplaceAllString(html.UnescapeString(text), " ")
}

func (o *office) send(req *http.Request) reply {
	o.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return reply{o.t, resp.StatusCode, resp.Header, string(text)}
}

func (o *office) request(method, path string, form url.Values) *http.Request {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, o.url+"/console"+path, strings.NewReader(form.Encode()))
	if err != nil {
		o.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return req
}

func (o *office) get(path string) reply {
	o.t.Helper()
	return o.send(o.request(http.MethodGet, path, nil))
}

var (
	forms  = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)"[^>]*>(.*?)</form>`)
	fields = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`)
)

// form returns where the form for an act leads to that is on a page, and what
// it holds by itself.
func (o *office) form(page, act string) (path string, values url.Values) {
	o.t.Helper()
	r := o.get(page).want(200)
	for _, form := range forms.FindAllStringSubmatch(r.text, -1) {
		if !strings.HasSuffix(form[1], act) {
			continue
		}
		values := make(url.Values)
		for _, field := range fields.FindAllStringSubmatch(form[2], -1) {
			values.Set(field[1], html.UnescapeString(field[2]))
		}
		return o.resolve(page, form[1]), values
	}
	o.t.Fatalf("%s has no form for %s", page, act)
	return "", nil
}

// resolve is where a link on a page leads to, below the console.
func (o *office) resolve(page, link string) string {
	o.t.Helper()
	base, err := url.Parse("/console" + page)
	if err != nil {
		o.t.Fatal(err)
	}
	to, err := base.Parse(link)
	if err != nil {
		o.t.Fatal(err)
	}
	path, ok := strings.CutPrefix(to.String(), "/console")
	if !ok {
		o.t.Fatalf("%s on %s leads out of the console", link, page)
	}
	return path
}

// press fills in the form for an act and sends it, and returns the page that it
// leads to.
func (o *office) press(page, act string, filled ...string) reply {
	o.t.Helper()
	path, values := o.form(page, act)
	for i := 0; i < len(filled); i += 2 {
		values.Set(filled[i], filled[i+1])
	}
	r := o.send(o.request(http.MethodPost, path, values))
	if r.status != http.StatusSeeOther {
		return r
	}
	return o.get(o.resolve(path, r.header.Get("Location")))
}

func (o *office) read(b bill.Bill) bill.Bill {
	o.t.Helper()
	now, err := o.store.Bill(o.t.Context(), b.ID)
	if err != nil {
		o.t.Fatal(err)
	}
	return now
}

// last is the newest line of a bill's history of that kind.
func (o *office) last(b bill.Bill, kind bill.EventKind) bill.Event {
	o.t.Helper()
	history, err := o.store.History(o.t.Context(), b.ID)
	if err != nil {
		o.t.Fatal(err)
	}
	var found bill.Event
	for _, e := range history {
		if e.Kind == kind {
			found = e
		}
	}
	if found.Kind == "" {
		o.t.Fatalf("no %s in %+v", kind, history)
	}
	return found
}
