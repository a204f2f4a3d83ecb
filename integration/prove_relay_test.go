package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/sandbox"
)

// relayedGround is a proving ground with somebody in the middle: the module's
// calls to the gateway go through one handler, the gateway's webhooks to the
// module through another.
func relayedGround(t *testing.T, site string, calls, webhooks http.HandlerFunc) (w *world, gateway *caddy) {
	t.Helper()
	w = prepareGround(t, site)
	toGateway, toModule := httptest.NewServer(calls), httptest.NewServer(webhooks)
	t.Cleanup(toGateway.Close)
	t.Cleanup(toModule.Close)
	public := w.values["public"]
	w.values["public"] = toModule.Listener.Addr().String()
	patient := strings.Replace(gatewayConfig, "webhook_retry 100ms", "webhook_retry 100ms\n\t\twebhook_tries 12", 1)
	gateway = startGateway(t, w, patient)
	w.values["public"], w.values["gateway"] = public, toGateway.Listener.Addr().String()
	return w, gateway
}

// call is a request to the gateway, as the one in the middle reads it.
type call struct {
	operation string
	header    http.Header
	body      []byte
	trades    []string // the tradeUuids it names
	order     string   // of the payment it names, where that is one
}

// switchboard reads calls. It learns from /apply which order a payment is for.
type switchboard struct {
	mu     sync.Mutex
	orders map[string]string // by tradeUuid
}

func (s *switchboard) read(r *http.Request) (call, error) {
	body, err := io.ReadAll(r.Body)
	c := call{operation: path.Base(r.URL.Path), header: r.Header.Clone(), body: body}
	if err != nil {
		return c, err
	}
	var named struct {
		TradeUUID, OrderCode string
		TradeUUIDs           []string `json:"tradeUuidList"`
	}
	if err := json.Unmarshal(body, &named); err != nil {
		return c, fmt.Errorf("%s: %w: %.500s", c.operation, err, body)
	}
	c.trades = named.TradeUUIDs
	if named.TradeUUID != "" {
		c.trades = []string{named.TradeUUID}
	}
	if len(c.trades) == 0 {
		return c, fmt.Errorf("%s: it names no payment: %.500s", c.operation, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.orders == nil {
		s.orders = make(map[string]string)
	}
	if named.OrderCode != "" {
		s.orders[named.TradeUUID] = named.OrderCode
	}
	if len(c.trades) == 1 {
		c.order = s.orders[c.trades[0]]
	}
	return c, nil
}

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// pass sends a request on to where it was meant for.
func pass(client *http.Client, url string, header http.Header, body []byte) (reply, error) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, text}, err
}

func (a reply) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.header.Get("Content-Type"))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
	_ = http.NewResponseController(w).Flush()
}

// payableAtOnce follows the gateway's ledger line by line and returns how many
// payments of an order could be paid, or were paid, at the same moment at most.
func payableAtOnce(t *testing.T, gateway *caddy) map[string]int {
	t.Helper()
	text, err := os.ReadFile(gateway.home + "/gateway.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	most, now, order, counts := make(map[string]int), make(map[string]int), make(map[string]string), make(map[string]bool)
	note := func(billCode string, status sandbox.Status) {
		code := order[billCode]
		if was, is := counts[billCode], status == sandbox.StatusWait || status == sandbox.StatusSuccess; was != is {
			counts[billCode] = is
			now[code]--
			if is {
				now[code] += 2
			}
		}
		most[code] = max(most[code], now[code])
	}
	for line := range bytes.Lines(text) {
		e := decode[sandbox.Entry](t, line)
		if e.Payment != nil {
			order[e.Payment.BillCode] = e.Payment.OrderCode
			note(e.Payment.BillCode, e.Payment.Status)
		}
		if e.Change != nil {
			note(e.Change.BillCode, e.Change.Status)
		}
	}
	return most
}
