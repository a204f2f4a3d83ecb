package caddyqlink

import (
	"net/http"
	"net/http/cookiejar"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
)

// sold puts an order into a store: one bill, with metadata.
func sold(t *testing.T, s bill.Store, id, orderCode string, status bill.Status, metadata string) {
	t.Helper()
	ledger, err := bill.NewLedger("http://127.0.0.1:9/pay", "key")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	b := bill.Bill{
		ID: id, Ledger: ledger, Account: defaultName, Shop: defaultName, OrderCode: orderCode, Attempt: 1,
		Status: status, Amount: "15000", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS", BillCode: "B1",
		CreatedAt: at, UpdatedAt: at, PayTime: at, Version: 1, Revision: 1,
	}
	record, _ := bill.OrderRecord{Key: b.OrderKey()}.With(b)
	record.Revision = 1
	if err := s.Commit(t.Context(), bill.Change{Order: &record, Bills: []bill.BillChange{{Bill: b, Details: &bill.Details{Metadata: metadata}}}}); err != nil {
		t.Fatal(err)
	}
}

const (
	dearID  = "3f2b8c1e-9d47-4a60-8b1f-0c5d7e9a1b2c"
	cheapID = "0aa0b3c4-1111-4222-8333-444455556666"
	openID  = "0bb0b3c4-1111-4222-8333-444455556666"
)

// gatedSite runs a site over three orders, DEAR and CHEAP, which are paid, and
// OPEN, and returns its URL and its store.
func gatedSite(t *testing.T, directives string) (base string, p *probe) {
	t.Helper()
	p = newProbe(t)
	sold(t, p.Store, dearID, "DEAR", bill.Success, `{"opens":"/dear.pdf","lang":"id"}`)
	sold(t, p.Store, cheapID, "CHEAP", bill.Success, `{"opens":"/cheap.pdf"}`)
	sold(t, p.Store, openID, "OPEN", bill.Wait, `{"opens":"/dear.pdf"}`)
	return run(t, caddyfileOf("store probe "+probeName(t)+"\n\t\t"+account, directives)), p
}

func TestAMatcherIsMetByAPaidOrderAndNoOther(t *testing.T) {
	base, _ := gatedSite(t, `@thanks qlink_bill {
		order_code {query.order}
		bill {query.bill}
	}
	@owing not qlink_bill {
		order_code {query.order}
		bill {query.bill}
	}
	respond @thanks "paid"
	respond @owing "not paid"`)
	for query, want := range map[string]string{
		"order=DEAR&bill=" + dearID:             "paid",
		"order=CHEAP&bill=" + cheapID:           "paid",
		"order=DEAR&bill=" + cheapID:            "not paid",
		"order=OPEN&bill=" + openID:             "not paid",
		"order=DEAR&bill=" + openID:             "not paid",
		"order=DEAR&bill=":                      "not paid",
		"order=&bill=" + dearID:                 "not paid",
		"bill=" + dearID:                        "not paid",
		"order=DEAR":                            "not paid",
		"":                                      "not paid",
		"order=dear&bill=" + dearID:             "not paid",
		"order=OPEN&order=DEAR&bill=" + dearID:  "not paid",
		"order=DEAR%00&bill=" + dearID:          "not paid",
		"order={query.x}&x=DEAR&bill=" + dearID: "not paid",
	} {
		if got := ask(t, "GET", base+"/thanks?"+query); got.body != want {
			t.Errorf("%s answers %+v, want %s", query, got, want)
		}
	}
}

