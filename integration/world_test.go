package integration

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/sandbox"
)

// The credentials of the simulated gateway and of the signed endpoints.
const (
	appKey    = "app-test"
	appSecret = "s3cr3t-test"
	apiSecret = "an-api-secret-of-the-tests"
)

// worldConfig is a site with the module and a gateway, for a shop outside Caddy.
const worldConfig = siteConfig + gatewayConfig

// siteConfig is a site with the module; {{site}} is put into its block.
const siteConfig = `{
	admin {{admin}}
	auto_https off
	qlink {
		account {
			endpoint http://{{gateway}}/sandbox/pay
			app_key app-test
			app_secret s3cr3t-test
			pay_account account1
			pay_type ONLINE
			pay_channel QRIS
			country ID
			currency IDR
			timeout {{timeout}}
		}
		reconcile {
			min_interval 1s
			unknown_after 2s
		}
	}
}

http://{{public}} {
	bind 127.0.0.1
{{site}}
}
{{extra}}`

// gatewayConfig is the simulated gateway's site.
const gatewayConfig = `
http://{{gateway}} {
	bind 127.0.0.1
	qlink_sandbox {
		app app-test s3cr3t-test
		account account1
		webhook http://{{public}}/qlink/payNotification
		webhook_retry 100ms
		ledger {{home}}/gateway.ndjson
	}
}
`

// plainSite is the shortest real one.
const plainSite = `	qlink {
		checkout /checkout
		api {
			secret an-api-secret-of-the-tests
		}
	}
	reverse_proxy {{shop}}`

// world is a Caddy with the module, its gateway and a shop.
type world struct {
	*caddy
	public  string // host:port of the site
	gateway string // host:port of the simulated gateway
	shop    *shop
	values  map[string]string
	client  *http.Client // follows no redirect
	behind  bool         // a balancer, whose answers are no endpoint's
}

func newWorld(t *testing.T, site string) *world {
	t.Helper()
	w := prepareWorld(t, site, "")
	w.start()
	return w
}

// prepareWorld writes the configuration, with further sites at its end, and
// leaves starting to the caller.
func prepareWorld(t *testing.T, site, extra string) *world {
	t.Helper()
	w := &world{
		public: processtest.FreeAddress(t), gateway: processtest.FreeAddress(t), shop: newShop(t), client: newClient(t),
	}
	w.values = map[string]string{
		"public": w.public, "gateway": w.gateway, "shop": w.shop.address, "timeout": "2s",
	}
	for name, text := range map[string]string{"site": site, "extra": extra} {
		w.values[name] = strings.ReplaceAll(text, "{{shop}}", w.shop.address)
	}
	w.caddy = newCaddy(t, worldConfig, w.values)
	return w
}

// prepareExample has the Caddyfile of one of examples/ as it stands, with a site at
// an address and a gateway at another. Which of its variables are the ports is for
// the caller to say, who starts it.
func prepareExample(t *testing.T, folder, public string) *world {
	t.Helper()
	text, err := os.ReadFile("../examples/" + folder + "/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{public: public, gateway: processtest.FreeAddress(t), client: newClient(t)}
	w.caddy = newCaddy(t, string(text), nil)
	return w
}

// onLocalhost is a free address by the name that browsers trust.
func onLocalhost(t *testing.T) string {
	t.Helper()
	return "localhost:" + port(t, processtest.FreeAddress(t))
}

// newClient returns a client that follows no redirect and undoes no coding.
func newClient(t *testing.T) *http.Client {
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 128},
		Timeout:       startWithin,
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// browser has the client be a browser that nobody has used yet: it keeps cookies.
func (w *world) browser() {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.client.Jar = jar
}

// shop answers every checkout with the order that is laid on its counter, and
// anything else with what a test has put on its shelves.
type shop struct {
	address string

	mu      sync.Mutex
	order   string // body of the next answers to POST /checkout
	asked   int
	handler http.Handler // of every other path
}

func newShop(t *testing.T) *shop {
	s := new(shop)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.address = server.Listener.Addr().String()
	return s
}

func (s *shop) lay(order string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = order
}

// visits returns how many checkouts it was asked for.
func (s *shop) visits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *shop) serve(handler http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = handler
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	order, handler := s.order, s.handler
	checkout := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/checkout") && order != ""
	if checkout {
		s.asked++
	}
	s.mu.Unlock()
	switch {
	case checkout:
		w.Header().Set("Content-Type", "application/vnd.qlink.order+json; charset=utf-8")
		w.Header().Set("X-Internal", "not for buyers")
		http.SetCookie(w, &http.Cookie{Name: "basket", Value: "kept"})
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, order)
	case handler != nil:
		handler.ServeHTTP(w, r)
	default:
		fmt.Fprintf(w, "shop: %s %s", r.Method, r.URL.Path)
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
}

// do sends a request to the site and reads the answer.
func (w *world) do(req *http.Request) (answer, error) {
	resp, err := w.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := answer{Response: resp, body: body}
	if err == nil && req.URL.Host == w.public && !w.behind {
		if err := theDescription.check(req, a); err != nil {
			w.t.Errorf("%s %s, %s, is not as docs/openapi.yaml says: %v\n%s", req.Method, req.URL, a.Status, err, body)
		}
	}
	return a, err
}

