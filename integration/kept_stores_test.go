//go:build linux

package integration

import (
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// A store is kept of every version, as it was when that version was stopped,
// beside what it had said of each order over HTTP. Later versions have to go on
// with all of them: see store/badger/testdata/stores/README.md.
var (
	writeStore = flag.String("stores.write", "", "keep a store as the Caddy under test writes it, under this `name`")
	storeCaddy = flag.String("stores.caddy", "", "the `program` that writes it, where that is not the Caddy under test")
)

// keptKind is a kind of stores that are kept.
type keptKind struct {
	dir, extension string
	block          string                      // of the Caddyfile
	prepare        func(w *world)              // before anything is started or put
	keep           func(w *world, file string) // the store of a Caddy that has stopped
	put            func(w *world, file string) // where the Caddy finds it
	look           func(w *world)              // whether it is whole
}

var keptKinds = map[string]keptKind{
	"badger": {
		dir: "../store/badger/testdata/stores", extension: ".tar.gz", block: "store badger {\n\t\t\tpath {{home}}/store\n\t\t}",
		prepare: func(*world) {},
		keep:    func(w *world, file string) { pack(w.t, filepath.Join(w.home, "store"), file) },
		put:     func(w *world, file string) { unpack(w.t, file, filepath.Join(w.home, "store")) },
		look: func(w *world) {
			if out, err := w.run("qlink", "check", filepath.Join(w.home, "store")); err != nil {
				w.t.Errorf("check: %v\n%s", err, out)
			}
		},
	},
	"postgres": {
		dir: "../store/postgres/testdata/stores", extension: ".sql", block: "store postgres {\n\t\t\tdsn {env.QLINK_DSN}\n\t\t}",
		prepare: func(w *world) { w.env = append(w.env, "QLINK_DSN="+postgrestest.Start(w.t).DSN()) },
		keep:    dump,
		put: func(w *world, file string) {
			must(w.t, ".", "psql", "--quiet", "--set=ON_ERROR_STOP=1", "--file="+file, w.dsn())
		},
		look: func(*world) {},
	},
}

func (w *world) dsn() string {
	return strings.TrimPrefix(w.env[len(w.env)-1], "QLINK_DSN=")
}

// ofTheTool are the lines of a dump that only some versions of PostgreSQL know.
var ofTheTool = regexp.MustCompile(`(?m)^(SET |SELECT pg_catalog\.set_config|\\(un)?restrict |--).*\n`)

// dump writes the schema as the database's own tool does.
func dump(w *world, file string) {
	text := must(w.t, ".", "pg_dump", "--schema=qlink", "--inserts", "--no-owner", "--no-privileges", w.dsn())
	if err := os.WriteFile(file, []byte(ofTheTool.ReplaceAllString(text, "")), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// Addresses stand in stores: the gateway's is a part of what an order belongs
// to, the shop's of every notification. So these are the same at every run, and
// on an address of loopback that nobody else has.
const (
	keptHost    = "127.20.26.11"
	keptSite    = keptHost + ":28080"
	keptGateway = keptHost + ":28081"
	keptBell    = keptHost + ":28082"
)

// keptConfig never lets a bill run out, and has old ones asked after as often as
// young ones: a kept store does not age.
const keptConfig = `{
	admin {{admin}}
	auto_https off
	qlink {
		{{store}}
		account {
			endpoint http://` + keptGateway + `/sandbox/pay
			app_key app-test
			app_secret s3cr3t-test
			pay_account account1
			pay_type ONLINE
			pay_channel QRIS
			country ID
			currency IDR
			timeout 2s
			expire_after 0
		}
		account choice {
			endpoint http://` + keptGateway + `/sandbox/pay
			app_key app-test
			app_secret s3cr3t-test
			pay_account account1
			country ID
			currency IDR
			offer ONLINE/QRIS BANK/BCA_VA
			expire_after 0
		}
		reconcile {
			min_interval 1s
			max_interval 1s
			unknown_after 2s
		}
	}
}

http://` + keptSite + ` {
	bind ` + keptHost + `
	handle_path /choice/* {
		qlink {
			account choice
			shop choice
			checkout /checkout
		}
		reverse_proxy {{shop}}
	}
	handle {
		qlink {
			checkout /checkout
			api {
				secret an-api-secret-of-the-tests
			}
			notify http://` + keptBell + `/told {
				secret ` + notifyKey + ` ` + retiringKey + `
			}
		}
		reverse_proxy {{shop}}
	}
}

http://` + keptGateway + ` {
	bind ` + keptHost + `
	qlink_sandbox {
		app app-test s3cr3t-test
		account account1
		webhook http://` + keptSite + `/qlink/payNotification
		webhook_retry 100ms
	}
}
`

// keptWorld is a Caddy over a kept store, its gateway, and a shop.
func keptWorld(t *testing.T, kind keptKind) (*world, *doorbell) {
	t.Helper()
	w := &world{public: keptSite, gateway: keptGateway, shop: newShop(t), client: newClient(t)}
	w.caddy = newCaddy(t, strings.Replace(keptConfig, "{{store}}", kind.block, 1), map[string]string{"shop": w.shop.address})
	kind.prepare(w)
	listener, err := net.Listen("tcp", keptBell)
	if err != nil {
		t.Fatal(err)
	}
	bell := &doorbell{t: t}
	bell.Server = httptest.NewUnstartedServer(http.HandlerFunc(bell.serve))
	bell.Listener = listener
	bell.Start()
	t.Cleanup(bell.Close)
	return w, bell
}

// keptOrders are the orders of a kept store by their codes, each with what it
// tells of.
var keptOrders = []string{
	"waiting", "paid", "failed", "refused", "expired", "canceled", "again", "late", "twice", "untold", "unknown", "withdrawn", "keyed",
}

// orderAnswer is what GET /orders/{orderCode} says, field by field.
func (w *world) orderAnswer(code string) map[string]any {
	w.t.Helper()
	a, err := w.do(signed(w.request("GET", "/qlink/orders/"+code, ""), ""))
	if err != nil {
		w.t.Fatal(err)
	}
	return decode[map[string]any](w.t, a.want(w.t, 200).body)
}

func (w *world) fate(b billJSON, fate, status string) {
	w.t.Helper()
	w.control("POST", "/payments/"+b.ID+"/"+fate, "{}")
	w.awaitStatus(b.ID, status)
}

// fullOrder is an order with all that one can have.
func fullOrder(code string) string {
	return `{"orderCode":"` + code + `","amount":"15000.50","description":"Dua kemeja – ¥","metadata":{"my_custom_id":"m-123"},` +
		`"items":[{"skuCode":"SKU01","skuName":"商品01","quantity":2,"url":"https://shop.example/1","metadata":{"size":"XL"}}],"returnUrl":"https://shop.example/back"}`
}

// live has the Caddy under test go through all that leaves a trace in a store.
func live(w *world, bell *doorbell) {
	t := w.t
	t.Helper()
	told := func(b billJSON) {
		t.Helper()
		w.await("the notification about "+b.OrderCode, func() bool { _, taken := bell.rings(b.ID); return len(taken) > 0 })
	}
	tried := func(b billJSON) {
		t.Helper()
		w.await("a try at the shop about "+b.OrderCode, func() bool { all, _ := bell.rings(b.ID); return len(all) > 0 })
	}
	sold := func(code string, want int) billJSON {
		t.Helper()
		return w.checkout(order(code, "15000"), want)
	}
	ended := func(code, fate, status string) billJSON {
		t.Helper()
		b := sold(code, 201)
		w.fate(b, fate, status)
		told(b)
		return b
	}
	canceled := func(code string) billJSON {
		t.Helper()
		b := sold(code, 201)
		w.must("POST", "/qlink/bills/"+b.ID+"/cancel", "").want(t, 200)
		told(b)
		return b
	}
	w.checkout(fullOrder("waiting"), 201)
	ended("paid", "pay", "SUCCESS")
	ended("failed", "fail", "FAIL")
	ended("expired", "expire", "EXPIRED")
	w.control("POST", "/faults", `{"operation":"apply","orderCode":"refused","fault":"refuse","errorCode":"E1"}`)
	told(sold("refused", 201))
	canceled("canceled")
	canceled("again")
	ended("again", "pay", "SUCCESS")
	w.fate(canceled("late"), "pay", "SUCCESS")
	first := canceled("twice") // and paid in both attempts
	ended("twice", "pay", "SUCCESS")
	w.fate(first, "pay", "SUCCESS")
	keyed := `{"orderCode":"keyed","amount":"7"}`
	a, err := w.do(signed(w.request("POST", "/qlink/bills", keyed, "Idempotency-Key", "key-1"), keyed))
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, 201)
	w.webhook(appSecret, `{"tradeUuid":"00000000-0000-4000-8000-00000000abcd","billCode":"SBX","orderCode":"elsewhere","status":"SUCCESS",`+
		`"amount":"1","currency":"IDR","payTime":"2026-11-22 10:00:00"}`).want(t, 404)
	w.shop.lay(`{"orderCode":"to-choose","amount":"15000"}`)
	w.must("POST", "/choice/checkout", "").want(t, 201)

	bell.setShut(true)
	w.control("POST", "/faults", `{"operation":"cancel","orderCode":"withdrawn","fault":"drop_request","times":-1}`)
	withdrawn := sold("withdrawn", 201)
	w.must("POST", "/qlink/bills/"+withdrawn.ID+"/cancel", "").want(t, 202)
	untold := sold("untold", 201)
	w.must("POST", "/qlink/bills/"+untold.ID+"/cancel", "").want(t, 200)
	tried(untold)
	w.fate(untold, "pay", "SUCCESS") // and what was not told before is superseded
	w.control("POST", "/faults", `{"operation":"apply","orderCode":"unknown","fault":"drop_request","times":-1}`)
	sold("unknown", 202)
}

// keepStore writes a kept store.
func keepStore(t *testing.T, kind keptKind, name string) {
	w, bell := keptWorld(t, kind)
	if *storeCaddy != "" {
		w.binary, w.behind = *storeCaddy, true // which need not answer as today's description says
	}
	w.start()
	live(w, bell)
	said := make(map[string]any)
	for _, code := range keptOrders {
		said[code] = w.orderAnswer(code)
	}
	w.caddy.stop(syscall.SIGTERM)
	text, err := json.MarshalIndent(said, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join(kind.dir, name+".orders.json"), append(text, '\n'), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	kind.keep(w, filepath.Join(kind.dir, name+kind.extension))
}

// pack writes a folder of files into an archive.
func pack(t *testing.T, dir, archive string) {
	t.Helper()
	path, err := filepath.Abs(archive)
	if err != nil {
		t.Fatal(err)
	}
	must(t, dir, "bash", "-c", `tar --create --gzip --file="$1" -- *`, "bash", path)
}

// unpack makes the folder again.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, ".", "tar", "--extract", "--file="+archive, "--directory="+dir)
}

// A version goes on with the store that any earlier one has left: what had ended
// stays as it was, what waits is paid, what was not told is told, and what the
// gateway was not known to have is handed over once more.
func TestTheStoreOfEveryVersionIsGoneOnWith(t *testing.T) {
	for which, kind := range keptKinds {
		if *writeStore != "" {
			t.Run("write/"+which, func(t *testing.T) { keepStore(t, kind, *writeStore) })
		}
		files, err := filepath.Glob(filepath.Join(kind.dir, "*"+kind.extension))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(file, kind.extension)
			t.Run(which+"/"+filepath.Base(name), func(t *testing.T) { goOn(t, kind, file, name+".orders.json") })
		}
	}
}

func goOn(t *testing.T, kind keptKind, file, orders string) {
	text, err := os.ReadFile(orders)
	if err != nil {
		t.Fatal(err)
	}
	said := decode[map[string]map[string]any](t, text)
	w, bell := keptWorld(t, kind)
	kind.put(w, file)
	w.start()
	wantSaid(t, w, said, "unknown", "withdrawn") // which the workers see to at once

	waiting := billsOf(said["waiting"])[0]
	w.webhook(appSecret, `{"tradeUuid":"`+waiting.ID+`","billCode":"`+waiting.BillCode+`","orderCode":"waiting","status":"SUCCESS",`+
		`"amount":"15000.50","currency":"IDR","payTime":"2026-11-22 10:00:00"}`).want(t, 200)
	for _, code := range []string{"waiting", "untold"} {
		id := billsOf(said[code])[0].ID
		w.await("the notification about "+code, func() bool { _, taken := bell.rings(id); return len(taken) == 1 && taken[0].paid })
	}
	w.awaitStatus(billsOf(said["unknown"])[0].ID, "WAIT")
	if n := len(billsOf(said["again"])); n != 2 {
		t.Errorf("the order that was tried again has %d bills", n)
	}
	paid := w.checkout(order("again", "15000"), 200)
	if paid.Status != "SUCCESS" {
		t.Errorf("a paid order is %s", paid.Status)
	}
	w.caddy.stop(syscall.SIGTERM)
	kind.look(w)

	w.start()
	if b := w.bill(waiting.ID); b.Status != "SUCCESS" {
		t.Errorf("started again: %+v", b)
	}
	wantSaid(t, w, said, "unknown", "withdrawn", "waiting")
}

// wantSaid fails the test unless each field of each order says what it said, but
// for the orders named.
func wantSaid(t *testing.T, w *world, said map[string]map[string]any, but ...string) {
	t.Helper()
	for _, code := range keptOrders {
		if slices.Contains(but, code) {
			continue
		}
		got := w.orderAnswer(code)
		if diff := cmp.Diff(any(said[code]), known(said[code], got)); diff != "" {
			t.Errorf("%s (-as it was +now):\n%s", code, diff)
		}
	}
}

// known is what is now, without fields that nobody had before.
func known(before, now any) any {
	switch before := before.(type) {
	case map[string]any:
		was, ok := now.(map[string]any)
		if !ok {
			return now
		}
		kept := make(map[string]any)
		for name, value := range was {
			if old, had := before[name]; had {
				kept[name] = known(old, value)
			}
		}
		return kept
	case []any:
		is, ok := now.([]any)
		if !ok || len(is) != len(before) {
			return now
		}
		kept := make([]any, len(is))
		for i := range is {
			kept[i] = known(before[i], is[i])
		}
		return kept
	}
	return now
}

func billsOf(order map[string]any) (bills []billJSON) {
	text, err := json.Marshal(order["bills"])
	if err == nil {
		err = json.Unmarshal(text, &bills)
	}
	if err != nil {
		panic(err)
	}
	return bills
}
