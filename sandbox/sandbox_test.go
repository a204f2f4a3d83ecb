package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// gateway is a sandbox served over HTTP, for one test.
type gateway struct {
	t   *testing.T
	s   *Sandbox
	url string
}

// provision loads a sandbox as Caddy does. Its ledger is the test's own.
func provision(t *testing.T, s *Sandbox) (*Sandbox, context.CancelFunc) {
	t.Helper()
	if s.Name == "" {
		s.Name = t.Name()
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	if err := s.Provision(ctx); err != nil {
		cancel()
		t.Fatal(err)
	}
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := s.Cleanup(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return s, stop
}

func serve(t *testing.T, s *Sandbox) *gateway {
	t.Helper()
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusTeapot)
		return nil
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.ServeHTTP(w, r, next); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return &gateway{t, s, server.URL}
}

func newGateway(t *testing.T, s *Sandbox) *gateway {
	t.Helper()
	s, _ = provision(t, s)
	return serve(t, s)
}

// reply is an answer of the gateway or of the control API.
type reply struct {
	status int
	header http.Header
	body   string
}

// into decodes the reply.
func (r reply) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
}

// object decodes the reply as an object.
func (r reply) object(t *testing.T) map[string]any {
	t.Helper()
	var o map[string]any
	r.into(t, &o)
	return o
}

func (g *gateway) do(method, path, body string, header http.Header) (reply, error) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(got)}, err
}

// credentials are the headers of a rightly signed call.
func credentials(body string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	h.Set("appKey", defaultAppKey)
	h.Set("sign", qlink.Sign(qlink.ContentString, defaultAppKey, defaultAppSecret, []byte(body)))
	return h
}

// try calls an operation, and may fail to get an answer.
func (g *gateway) try(operation, body string) (reply, error) {
	g.t.Helper()
	return g.do(http.MethodPost, "/sandbox/pay/"+operation, body, credentials(body))
}

func (g *gateway) call(operation, body string) reply {
	g.t.Helper()
	r, err := g.try(operation, body)
	if err != nil {
		g.t.Fatalf("%s: %v", operation, err)
	}
	return r
}

// control calls the control API and wants a status.
func (g *gateway) control(method, path, body string, want int) reply {
	g.t.Helper()
	r, err := g.do(method, "/sandbox/control"+path, body, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	if r.status != want {
		g.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, want, r.body)
	}
	return r
}

// settled is the record of a payment of which nothing is on its way any more.
func (g *gateway) settled(id string) PaymentRecord {
	g.t.Helper()
	var record PaymentRecord
	g.control(http.MethodGet, "/payments/"+id+"?wait=20s", "", http.StatusOK).into(g.t, &record)
	if !record.settled() {
		g.t.Fatalf("%s is not settled: %+v", id, record)
	}
	return record
}

func (g *gateway) fault(f string) {
	g.t.Helper()
	g.control(http.MethodPost, "/faults", f, http.StatusCreated)
}

// order is a right body for apply.
func order(tradeUUID, orderCode string) string {
	return fmt.Sprintf(`{"payAccount":"account1","payTypeCode":"ONLINE","payChannelCode":"QRIS","tradeUuid":%q,`+
		`"tradeTime":"2025-08-04 13:45:21","orderCode":%q,"country":"ID","currency":"IDR","amount":"15000.50",`+
		`"description":"描述","metadata":"{}","items":[{"skuCode":"S","skuName":"商品","quantity":"1","url":"http://x"}]}`, tradeUUID, orderCode)
}

// apply makes a payment and returns its answer.
func (g *gateway) apply(tradeUUID, orderCode string) map[string]any {
	g.t.Helper()
	answer := g.call(opApply, order(tradeUUID, orderCode)).object(g.t)
	if answer["success"] != true {
		g.t.Fatalf("apply %s: %v", orderCode, answer)
	}
	return answer
}

// status asks for one payment.
func (g *gateway) status(tradeUUID string) map[string]any {
	g.t.Helper()
	return g.call(opStatus, `{"tradeUuidList":["`+tradeUUID+`"]}`).object(g.t)
}

// receiver is a merchant's webhook endpoint.
type receiver struct {
	*httptest.Server
	got chan received
}

type received struct {
	header http.Header
	body   []byte
}

// newReceiver answers the nth webhook (from 0) with what answer gives.
func newReceiver(t *testing.T, answer func(n int, r received) (int, string)) *receiver {
	t.Helper()
	rec := &receiver{got: make(chan received, 1000)}
	var mu sync.Mutex
	n := 0
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got := received{r.Header, body}
		mu.Lock()
		number := n
		n++
		mu.Unlock()
		status, text := answer(number, got)
		rec.got <- got
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.Copy(w, bytes.NewBufferString(text))
	}))
	t.Cleanup(rec.Close)
	return rec
}

func takes(int, received) (int, string) { return http.StatusOK, `{"success":true}` }

// next is the next webhook.
func (rec *receiver) next(t *testing.T) (notification, received) {
	t.Helper()
	select {
	case got := <-rec.got:
		var n notification
		if err := json.Unmarshal(got.body, &n); err != nil {
			t.Fatalf("%v in %s", err, got.body)
		}
		return n, got
	case <-time.After(20 * time.Second):
		t.Fatal("no webhook came")
		return notification{}, received{}
	}
}

func (rec *receiver) statuses(t *testing.T, n int) []Status {
	t.Helper()
	var list []Status
	for range n {
		got, _ := rec.next(t)
		list = append(list, got.Status)
	}
	return list
}