func (w *world) must(method, path, body string, header ...string) answer {
	w.t.Helper()
	a, err := w.do(w.request(method, path, body, header...))
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", method, path, err, w.log.Tail())
	}
	return a
}

func (w *world) request(method, path, body string, header ...string) *http.Request {
	w.t.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = "http://" + w.public + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

// want fails the test unless the answer has the status.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: %d, want %d\n%.2000s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	return a
}

// billJSON is the bill as the contract prints it, as far as tests look at it.
type billJSON struct {
	ID              string `json:"id"`
	Status          string `json:"status"`
	Final           bool   `json:"final"`
	OrderCode       string `json:"orderCode"`
	Attempt         int    `json:"attempt"`
	Amount          string `json:"amount"`
	PayType         string `json:"payTypeCode"`
	PayChannel      string `json:"payChannelCode"`
	BillCode        string `json:"billCode"`
	CancelRequested bool   `json:"cancelRequested"`
	SettledBy       string `json:"settledBy"`
	PayURL          string `json:"payUrl"`
	Version         int    `json:"version"`
	Action          struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
	} `json:"action"`
}

func decode[T any](t *testing.T, body []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v: %.500s", err, body)
	}
	return v
}

// checkout hands over the order as a program would and returns the bill.
func (w *world) checkout(order string, want int) billJSON {
	w.t.Helper()
	w.shop.lay(order)
	return decode[billJSON](w.t, w.must("POST", "/checkout", "").want(w.t, want).body)
}

func (w *world) bill(id string) billJSON {
	w.t.Helper()
	return decode[billJSON](w.t, w.must("GET", "/qlink/bills/"+id, "").want(w.t, 200).body)
}

// awaitStatus long-polls until the bill has the status.
func (w *world) awaitStatus(id, status string) billJSON {
	w.t.Helper()
	deadline := time.Now().Add(startWithin)
	for {
		a := w.must("GET", "/qlink/bills/"+id, "").want(w.t, 200)
		b := decode[billJSON](w.t, a.body)
		if b.Status == status {
			return b
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("bill is still %s, not %s\n%s", b.Status, status, w.log.Tail())
		}
		w.must("GET", "/qlink/bills/"+id+"?wait=1s", "", "If-None-Match", a.Header.Get("ETag"))
	}
}

func order(code, amount string) string {
	return fmt.Sprintf(`{"orderCode":%q,"amount":%q,"metadata":{"private":"not for buyers"}}`, code, amount)
}

// signed signs a request as a shop does (the contract's section 2b).
func signed(req *http.Request, body string) *http.Request {
	return signedWith(apiSecret, req, body)
}

func signedWith(secret string, req *http.Request, body string) *http.Request {
	return signedAt(time.Now(), secret, req, body)
}

func signedAt(at time.Time, secret string, req *http.Request, body string) *http.Request {
	t := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.%s.%s", t, req.Method, req.URL.RequestURI(), body)
	req.Header.Set("QLink-Signature", "t="+t+",v1="+hex.EncodeToString(mac.Sum(nil)))
	return req
}

// webhook posts a notification as the gateway does, signed by the secret.
func (w *world) webhook(secret, body string) answer {
	w.t.Helper()
	sign := qlink.Sign(qlink.ContentString, appKey, secret, []byte(body))
	return w.must("POST", "/qlink/payNotification", body, "Content-Type", "application/json", "appKey", appKey, "sign", sign)
}

// control speaks to the simulated gateway's control API.
func (w *world) control(method, path, body string) answer {
	w.t.Helper()
	a := w.must(method, "http://"+w.gateway+"/sandbox/control"+path, body, "Content-Type", "application/json")
	if a.StatusCode >= 300 {
		w.t.Fatalf("control %s %s: %d %s", method, path, a.StatusCode, a.body)
	}
	return a
}

// ledger is what the gateway wrote down, read from its file.
func (w *world) ledger() (calls []sandbox.Call, payments []sandbox.PaymentRecord) {
	w.t.Helper()
	ledger := ledgerOf(w.t, w.caddy)
	return ledger.Calls, ledger.Payments
}

// ledgerOf reads the ledger of the gateway that a process plays.
func ledgerOf(t *testing.T, gateway *caddy) sandbox.Snapshot {
	t.Helper()
	ledger, err := sandbox.ReadLedger(gateway.home + "/gateway.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	return ledger
}

// applies counts the calls of /apply for an order that the gateway received.
func (w *world) applies(orderCode string) int {
	w.t.Helper()
	calls, _ := w.ledger()
	n := 0
	for _, c := range calls {
		if c.Operation == "apply" && bytes.Contains([]byte(c.Body), []byte(`"`+orderCode+`"`)) {
			n++
		}
	}
	return n
}

// booked counts the payments the gateway made for an order.
func (w *world) booked(orderCode string) int {
	w.t.Helper()
	_, payments := w.ledger()
	n := 0
	for _, p := range payments {
		if p.OrderCode == orderCode {
			n++
		}
	}
	return n
}

// dial opens a bare connection to the site.
func (w *world) dial() net.Conn {
	w.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.public)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func signOf(body, secret string) string {
	return qlink.Sign(qlink.ContentString, appKey, secret, []byte(body))
}
