package handlers_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/page"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

const (
	billID    = "3f2b8c1e-9d47-4a60-8b1f-0c5d7e9a1b2c"
	apiSecret = "api-canary-s3cr3t"
	appSecret = "app-canary-s3cr3t"
	qrPayload = "00020101021226670016COM.NOBUBANK.WWW01189360050300000879140214844519767362640303UMI51440014ID.CO.QRIS.WWW0215ID20243345184510303UMI5204541153033605405150005802ID5908SHOP ABC6007JAKARTA6105101106304A1B2"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// engine is a scripted engine: each call returns what the test has set, and is
// recorded.
type engine struct {
	mu    sync.Mutex
	calls []string

	ready     error
	created   payment.Created
	createErr error
	bills     map[string]bill.Bill
	details   bill.Details
	detailsOf map[string]bill.Details // by bill, before details
	shown     payment.Showing         // but for bill and details
	ways      []payment.Way
	waysErr   error
	detailErr error
	billErr   error
	cancelled bill.Bill
	cancelErr error
	refreshed bill.Bill
	chosen    bill.Bill
	chooseErr error
	retried   payment.Created
	retryErr  error
	order     payment.Order
	orders    map[string]payment.Order // by code; nil: order
	orderErr  error
	settleErr error
	waited    func(ctx context.Context, version uint64) (bill.Bill, error)

	gotClient   string
	gotOrder    bill.Order
	gotHandOver payment.HandOver
	gotReason   bill.CancelReason
	gotWay      [2]string
	gotWithin   time.Duration
	gotCode     string
	gotNotice   qlink.Notification
	gotAccounts []*payment.Account
	gotDigest   string
}

func (e *engine) record(call string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, call)
}

func (e *engine) recorded() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.calls, " ")
}

func (e *engine) Ready(_ context.Context, client string) error {
	e.record("ready")
	e.gotClient = client
	return e.ready
}

func (e *engine) Create(_ context.Context, _ payment.Scope, o bill.Order, h payment.HandOver) (payment.Created, error) {
	e.record("create")
	e.gotOrder, e.gotHandOver = o, h
	return e.created, e.createErr
}

func (e *engine) Bill(_ context.Context, _ payment.Scope, id string) (bill.Bill, error) {
	e.record("bill")
	b, ok := e.bills[id]
	switch {
	case e.billErr != nil:
		return bill.Bill{}, e.billErr
	case !ok:
		return bill.Bill{}, bill.ErrNotFound
	}
	return b, nil
}

func (e *engine) Details(_ context.Context, _ payment.Scope, id string) (bill.Details, error) {
	if d, ok := e.detailsOf[id]; ok && e.detailErr == nil {
		return d, nil
	}
	return e.details, e.detailErr
}

func (e *engine) Showing(_ context.Context, _ payment.Scope, id string, within time.Duration) (payment.Showing, error) {
	e.gotWithin = within
	b, ok := e.bills[id]
	switch {
	case e.billErr != nil:
		return payment.Showing{}, e.billErr
	case !ok:
		return payment.Showing{}, bill.ErrNotFound
	}
	shown := e.shown
	shown.Bill, shown.Details = b, e.details
	return shown, nil
}

func (e *engine) Ways(context.Context, payment.Scope, bill.Bill) ([]payment.Way, error) {
	e.record("ways")
	return e.ways, e.waysErr
}

func (e *engine) Wait(ctx context.Context, _ payment.Scope, _ string, version uint64) (bill.Bill, error) {
	e.record("wait")
	return e.waited(ctx, version)
}

func (e *engine) Cancel(_ context.Context, _ payment.Scope, id string, reason bill.CancelReason) (bill.Bill, error) {
	e.record("cancel")
	e.gotReason = reason
	if _, ok := e.bills[id]; !ok {
		return bill.Bill{}, bill.ErrNotFound
	}
	return e.cancelled, e.cancelErr
}

func (e *engine) Refresh(context.Context, payment.Scope, string) (bill.Bill, error) {
	e.record("refresh")
	return e.refreshed, e.billErr
}

func (e *engine) Choose(_ context.Context, _ payment.Scope, _, payType, payChannel string) (bill.Bill, error) {
	e.record("choose")
	e.gotWay = [2]string{payType, payChannel}
	return e.chosen, e.chooseErr
}

func (e *engine) Retry(_ context.Context, _ payment.Scope, _ string, within time.Duration, h payment.HandOver) (payment.Created, error) {
	e.record("retry")
	e.gotWithin, e.gotHandOver = within, h
	return e.retried, e.retryErr
}

