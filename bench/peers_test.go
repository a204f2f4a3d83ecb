package bench

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// The peers are a shop and a gateway that answer at once: what they take is no
// part of what is measured. They are one process, beside the load generator.
const (
	shopAddress    = "QLINK_BENCH_SHOP"
	gatewayAddress = "QLINK_BENCH_GATEWAY"
)

// peers are where they listen.
type peers struct {
	*process

	shop, gateway string // host:port
}

func startPeers(t *testing.T) *peers {
	t.Helper()
	p := &peers{shop: processtest.FreeAddress(t), gateway: cmp.Or(*benchGateway, processtest.FreeAddress(t))}
	p.process = run(t, loadCore, t.TempDir(), []string{playing + "=" + playPeers, shopAddress + "=" + p.shop, gatewayAddress + "=" + p.gateway}, players)
	for _, address := range []string{p.shop, p.gateway} {
		p.await("the peers", func() bool {
			resp, err := http.Get("http://" + address + "/")
			if err != nil {
				return false
			}
			return resp.Body.Close() == nil
		})
	}
	return p
}

// values are what a site with the module over them is told.
func (p *peers) values(interval time.Duration) map[string]string {
	return map[string]string{"shop": p.shop, "gateway": p.gateway, "interval": interval.String()}
}

// servePeers plays them until it is ended.
func servePeers() int {
	failed := make(chan error)
	for name, handler := range map[string]http.Handler{shopAddress: newShop(), gatewayAddress: newGateway()} {
		go func() { failed <- http.ListenAndServe(os.Getenv(name), handler) }()
	}
	fmt.Fprintln(os.Stderr, <-failed)
	return 1
}

// page is what a shop shows at any address: as long as a small page is.
var page = []byte("<!doctype html><title>Kopi</title>" + strings.Repeat("<p>Kopi tubruk, 15.000 rupiah</p>\n", 60))

// newShop returns a shop whose every checkout is an order of its own.
func newShop() http.Handler {
	var orders atomic.Int64
	begun := time.Now().UnixNano()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	mux.HandleFunc("POST /checkout", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/vnd.qlink.order+json")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"orderCode":"O%x-%d","amount":"15000","description":"Kopi tubruk","metadata":{"cart":"c-%d"},"items":[{"skuCode":"SKU01","skuName":"Kopi tubruk","quantity":1}]}`,
			begun, orders.Add(1), begun)
	})
	return mux
}

// qr is a QRIS payload with a right checksum.
const qr = "00020101021226670016COM.NOBUBANK.WWW01189360050300000879140214844519767362640303UMI51440014ID.CO.QRIS.WWW0215ID20243345184510303UMI5204541153033605405150005802ID5908SHOP ABC6007JAKARTA6105101106304A1B2"

// newGateway returns a gateway that takes everything on trust (the document,
// sections 4 and 5) and counts what it was asked.
func newGateway() http.Handler {
	var payments, asked atomic.Int64
	var first, last atomic.Int64
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, payload string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"success":true,"message":"","data":`+payload+`}`)
	}
	mux.HandleFunc("/pay/apply", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n := payments.Add(1)
		answer(w, fmt.Sprintf(`{"billCode":"B%d","paymentRequestId":"R%d","actionValue":%q,"errorCode":""}`, n, n, qr))
	})
	mux.HandleFunc("POST /pay/getPayStatus", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			TradeUUIDs []string `json:"tradeUuidList"`
		}
		if err := json.UnmarshalRead(r.Body, &body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		rows := make([]string, len(body.TradeUUIDs))
		for i, id := range body.TradeUUIDs {
			rows[i] = fmt.Sprintf(`{"tradeUuid":%q,"status":"WAIT","errorCode":""}`, id)
		}
		answer(w, "["+strings.Join(rows, ",")+"]")
		now := time.Now().UnixNano()
		first.CompareAndSwap(0, now)
		last.Store(now)
		asked.Add(int64(len(rows)))
	})
	mux.HandleFunc("GET /asked", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"bills":%d,"nanoseconds":%d}`, asked.Load(), last.Load()-first.Load())
	})
	mux.HandleFunc("POST /forget", func(http.ResponseWriter, *http.Request) { asked.Store(0); first.Store(0); last.Store(0) })
	mux.HandleFunc("GET /{$}", func(http.ResponseWriter, *http.Request) {})
	return mux
}