func TestTheCookieOpensWhatTheBrowserHasBeenShownAsPaid(t *testing.T) {
	base, _ := gatedSite(t, `qlink
	@bought qlink_bill {
		cookie
		metadata opens {path}
	}
	handle @bought {
		respond "here it is"
	}
	handle {
		respond "pay first" 402
	}`)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	visit := func(path string) int {
		t.Helper()
		response, err := browser.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	want := func(path string, status int) {
		t.Helper()
		if got := visit(path); got != status {
			t.Errorf("%s: %d, want %d", path, got, status)
		}
	}
	want("/dear.pdf", 402)
	want("/qlink/pay/"+openID, 200)
	want("/dear.pdf", 402)
	want("/qlink/pay/"+cheapID, 200)
	want("/cheap.pdf", 200)
	want("/dear.pdf", 402)
	want("/dear.pdf?opens=/cheap.pdf", 402)
	want("/x/../cheap.pdf", 402)
	want("/qlink/bills/"+dearID, 200)
	want("/dear.pdf", 200)
	want("/cheap.pdf", 200)
}

func TestNoCookieIsGivenWhereNoMatcherAsksForIt(t *testing.T) {
	for directives, want := range map[string]bool{
		"qlink": false,
		"qlink\n\t@a qlink_bill {\n\t\torder_code O\n\t}\n\trespond @a x":                             false,
		"qlink\n\t@a qlink_bill {\n\t\torder_code O\n\t\tcookie\n\t\tshop other\n\t}\n\trespond @a x": false,
		"qlink\n\t@a qlink_bill {\n\t\torder_code O\n\t\tcookie\n\t}\n\trespond @a x":                 true,
	} {
		t.Run("", func(t *testing.T) {
			base, _ := gatedSite(t, directives)
			response, err := http.Get(base + "/qlink/bills/" + dearID)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if got := strings.Contains(response.Header.Get("Set-Cookie"), handlers.PaidCookie+"="); got != want {
				t.Errorf("%s: %q", directives, response.Header.Values("Set-Cookie"))
			}
		})
	}
}

// Neither paid nor unpaid: what nobody knows must open nothing, in a not
// neither.
func TestAStoreThatCannotBeAskedOpensNothingWhicheverWayTheQuestionIsPut(t *testing.T) {
	for name, matcher := range map[string]string{"plainly": "qlink_bill", "in a not": "not qlink_bill"} {
		t.Run(name, func(t *testing.T) {
			newProbe(t).breakDown(bill.ErrUnavailable)
			base := run(t, caddyfileOf("store probe "+probeName(t)+"\n\t\t"+account, "@m "+matcher+" {\n\t\torder_code DEAR\n\t}\n\trespond @m matched\n\trespond \"not matched\""))
			if got := ask(t, "GET", base+"/"); got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "matched") {
				t.Errorf("it answers %+v", got)
			}
		})
	}
}

func TestPlaceholdersAreThoseOfTheBillThatMatched(t *testing.T) {
	base, _ := gatedSite(t, `@bill qlink_bill {
		order_code {query.order}
		status paid WAIT
	}
	@again qlink_bill {
		order_code {query.again}
	}
	route {
		respond @again "{http.qlink.bill.order_code} {http.qlink.metadata.opens}"
		respond @bill "{http.qlink.bill.id} {http.qlink.bill.account}/{http.qlink.bill.shop} {http.qlink.bill.livemode} {http.qlink.bill.order_code} {http.qlink.bill.attempt} {http.qlink.bill.status} {http.qlink.bill.paid} {http.qlink.bill.amount} {http.qlink.bill.currency} {http.qlink.bill.pay_type} {http.qlink.bill.pay_channel} {http.qlink.bill.bill_code} {http.qlink.bill.pay_time} {http.qlink.metadata.lang} [{http.qlink.metadata.none}{http.qlink.bill.none}] {http.vars.qlink.bill}"
		respond "[{http.qlink.bill.id}]"
	}`)
	for query, want := range map[string]string{
		"order=DEAR":  dearID + " default/default false DEAR 1 SUCCESS true 15000 IDR ONLINE QRIS B1 2026-11-22T12:00:00Z id [{http.qlink.bill.none}] " + dearID,
		"order=OPEN":  openID + " default/default false OPEN 1 WAIT false 15000 IDR ONLINE QRIS B1 2026-11-22T12:00:00Z  [{http.qlink.bill.none}] " + openID,
		"again=CHEAP": "CHEAP /cheap.pdf",
		"order=NONE":  "[{http.qlink.bill.id}]",
	} {
		if got := ask(t, "GET", base+"/?"+query); got.body != want {
			t.Errorf("%s answers\n%q, want\n%q", query, got.body, want)
		}
	}
}