func (e *engine) Order(_ context.Context, _ payment.Scope, code string) (payment.Order, error) {
	e.record("order")
	e.gotCode = code
	if e.orders == nil || e.orderErr != nil {
		return e.order, e.orderErr
	}
	o, ok := e.orders[code]
	if !ok {
		return payment.Order{}, bill.ErrNotFound
	}
	return o, nil
}

func (e *engine) CancelOrder(_ context.Context, _ payment.Scope, code string) (bill.Bill, error) {
	e.record("cancelOrder")
	e.gotCode = code
	return e.cancelled, e.cancelErr
}

func (e *engine) Settle(_ context.Context, accounts []*payment.Account, n qlink.Notification, bodySHA256 string) error {
	e.record("settle")
	e.gotAccounts, e.gotNotice, e.gotDigest = accounts, n, bodySHA256
	return e.settleErr
}

// site is a handler over a scripted engine, and what it logged.
type site struct {
	*handlers.Handler

	engine *engine
	logs   *observer.ObservedLogs
}

// newSite returns a site with one account in test mode and one bill that waits
// to be paid; changes adapt it.
func newSite(t *testing.T, changes ...func(*handlers.API)) *site {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	account := &payment.Account{
		Name: "default", Ledger: "ledger", AppKey: "app-key", Secrets: []string{appSecret, "older"}, Content: qlink.ContentAuto,
		Defaults: bill.Defaults{PayType: "ONLINE", PayChannel: "QRIS", Country: "ID", Currency: "IDR"},
	}
	e := &engine{bills: map[string]bill.Bill{billID: waitingBill()}}
	api := handlers.API{
		Payments: e, Scope: payment.Scope{Account: account, Shop: "default"}, Accounts: []*payment.Account{account}, Page: pages(t),
		PublicURL: "https://shop.example", APISecrets: []string{apiSecret, "former-secret"},
		Logger: zap.New(core), Now: func() time.Time { return noon },
	}
	for _, change := range changes {
		change(&api)
	}
	h, err := handlers.New(api)
	if err != nil {
		t.Fatal(err)
	}
	return &site{Handler: h, engine: e, logs: logs}
}

// drawn is one renderer for all tests: it keeps nothing of what it draws.
var drawn = sync.OnceValues(func() (*page.Renderer, error) { return page.New(page.Config{}) })

func pages(t *testing.T) *page.Renderer {
	t.Helper()
	renderer, err := drawn()
	if err != nil {
		t.Fatal(err)
	}
	return renderer
}

// withoutNonce hides what differs between two drawings of one page.
func withoutNonce(answer string) string {
	return regexp.MustCompile(`nonce(-|=")[A-Z2-7]{26}`).ReplaceAllString(answer, "nonce")
}

func waitingBill() bill.Bill {
	return bill.Bill{
		ID: billID, Account: "default", Shop: "default", OrderCode: "O1", Attempt: 1, Status: bill.Wait,
		Amount: "15000", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS", BillCode: "B1",
		Action: bill.NewAction(qrPayload), Apply: bill.Applying{Accepted: true, StartedAt: noon}, CreatedAt: noon, UpdatedAt: noon, ExpiresAt: noon.Add(time.Hour), Version: 3,
	}
}

func billIn(status bill.Status) bill.Bill {
	b := waitingBill()
	b.Status = status
	return b
}

// do sends a request to the endpoints, "/qlink" being the prefix.
func (s *site) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeEndpoint(w, r, strings.TrimPrefix(r.URL.EscapedPath(), "/qlink"))
	return w
}

func get(target string) *http.Request { return httptest.NewRequest(http.MethodGet, target, nil) }

func post(target, body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
}

func asBrowser(r *http.Request) *http.Request {
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	return r
}

// signed signs a request as a shop does.
func signed(r *http.Request, body string) *http.Request {
	r.Header.Set(handlers.SignatureHeader, handlers.Sign(apiSecret, noon, r.Method, r.RequestURI, []byte(body)))
	return r
}

func wantStatus(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status = %d, want %d; body %s", w.Code, status, w.Body)
	}
}

func wantHeader(t *testing.T, header http.Header, name, value string) {
	t.Helper()
	if got := header.Get(name); got != value {
		t.Errorf("%s = %q, want %q", name, got, value)
	}
}

func wantContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

func wantNot(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
			t.Errorf("%q must not stand in:\n%s", part, text)
		}
	}
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
