package shop

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-json-experiment/json"
)

const testSecret = "quickstart-secret"

// moduleStub plays the qlink handler's signed order endpoint.
type moduleStub struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	status   int
	accounts map[string]account // by order code
	asked    int
}

func newModuleStub(t *testing.T) *moduleStub {
	t.Helper()
	m := &moduleStub{t: t, accounts: make(map[string]account)}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *moduleStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	body, err := io.ReadAll(r.Body)
	if err != nil {
		m.t.Error(err)
	}
	// Taken apart and computed here from the contract's words, not with sign.
	stamp, mac, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("QLink-Signature"), "t="), ",v1=")
	h := hmac.New(sha256.New, []byte(testSecret))
	fmt.Fprintf(h, "%s.%s.%s.%s", stamp, r.Method, r.RequestURI, body)
	if mac != hex.EncodeToString(h.Sum(nil)) {
		m.t.Errorf("%s %s was signed with %q", r.Method, r.RequestURI, r.Header.Get("QLink-Signature"))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	a, ok := m.accounts[strings.TrimPrefix(r.URL.Path, "/qlink/orders/")]
	switch {
	case m.status != 0:
		w.WriteHeader(m.status)
	case !ok:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		if err := json.MarshalWrite(w, a); err != nil {
			m.t.Error(err)
		}
	}
}

// says sets what the module answers about an order from now on.
func (m *moduleStub) says(a account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts[a.OrderCode] = a
}

// paid makes b the one payment of an order.
func (m *moduleStub) paid(b bill) {
	m.says(account{OrderCode: b.OrderCode, Paid: true, PaidBill: b.ID, Bills: []bill{b}})
}

// breaks makes the module answer every question with this HTTP status.
func (m *moduleStub) breaks(status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status = status
}

func (m *moduleStub) questions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

func provision(t *testing.T, s *Shop) *Shop {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := s.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// browser is a buyer with cookies of his own, who does not follow redirects.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
}

// open starts the shop and comes to it as a new buyer.
func open(t *testing.T, s *Shop) *browser {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.ServeHTTP(w, r, nil); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	b := &browser{t: t, base: server.URL}
	return b.stranger()
}

