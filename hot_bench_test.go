package caddyqlink

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// What the hot paths cost inside of Caddy, without sockets: requests go through
// a configured server, over a store on disk. What they cost beyond Caddy's own
// is the difference to BenchmarkRespond, which answers the same requests with
// the same bytes.

// BenchmarkRespond is the base line: Caddy's respond.
func BenchmarkRespond(b *testing.B) {
	get := &hotRequest{method: http.MethodGet, path: "/qlink/bills/" + someID}
	b.Run("status", func(b *testing.B) {
		s := newHotSite(b, "header Content-Type application/json\n\theader Cache-Control no-store\n\theader ETag \"\\\"1-123456123456\\\"\"\n\trespond `"+hotBill+"`")
		b.ReportAllocs()
		for b.Loop() {
			s.serve(b, get, http.StatusOK)
		}
	})
	hook := hotNotification("0", bill.View{ID: someID, OrderCode: "O-1", BillCode: "B-1"})
	b.Run("webhook", func(b *testing.B) {
		s := newHotSite(b, "header Content-Type application/json\n\theader Cache-Control no-store\n\trespond `{\"success\":true}`")
		b.ReportAllocs()
		for b.Loop() {
			s.serve(b, hook, http.StatusOK)
		}
	})
	b.Run("checkout", func(b *testing.B) {
		s := newHotSite(b, "header Content-Type application/json\n\theader Cache-Control no-store\n\trespond `"+hotBill+"` 201")
		b.ReportAllocs()
		for b.Loop() {
			s.serve(b, hotCheckout, http.StatusCreated)
		}
	})
}

// BenchmarkStatus reads a bill.
func BenchmarkStatus(b *testing.B) {
	s := newHotSite(b, hotQLink)
	created := s.checkOut(b, 1)[0]
	get := &hotRequest{method: http.MethodGet, path: "/qlink/bills/" + created.ID}
	b.ReportAllocs()
	for b.Loop() {
		s.serve(b, get, http.StatusOK)
	}
}

// BenchmarkWebhook has bills paid, each one once: one after the other, and many
// at a time, so that they share commits.
func BenchmarkWebhook(b *testing.B) {
	for _, senders := range []int{1, 64} {
		b.Run("senders="+strconv.Itoa(senders), func(b *testing.B) {
			s := newHotSite(b, hotQLink)
			hooks := make([]*hotRequest, b.N)
			for i, created := range s.checkOut(b, b.N) {
				hooks[i] = hotNotification(strconv.Itoa(i), created)
			}
			b.ReportAllocs()
			b.ResetTimer()
			share(senders, b.N, func(i int) { s.serve(b, hooks[i], http.StatusOK) })
		})
	}
}

// BenchmarkCheckout takes orders from a shop and applies for them at a gateway
// that both answer at once, inside of this process.
func BenchmarkCheckout(b *testing.B) {
	for _, buyers := range []int{1, 64} {
		b.Run("buyers="+strconv.Itoa(buyers), func(b *testing.B) {
			s := newHotSite(b, hotQLink)
			b.ReportAllocs()
			b.ResetTimer()
			share(buyers, b.N, func(int) { s.serve(b, hotCheckout, http.StatusCreated) })
		})
	}
}

// share calls do for 0 to n-1, so many calls at a time.
func share(workers, n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	all.Wait()
}

// hotQLink is a site with the module before a shop.
const hotQLink = "qlink {\n\t\tcheckout /checkout\n\t}\n\thot_shop"

// hotSite is a server with one site.
type hotSite struct {
	server *caddyhttp.Server
	ctx    context.Context //nolint:containedctx // that of the connection on which requests come
}

// newHotSite runs a Caddy until the benchmark ends.
func newHotSite(b *testing.B, site string) *hotSite {
	b.Helper()
	app := "store badger {\n\t\t\tpath " + b.TempDir() + "/store\n\t\t}\n\t\t" + strings.TrimSuffix(account, "}") + "\ttransport hot\n\t\t}" +
		"\n\t\treconcile {\n\t\t\tmin_interval 1h\n\t\t\tmax_interval 1h\n\t\t}\n\t\tlimits {\n\t\t\topen_total 0\n\t\t}"
	text := strings.Replace(caddyfileOf(app, site), "admin off", "admin off\n\tlog {\n\t\tlevel ERROR\n\t}", 1)
	if err := load(b, text); err != nil {
		b.Fatal(err)
	}
	return &hotSite{
		server: httpApp(b).Servers["srv0"],
		ctx:    context.WithValue(b.Context(), http.ServerContextKey, new(http.Server)),
	}
}