func TestALaterMatchTakesOverThePlaceholders(t *testing.T) {
	base, _ := gatedSite(t, `@first qlink_bill {
		order_code DEAR
	}
	@second qlink_bill {
		order_code CHEAP
	}
	route {
		header @first First "{http.qlink.bill.order_code}"
		respond @second "{http.qlink.bill.order_code} {http.qlink.metadata.opens} [{http.qlink.metadata.lang}]"
	}`)
	if got := ask(t, "GET", base+"/"); got.body != "CHEAP /cheap.pdf []" {
		t.Errorf("it answers %+v", got)
	}
}

func TestAMatcherThatCannotBeLoadedSaysWhy(t *testing.T) {
	t.Setenv("QLINK_TEST_EMPTY", "")
	const at = `{"handle":[`
	for matcher, want := range map[string]string{
		`{}`:                                   "order_code or metadata is missing",
		`{"cookie":true}`:                      "order_code or metadata is missing",
		`{"metadata":{"a":"b"}}`:               "metadata alone names no order",
		`{"metadata":{"a":""},"cookie":true}`:  "metadata wants a key and a value",
		`{"order_code":"O","account":"other"}`: `account: the app qlink has no account "other"`,
		`{"order_code":"O","shop":"{env.QLINK_TEST_EMPTY}"}`: "shop: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty",
		`{"order_code":"O","status":["PAID"]}`:               `status: "PAID" is neither paid nor one of`,
		`{"order":"O"}`:                                      `unknown field "order"`,
	} {
		spoiled := strings.Replace(sound, at, `{"match":[{"qlink_bill":`+matcher+`}],"handle":[`, 1)
		if err := validate(t, []byte(spoiled)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %q in it", matcher, err, want)
		}
	}
	err := validate(t, mustAdapt(t, "http://:0 {\n\t@a qlink_bill {\n\t\torder_code O\n\t}\n\trespond @a x\n}"))
	if err == nil || !strings.Contains(err.Error(), "put a qlink block with an account into the global options") {
		t.Errorf("without the app: %v", err)
	}
}

func TestWhoLetsAStrangerNameTheOrderIsWarned(t *testing.T) {
	for name, test := range map[string]struct {
		matcher MatchBill
		warned  bool
	}{
		"looked up":            {MatchBill{OrderCode: "{http.request.uri.query.order}"}, true},
		"out of the path":      {MatchBill{OrderCode: "{http.regexp.o.1}"}, true},
		"written out":          {MatchBill{OrderCode: "O-1"}, false},
		"of who has signed in": {MatchBill{OrderCode: "{http.auth.user.order}"}, false},
		"with the cookie":      {MatchBill{OrderCode: "{http.request.uri.query.order}", Cookie: true}, false},
		"with a bill":          {MatchBill{OrderCode: "{http.request.uri.query.order}", Bill: "{http.request.uri.query.bill}"}, false},
	} {
		core, logs := observer.New(zapcore.WarnLevel)
		test.matcher.logger = zap.New(core)
		test.matcher.warnUnproven()
		if got := logs.Len() > 0; got != test.warned {
			t.Errorf("%s: warned %v", name, got)
		}
	}
}

func TestTheMatcherOfTheFixtureLoads(t *testing.T) {
	t.Setenv("SHOP", "one")
	content, err := os.ReadFile("testdata/caddyfile_adapt/matcher.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(content), betweenParts)
	if err := validate(t, []byte(config)); err != nil {
		t.Error(err)
	}
}

func FuzzMatcherGrammar(f *testing.F) {
	f.Add("order_code {query.order}\ncookie")
	f.Add("metadata a b\nmetadata c {path}\nbill {query.bill}\nstatus paid WAIT\naccount a\nshop b")
	f.Add("cookie {\nx\n}")
	f.Fuzz(func(t *testing.T, body string) {
		var m MatchBill
		if m.UnmarshalCaddyfile(caddyfile.NewTestDispenser("qlink_bill {\n"+body+"\n}")) != nil {
			return
		}
		if m.OrderCode == "" && len(m.Metadata) == 0 {
			t.Errorf("it was taken without an order: %+v", m)
		}
	})
}