// stranger is another buyer in the same shop.
func (b *browser) stranger() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return &browser{t: b.t, base: b.base, client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(method, path string, form url.Values, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (b *browser) add(sku string) {
	b.t.Helper()
	if a := b.do("POST", "/cart/add", url.Values{"sku": {sku}}); a.status != http.StatusSeeOther {
		b.t.Fatalf("adding %s: %d %s", sku, a.status, a.body)
	}
}

// checkout gives the order that a POST of the checkout form answers.
func (b *browser) checkout(wantStatus int, form url.Values) qlinkOrder {
	b.t.Helper()
	a := b.do("POST", "/checkout", form)
	if a.status != wantStatus || a.header.Get("Content-Type") != "application/vnd.qlink.order+json" {
		b.t.Fatalf("checkout: %d %s %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	var o qlinkOrder
	if err := json.Unmarshal([]byte(a.body), &o); err != nil {
		b.t.Fatal(err)
	}
	return o
}

// look asks for an order as a program does.
func (b *browser) look(code string) orderView {
	b.t.Helper()
	a := b.do("GET", "/orders/"+code, nil, "Accept", "application/json")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		b.t.Fatalf("order %s: %d %s", code, a.status, a.body)
	}
	var v orderView
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		b.t.Fatal(err)
	}
	return v
}

// newBuyer is a buyer in a shop of his own, with the module it asks.
func newBuyer(t *testing.T) (*browser, *moduleStub) {
	t.Helper()
	m := newModuleStub(t)
	return open(t, provision(t, &Shop{Data: t.TempDir(), QLink: m.URL + "/qlink", Secret: testSecret})), m
}

// billOf is a payment of exactly what the order asks for.
func billOf(o qlinkOrder) bill {
	return bill{ID: "bill-1", OrderCode: o.OrderCode, Status: "SUCCESS", Amount: o.Amount, Currency: o.Currency}
}

func TestABuyerCanShop(t *testing.T) {
	b, m := newBuyer(t)
	if a := b.do("GET", "/", nil); a.status != http.StatusOK || !strings.Contains(a.body, "Rp 175.000") {
		t.Fatalf("the shelf: %d %s", a.status, a.body)
	}
	b.add("KOPI-GAYO")
	b.add("KOPI-GAYO")
	b.add("KERUPUK-UDANG")
	if a := b.do("GET", "/cart", nil); !strings.Contains(a.body, "Rp 185.000") {
		t.Fatalf("the cart: %s", a.body)
	}
	o := b.checkout(http.StatusCreated, nil)
	if o.Amount != "185000" || o.Currency != "IDR" || len(o.Items) != 2 ||
		o.Items[0] != (qlinkItem{SKUCode: "KOPI-GAYO", SKUName: "Gayo highland coffee", Quantity: 2, Category: "Pantry"}) {
		t.Fatalf("the order: %+v", o)
	}
	if v := b.look(o.OrderCode); v.Paid || v.Standing != standingUnpaid {
		t.Fatalf("before it is billed: %+v", v)
	}
	m.says(account{OrderCode: o.OrderCode, OpenBill: "bill-1", Bills: []bill{{ID: "bill-1", Status: "WAIT", PayURL: "http://shop.test/qlink/pay/bill-1"}}})
	if a := b.do("GET", "/orders/"+o.OrderCode, nil); !strings.Contains(a.body, `href="http://shop.test/qlink/pay/bill-1"`) {
		t.Fatalf("while it is open: %s", a.body)
	}
	m.paid(billOf(o))
	if a := b.do("GET", "/orders/"+o.OrderCode, nil); !strings.Contains(a.body, "Terima kasih") {
		t.Fatalf("when it is paid: %s", a.body)
	}
	if a := b.do("GET", "/cart", nil); !strings.Contains(a.body, "Nothing in it yet") {
		t.Fatalf("the cart after the payment: %s", a.body)
	}
}

func TestThePriceIsNeverTheForms(t *testing.T) { // story 27
	b, _ := newBuyer(t)
	forged := url.Values{
		"sku": {"TAS-ROTAN"}, "price": {"1"}, "amount": {"1"}, "total": {"1"}, "currency": {"VND"}, "orderCode": {"S1"}, "quantity": {"1"},
	}
	b.do("POST", "/cart/add?price=1&amount=1", forged)
	o := b.checkout(http.StatusCreated, forged)
	if o.Amount != "245000" || o.Currency != "IDR" || o.OrderCode == "S1" {
		t.Fatalf("the order: %+v", o)
	}
}

func TestADoubleClickIsOneOrder(t *testing.T) { // story 6
	b, m := newBuyer(t)
	b.add("MELATI-TEA")
	first := b.checkout(http.StatusCreated, nil)
	second := b.checkout(http.StatusOK, nil)
	if first.OrderCode != second.OrderCode || first.Amount != second.Amount {
		t.Fatalf("%+v, then %+v", first, second)
	}
	m.paid(billOf(first))
	b.look(first.OrderCode)
	late := b.do("POST", "/checkout", nil)
	if late.status != http.StatusSeeOther || late.header.Get("Location") != "/orders/"+first.OrderCode {
		t.Fatalf("a click after the payment: %d %s", late.status, late.body)
	}
}

func TestAChangedCartIsTheSameOrderAtANewAmount(t *testing.T) { // story 31
	b, _ := newBuyer(t)
	b.add("MELATI-TEA")
	first := b.checkout(http.StatusCreated, nil)
	b.do("POST", "/cart/set", url.Values{"sku": {"MELATI-TEA"}, "quantity": {"3"}})
	second := b.checkout(http.StatusOK, nil)
	if second.OrderCode != first.OrderCode || second.Amount != "66000" {
		t.Fatalf("%+v, then %+v", first, second)
	}
}

func TestACartChangedAfterThePaymentIsANewOrder(t *testing.T) { // story 31
	b, m := newBuyer(t)
	b.add("MELATI-TEA")
	first := b.checkout(http.StatusCreated, nil)
	m.paid(billOf(first)) // the buyer never came back to the order's page
	b.add("KERUPUK-UDANG")
	second := b.checkout(http.StatusCreated, nil)
	if second.OrderCode == first.OrderCode || second.Amount != "15000" {
		t.Fatalf("%+v, then %+v", first, second)
	}
	if v := b.look(first.OrderCode); !v.Paid {
		t.Fatalf("the first order: %+v", v)
	}
}

func TestAPaymentAtAnotherAmountIsShownAndNotFulfilled(t *testing.T) {
	b, m := newBuyer(t)
	b.add("BATIK-PARANG")
	o := b.checkout(http.StatusCreated, nil)
	wrong := billOf(o)
	wrong.Amount = "1750"
	m.paid(wrong)
	if v := b.look(o.OrderCode); v.Paid || v.Standing != standingMismatch {
		t.Fatalf("%+v", v)
	}
	if a := b.do("GET", "/orders/"+o.OrderCode, nil); !strings.Contains(a.body, "do not pay again") {
		t.Fatalf("the page: %s", a.body)
	}
}

func TestAPaidOrderIsNeverDowngraded(t *testing.T) { // story 9
	b, m := newBuyer(t)
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	m.paid(billOf(o))
	b.look(o.OrderCode)
	failed := billOf(o)
	failed.Status = "FAIL"
	m.says(account{OrderCode: o.OrderCode, Bills: []bill{failed}})
	questions := m.questions()
	if v := b.look(o.OrderCode); !v.Paid || v.PaidBill != "bill-1" {
		t.Fatalf("%+v", v)
	}
	if m.questions() != questions {
		t.Fatal("the shop still asks after a paid order")
	}
}

func TestAnOrderIsNeverCalledUnpaidWhenTheModuleCannotBeAsked(t *testing.T) { // story 5
	b, m := newBuyer(t)
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	m.breaks(http.StatusServiceUnavailable)
	if a := b.do("GET", "/orders/"+o.OrderCode, nil); !strings.Contains(a.body, "cannot see your payment yet") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	m.Close()
	if v := b.look(o.OrderCode); v.Paid || v.Standing != standingUnknown {
		t.Fatalf("%+v", v)
	}
}

func TestAnAnswerAboutAnotherOrderIsNotBelieved(t *testing.T) {
	b, m := newBuyer(t)
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	other := account{OrderCode: "SOTHER", Paid: true, PaidBill: "bill-1", Bills: []bill{billOf(o)}}
	m.mu.Lock()
	m.accounts[o.OrderCode] = other
	m.mu.Unlock()
	if v := b.look(o.OrderCode); v.Paid || v.Standing != standingUnknown {
		t.Fatalf("%+v", v)
	}
}

func TestASignatureIsThatOfTheContract(t *testing.T) {
	// Computed with openssl dgst -hmac.
	rows := []struct{ method, target, body, want string }{
		{"GET", "/qlink/orders/SABC?x=1", "", "96c5262039c70d07f3ecf671a048f0062b41315768ed927947e1037d6b85c9bc"},
		{"POST", "/qlink/bills", `{"orderCode":"O1"}`, "9a30c76c4ab759f467255e318c0775c280082a7623af9b17c9cf7752ff7083d6"},
	}
	for _, row := range rows {
		got := sign([]byte(testSecret), noon, row.method, row.target, []byte(row.body))
		if want := fmt.Sprintf("t=%d,v1=%s", noon.Unix(), row.want); got != want {
			t.Errorf("%s %s: got %s, want %s", row.method, row.target, got, want)
		}
	}
}

func TestHostileInputIsEscaped(t *testing.T) {
	b, m := newBuyer(t)
	const script = `<script>alert(1)</script>`
	if a := b.do("POST", "/cart/add", url.Values{"sku": {script}}); a.status != http.StatusUnprocessableEntity ||
		strings.Contains(a.body, "<script") || !strings.Contains(a.body, "&lt;script&gt;") {
		t.Fatalf("a hostile sku: %d %s", a.status, a.body)
	}
	if a := b.do("GET", "/orders/"+url.PathEscape(script), nil); a.status != http.StatusNotFound || strings.Contains(a.body, "<script") {
		t.Fatalf("a hostile order code: %d %s", a.status, a.body)
	}
	b.add("MELATI-TEA")
	o := b.checkout(http.StatusCreated, nil)
	m.says(account{OrderCode: o.OrderCode, OpenBill: "b", Bills: []bill{{ID: "b", PayURL: "javascript:alert(1)"}}})
	if a := b.do("GET", "/orders/"+o.OrderCode, nil); strings.Contains(a.body, "javascript:") {
		t.Fatalf("a hostile payment page: %s", a.body)
	}
}

func TestABadQuantityIsRefused(t *testing.T) {
	b, _ := newBuyer(t)
	a := b.do("POST", "/cart/set", url.Values{"sku": {"MELATI-TEA"}, "quantity": {"1e9"}})
	if a.status != http.StatusUnprocessableEntity {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

func TestAnotherSitesFormIsRefused(t *testing.T) {
	b, _ := newBuyer(t)
	b.add("MELATI-TEA")
	for _, header := range [][2]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.test"},
		{"Origin", "null"},
	} {
		for _, path := range []string{"/cart/add", "/cart/set", "/checkout"} {
			a := b.do("POST", path, url.Values{"sku": {"TAS-ROTAN"}, "quantity": {"9"}}, header[0], header[1])
			if a.status != http.StatusForbidden {
				t.Errorf("%s with %s %s: %d", path, header[0], header[1], a.status)
			}
		}
	}
	if o := b.checkout(http.StatusCreated, nil); o.Amount != "22000" {
		t.Fatalf("the cart was changed: %+v", o)
	}
	if a := b.do("POST", "/checkout", nil, "Sec-Fetch-Site", "same-origin", "Origin", b.base); a.status != http.StatusOK {
		t.Fatalf("our own form: %d %s", a.status, a.body)
	}
}

func TestAForgedCartCookieOpensNoCart(t *testing.T) {
	b, _ := newBuyer(t)
	b.add("MELATI-TEA")
	shop, err := url.Parse(b.base)
	if err != nil {
		t.Fatal(err)
	}
	genuine := b.client.Jar.Cookies(shop)[0].Value
	id, _, _ := strings.Cut(genuine, ".")
	for _, forged := range []string{id, id + ".", id + ".AAAA", genuine + "A", strings.ToLower(id) + strings.TrimPrefix(genuine, id)} {
		thief := b.stranger()
		a := thief.do("POST", "/checkout", nil, "Cookie", cookieName+"="+forged)
		if a.status != http.StatusConflict {
			t.Errorf("cookie %s: %d %s", forged, a.status, a.body)
		}
	}
}

func TestTheCartCookieIsGuarded(t *testing.T) {
	b, _ := newBuyer(t)
	a := b.do("POST", "/cart/add", url.Values{"sku": {"MELATI-TEA"}}, "X-Forwarded-Proto", "https")
	for _, attribute := range []string{"HttpOnly", "SameSite=Lax", "Secure", "Path=/"} {
		if !strings.Contains(a.header.Get("Set-Cookie"), attribute) {
			t.Errorf("no %s in %s", attribute, a.header.Get("Set-Cookie"))
		}
	}
}

func TestAnEmptyCartIsNoOrder(t *testing.T) {
	b, _ := newBuyer(t)
	a := b.do("POST", "/checkout", nil, "Accept", "application/json")
	if a.status != http.StatusConflict || a.header.Get("Content-Type") != "application/problem+json" || !strings.Contains(a.body, `"empty_cart"`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

func TestAWrongMethodIsRefused(t *testing.T) {
	b, _ := newBuyer(t)
	if a := b.do("GET", "/checkout", nil); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
		t.Fatalf("%d, Allow %q", a.status, a.header.Get("Allow"))
	}
}

func TestEveryProductHasItsPicture(t *testing.T) {
	b, _ := newBuyer(t)
	for _, p := range catalogue {
		a := b.do("GET", "/assets/"+p.SKU+".svg", nil)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "image/svg+xml" {
			t.Errorf("%s: %d %s", p.SKU, a.status, a.header.Get("Content-Type"))
		}
	}
}

func TestThePagesLoadNothingFromElsewhere(t *testing.T) {
	b, _ := newBuyer(t)
	for _, path := range []string{"/", "/cart", "/orders/none"} {
		a := b.do("GET", path, nil)
		if strings.Contains(a.body, "//") || strings.Contains(a.body, "<script") || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

func TestAReloadKeepsTheCarts(t *testing.T) {
	m := newModuleStub(t)
	dir := filepath.Join(t.TempDir(), "shop")
	settings := func() *Shop { return &Shop{Data: dir, QLink: m.URL + "/qlink", Secret: testSecret} }
	older := provision(t, settings())
	b := open(t, older)
	b.add("MELATI-TEA")
	first := b.checkout(http.StatusCreated, nil)

	after := open(t, provision(t, settings()))
	after.client.Jar = b.client.Jar // both listen on the same host, so the cookie fits
	if o := after.checkout(http.StatusOK, nil); o.OrderCode != first.OrderCode {
		t.Fatalf("%+v, after the reload %+v", first, o)
	}
	if err := older.Cleanup(); err != nil {
		t.Fatal(err)
	}
	b.add("MELATI-TEA") // a request that the old configuration still serves
	if o := after.checkout(http.StatusOK, nil); o.Amount != "44000" {
		t.Fatalf("after the reload: %+v", o)
	}
}

func TestProvisioningLeavesNoFile(t *testing.T) { // story 38
	dir := filepath.Join(t.TempDir(), "shop")
	provision(t, &Shop{Data: dir, QLink: "http://localhost:1/qlink", Secret: testSecret})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatalf("the data folder is there: %v", err)
	}
}

func TestTheDataFolderDefaultsToCaddys(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_DATA_HOME", home)
	s := provision(t, &Shop{QLink: "http://localhost:1/qlink", Secret: testSecret})
	if want := filepath.Join(home, "caddy", "qlink-quickstart-shop"); s.dir != want {
		t.Fatalf("%s, want %s", s.dir, want)
	}
}

func TestADataFolderThatCannotBeMadeIsNotCountedAgainstTheBuyer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, provision(t, &Shop{Data: file, QLink: "http://localhost:1/qlink", Secret: testSecret}))
	if a := b.do("GET", "/", nil); a.status != http.StatusInternalServerError || strings.Contains(a.body, file) {
		t.Fatalf("%d %s", a.status, a.body)
	}
}