// checkOut makes so many bills.
func (s *hotSite) checkOut(b *testing.B, count int) []bill.View {
	b.Helper()
	created := make([]bill.View, count)
	share(64, count, func(i int) {
		answer := s.serve(b, hotCheckout, http.StatusCreated)
		if err := json.Unmarshal(answer, &created[i]); err != nil {
			b.Error(err)
		}
	})
	return created
}

// serve sends one request and returns the body of its answer.
func (s *hotSite) serve(b *testing.B, r *hotRequest, want int) []byte {
	w := hotWriter{header: make(http.Header)}
	s.server.ServeHTTP(&w, r.make(s.ctx))
	if w.status != want {
		b.Errorf("%s %s is answered %d: %s", r.method, r.path, w.status, w.body)
	}
	return w.body
}

// hotRequest is what a client sends.
type hotRequest struct {
	method, path, body string
	header             http.Header
}

// make returns the request as a server would.
func (q *hotRequest) make(ctx context.Context) *http.Request {
	r := &http.Request{
		Method: q.method, URL: &url.URL{Path: q.path}, RequestURI: q.path, Host: "127.0.0.1", RemoteAddr: "127.0.0.1:4711",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: q.header, Body: http.NoBody, ContentLength: int64(len(q.body)),
	}
	if q.body != "" {
		r.Body = io.NopCloser(strings.NewReader(q.body))
	}
	return r.WithContext(ctx)
}

// hotCheckout is a buyer's.
var hotCheckout = &hotRequest{method: http.MethodPost, path: "/checkout", body: "cart=1", header: http.Header{"Accept": {"application/json"}}}

// hotNotification is the gateway's word that a bill was paid (the document,
// section 8).
func hotNotification(number string, of bill.View) *hotRequest {
	body := fmt.Sprintf(`{"tradeUuid":%q,"billCode":%q,"orderCode":%q,"paymentRequestId":"R-%s","status":"SUCCESS","payTime":"2026-11-22 12:00:00","errorCode":""}`,
		of.ID, of.BillCode, of.OrderCode, number)
	return &hotRequest{
		method: http.MethodPost, path: "/qlink/payNotification", body: body,
		header: http.Header{
			"Content-Type": {"application/json"}, http.CanonicalHeaderKey(qlink.HeaderAppKey): {"key"},
			http.CanonicalHeaderKey(qlink.HeaderSign): {qlink.Sign(qlink.ContentString, "key", "secret", []byte(body))},
		},
	}
}

// hotWriter takes an answer, and deadlines as a connection does.
type hotWriter struct {
	header http.Header
	status int
	body   []byte
}

func (w *hotWriter) Header() http.Header              { return w.header }
func (w *hotWriter) WriteHeader(status int)           { w.status = status }
func (w *hotWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *hotWriter) SetWriteDeadline(time.Time) error { return nil }

func (w *hotWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

// hotBill is an answer as long as a bill's.
var hotBill = `{"id":"` + someID + `","account":"default","shop":"default","filler":"` + strings.Repeat("x", 700) + `"}`

func init() {
	caddy.RegisterModule(hotShop{})
	caddy.RegisterModule(hotTransport{})
	httpcaddyfile.RegisterHandlerDirective("hot_shop", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return hotShop{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("hot_shop", httpcaddyfile.Before, "respond")
}

// hotShop answers with an order of its own each time.
type hotShop struct{}

var hotOrders atomic.Int64

func (hotShop) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.hot_shop", New: func() caddy.Module { return new(hotShop) }}
}

func (hotShop) ServeHTTP(w http.ResponseWriter, _ *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Content-Type", "application/vnd.qlink.order+json")
	w.WriteHeader(http.StatusCreated)
	_, err := io.WriteString(w, `{"orderCode":"O-`+strconv.FormatInt(hotOrders.Add(1), 10)+
		`","amount":"15000","description":"Kopi tubruk","metadata":{"cart":"c-1"},"items":[{"skuCode":"SKU01","skuName":"Kopi tubruk","quantity":1}]}`)
	return err
}

// hotTransport is a gateway that makes every payment it is asked for.
type hotTransport struct{}

var hotPayments atomic.Int64

func (hotTransport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.hot", New: func() caddy.Module { return new(hotTransport) }}
}

func (hotTransport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (hotTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	n := strconv.FormatInt(hotPayments.Add(1), 10)
	answer := `{"success":true,"message":"","data":{"billCode":"B` + n + `","paymentRequestId":"R` + n + `","actionValue":"` + hotQR + `","errorCode":""}}`
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(answer)),
	}, nil
}

// hotQR is a QRIS payload.
const hotQR = "00020101021226670016COM.NOBUBANK.WWW01189360050300000879140214844519767362640303UMI51440014ID.CO.QRIS.WWW0215ID20243345184510303UMI5204541153033605405150005802ID5908SHOP ABC6007JAKARTA6105101106304A1B2"
