package bill_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var defaults = bill.Defaults{PayType: "ONLINE", PayChannel: "QRIS", Country: "ID", Currency: "IDR"}

const fullOrder = `{"orderCode":"O20250804001","amount":"15000","currency":"IDR","country":"ID",
 "payTypeCode":"ONLINE","payChannelCode":"QRIS","description":"描述","metadata":{"my_custom_id": "m-123"},
 "items":[{"skuCode":"SKU01","skuName":"商品01","quantity":1,"url":"https://shop.example/p","imageUrl":"https://shop.example/i",
           "category":"c","subcategory":"s","description":"d","metadata":{}}],
 "returnUrl":"https://shop.example/thanks","expiresIn":"30m","unknown":true}`

func TestAnOrderWithEveryFieldIsRead(t *testing.T) {
	got, err := bill.ParseOrder([]byte(fullOrder), bill.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	want := bill.Order{
		OrderCode: "O20250804001", Amount: "15000", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS",
		ChannelSet: true, ExpiresIn: 30 * time.Minute,
		Details: bill.Details{
			Description: "描述", Metadata: `{"my_custom_id":"m-123"}`, ReturnURL: "https://shop.example/thanks",
			Items: []bill.Item{{
				SKUCode: "SKU01", SKUName: "商品01", Quantity: "1", URL: "https://shop.example/p", ImageURL: "https://shop.example/i",
				Category: "c", Subcategory: "s", Description: "d", Metadata: "{}",
			}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAShortOrderTakesTheAccountsDefaults(t *testing.T) {
	got, err := bill.ParseOrder([]byte(`{"orderCode":"O1","amount":1.10}`), defaults)
	if err != nil {
		t.Fatal(err)
	}
	if got.Amount != "1.10" {
		t.Errorf("a bare number became %q: its text was to be kept", got.Amount)
	}
	if got.Currency != "IDR" || got.Country != "ID" || got.PayType != "ONLINE" || got.PayChannel != "QRIS" || got.ChannelSet {
		t.Errorf("%+v", got)
	}
}

func TestAnOrderThatNamesNoChannelIsLeftToTheBuyerWhereTheAccountOffersWays(t *testing.T) {
	listed := defaults
	listed.Choice = true
	named := listed
	named.Offer = []bill.Way{{PayType: "WALLET", PayChannel: "DANA"}, {PayType: "WALLET", PayChannel: "QRIS"}, {PayType: "QR", PayChannel: "QRIS"}}
	typeless := named
	typeless.PayType, typeless.PayChannel = "", ""
	for _, test := range []struct {
		defaults bill.Defaults
		codes    string // of the order
		way      bill.Way
		named    bool
		fault    string // "": none
	}{
		{listed, ``, bill.Way{}, false, ""},
		{listed, `,"payTypeCode":"QR"`, bill.Way{PayType: "QR"}, false, ""},
		{listed, `,"payChannelCode":"VA"`, bill.Way{PayType: "ONLINE", PayChannel: "VA"}, true, ""},
		{named, ``, bill.Way{}, false, ""},
		{named, `,"payTypeCode":"WALLET"`, bill.Way{PayType: "WALLET"}, false, ""},
		{named, `,"payTypeCode":"CASH"`, bill.Way{}, false, "payTypeCode"},
		{named, `,"payTypeCode":"a b"`, bill.Way{}, false, "payTypeCode"},
		{named, `,"payTypeCode":"CASH","payChannelCode":"VA"`, bill.Way{PayType: "CASH", PayChannel: "VA"}, true, ""},
		{named, `,"payChannelCode":"DANA"`, bill.Way{PayType: "ONLINE", PayChannel: "DANA"}, true, ""},
		{typeless, ``, bill.Way{}, false, ""},
		{typeless, `,"payChannelCode":"QRIS"`, bill.Way{PayType: "WALLET", PayChannel: "QRIS"}, true, ""},
		{typeless, `,"payChannelCode":"VA"`, bill.Way{}, true, "payTypeCode"},
	} {
		got, err := bill.ParseOrder([]byte(`{"orderCode":"O1","amount":"1"`+test.codes+`}`), test.defaults)
		if bad, ok := errors.AsType[*bill.OrderError](err); ok || test.fault != "" {
			if !ok || len(bad.Fields) != 1 || bad.Fields[0].Field != test.fault {
				t.Errorf("%+v %s: %v", test.defaults, test.codes, err)
			}
			continue
		}
		if (bill.Way{PayType: got.PayType, PayChannel: got.PayChannel}) != test.way || got.ChannelSet != test.named {
			t.Errorf("%+v %s: %+v", test.defaults, test.codes, got)
		}
		if b, _ := bill.New(bill.Bill{}, got, start); (b.Status == bill.Choose) == test.named || b.Asked.AnyChannel == test.named {
			t.Errorf("%s: %s, %+v", test.codes, b.Status, b.Asked)
		}
	}
}

func TestABadOrderIsToldFieldByField(t *testing.T) {
	for body, want := range map[string][]string{
		``:                                      {""},
		`null`:                                  {""},
		`[]`:                                    {""},
		`"order"`:                               {""},
		`{"orderCode":"O1","amount":"1"`:        {""},
		`{"orderCode":"O1","orderCode":"O2"}`:   {""}, // duplicate names
		"{\"orderCode\":\"\xff\"}":              {""}, // bad UTF-8
		`{"orderCode":1,"amount":"1"}`:          {"orderCode"},
		`{}`:                                    {"orderCode", "amount"},
		`{"orderCode":"O1"}`:                    {"amount"},
		`{"orderCode":"O1","amount":null}`:      {"amount"},
		`{"orderCode":"O1","amount":true}`:      {"amount"},
		`{"orderCode":"O1","amount":"1e3"}`:     {"amount"},
		`{"orderCode":"O1","amount":1e3}`:       {"amount"},
		`{"orderCode":"O1","amount":"0"}`:       {"amount"},
		`{"orderCode":"a\u0000b","amount":"1"}`: {"orderCode"},
		`{"orderCode":" O1","amount":"1"}`:      {"orderCode"},
		`{"orderCode":"` + strings.Repeat("x", 257) + `","amount":"1"}`:                             {"orderCode"},
		`{"orderCode":"O1","amount":"1","currency":"RUPIAH"}`:                                       {"currency"},
		`{"orderCode":"O1","amount":"1","country":"id"}`:                                            {"country"},
		`{"orderCode":"O1","amount":"1","country":"ZZ"}`:                                            {"country"},
		`{"orderCode":"O1","amount":"1","payTypeCode":"a b"}`:                                       {"payTypeCode"},
		`{"orderCode":"O1","amount":"1","payChannelCode":"a\nb"}`:                                   {"payChannelCode"},
		`{"orderCode":"O1","amount":"1","metadata":[1]}`:                                            {"metadata"},
		`{"orderCode":"O1","amount":"1","metadata":"{"}`:                                            {"metadata"},
		`{"orderCode":"O1","amount":"1","returnUrl":"javascript:alert(1)"}`:                         {"returnUrl"},
		`{"orderCode":"O1","amount":"1","returnUrl":"//evil.example"}`:                              {"returnUrl"},
		`{"orderCode":"O1","amount":"1","returnUrl":"https://a:b@c.example/"}`:                      {"returnUrl"},
		`{"orderCode":"O1","amount":"1","returnUrl":"/\\evil.example"}`:                             {"returnUrl"},
		`{"orderCode":"O1","amount":"1","expiresIn":"-5m"}`:                                         {"expiresIn"},
		`{"orderCode":"O1","amount":"1","expiresIn":"99999999d"}`:                                   {"expiresIn"},
		`{"orderCode":"O1","amount":"1","expiresIn":"soon"}`:                                        {"expiresIn"},
		`{"orderCode":"O1","amount":"1","items":{}}`:                                                {"items"},
		`{"orderCode":"O1","amount":"1","items":[1,{"skuCode":7,"skuName":"b","quantity":1}]}`:      {"items[0]", "items[1].skuCode"},
		`{"orderCode":5,"amount":"1","returnUrl":4,"expiresIn":30,"currency":[]}`:                   {"orderCode", "currency", "expiresIn", "returnUrl"},
		`{"orderCode":"O1","amount":"1","items":[{"skuCode":"a","skuName":"b","quantity":1},2]}`:    {"items[1]"},
		`{"orderCode":"O1","amount":"1","items":[{}]}`:                                              {"items[0].skuCode", "items[0].skuName", "items[0].quantity"},
		`{"orderCode":"O1","amount":"1","items":[{"skuCode":"a","skuName":"b","quantity":"many"}]}`: {"items[0].quantity"},
		`{"orderCode":"O1","amount":"1","items":[{"skuCode":"a","skuName":"b","quantity":0}]}`:      {"items[0].quantity"},
		`{"orderCode":"O1","amount":"1","description":"a\u0007b"}`:                                  {"description"},
	} {
		_, err := bill.ParseOrder([]byte(body), defaults)
		var bad *bill.OrderError
		if !errors.As(err, &bad) {
			t.Errorf("%.60s: %v; want an OrderError", body, err)
			continue
		}
		var fields []string
		for _, f := range bad.Fields {
			fields = append(fields, f.Field)
			if f.Message == "" {
				t.Errorf("%.60s: no words for %s", body, f.Field)
			}
		}
		if diff := cmp.Diff(want, fields); diff != "" {
			t.Errorf("%.60s: %v\n%s", body, err, diff)
		}
	}
}

func TestAnOrderWithoutDefaultsNeedsEveryCode(t *testing.T) {
	_, err := bill.ParseOrder([]byte(`{"orderCode":"O1","amount":"1"}`), bill.Defaults{})
	for _, field := range []string{"currency", "country", "payTypeCode", "payChannelCode"} {
		if err == nil || !strings.Contains(err.Error(), field+": is required") {
			t.Errorf("%s is not asked for: %v", field, err)
		}
	}
}

func TestAnOrderOver128KiBIsBad(t *testing.T) {
	body := fmt.Sprintf(`{"orderCode":"O1","amount":"1","x":%q}`, strings.Repeat("x", bill.MaxOrderSize))
	if _, err := bill.ParseOrder([]byte(body), defaults); err == nil {
		t.Error("it was taken")
	}
}

func TestAnOrderMatchesABillByAmountCurrencyAndNamedChannel(t *testing.T) {
	b := inStatus(bill.Wait)
	for name, test := range map[string]struct {
		order bill.Order
		want  bool
	}{
		"the same":                  {bill.Order{Amount: "15000", Currency: "IDR", PayType: "ONLINE", PayChannel: "QRIS", ChannelSet: true}, true},
		"another spelling":          {bill.Order{Amount: "15000.00", Currency: "IDR", PayType: "ONLINE", PayChannel: "QRIS", ChannelSet: true}, true},
		"another amount":            {bill.Order{Amount: "15001", Currency: "IDR", PayType: "ONLINE", PayChannel: "QRIS", ChannelSet: true}, false},
		"another currency":          {bill.Order{Amount: "15000", Currency: "VND", PayType: "ONLINE", PayChannel: "QRIS", ChannelSet: true}, false},
		"another channel, named":    {bill.Order{Amount: "15000", Currency: "IDR", PayType: "ONLINE", PayChannel: "OVO", ChannelSet: true}, false},
		"another channel, defaults": {bill.Order{Amount: "15000", Currency: "IDR", PayType: "ONLINE", PayChannel: "OVO"}, true},
	} {
		if b.Matches(test.order) != test.want {
			t.Errorf("%s: want %v", name, test.want)
		}
	}
}

func TestActionsAreToldApartByTheirForm(t *testing.T) {
	for value, want := range map[string]bill.ActionKind{
		"":                               bill.ActionNone,
		"  ":                             bill.ActionNone,
		"00020101021226570014A00000":     bill.ActionQR,
		"https://pay.example/x?y=1":      bill.ActionURL,
		"http://127.0.0.1:8081/x":        bill.ActionURL,
		"https://user:pass@pay.example/": bill.ActionCode,
		"https:///nohost":                bill.ActionCode,
		"gojek://gopay/merchant":         bill.ActionDeepLink,
		"javascript:alert(1)":            bill.ActionCode,
		"JavaScript:alert(1)":            bill.ActionCode,
		"data:text/html,<script>":        bill.ActionCode,
		"https://pay.example/a b":        bill.ActionCode,
		"8808123456789012":               bill.ActionCode,
		"https://pay.example/\u0000":     bill.ActionCode,
	} {
		if got := bill.NewAction(value); got.Kind != want || got.Value != value {
			t.Errorf("%q: %s, want %s", value, got.Kind, want)
		}
	}
}

func TestSpellingsOfOneEndpointShareALedgerAndKeysDoNot(t *testing.T) {
	ledger := func(endpoint, key string) string {
		t.Helper()
		l, err := bill.NewLedger(endpoint, key)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	same := ledger("http://open-test1.800best.com/open-platform-api/pay", "k")
	if ledger("HTTP://OPEN-TEST1.800best.com:80/open-platform-api/pay/", "k") != same {
		t.Error("another spelling is another ledger")
	}
	for _, other := range []string{
		ledger("http://open-prod.800best.com/open-platform-api/pay", "k"),
		ledger("http://open-test1.800best.com/open-platform-api/pay", "k2"),
	} {
		if other == same {
			t.Error("two ledgers are one")
		}
	}
	for _, bad := range [][2]string{{"", "k"}, {"/path", "k"}, {"http://h", ""}, {"://", "k"}} {
		if _, err := bill.NewLedger(bad[0], bad[1]); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestTheRecordOfAnOrderKnowsItsPaidAndItsOpenAttempt(t *testing.T) {
	var record bill.OrderRecord
	first, second := inStatus(bill.Expired), inStatus(bill.Wait)
	second.ID = "3f1c0a52-0000-4000-8000-000000000002"
	record, _ = record.With(first)
	record, changed := record.With(second)
	if _, again := record.With(second); !changed || again {
		t.Error("a stub already there counts as a change, or a new one does not")
	}
	if open, ok := record.Open(); !ok || open.ID != second.ID {
		t.Errorf("open: %+v", open)
	}
	first.Status = bill.Success
	paid, _ := record.With(first)
	if attempt, ok := paid.Paid(); !ok || attempt.ID != first.ID {
		t.Errorf("paid: %+v", attempt)
	}
	if _, ok := record.Paid(); ok {
		t.Error("With changed the record it was called on")
	}
}

func FuzzParseOrder(f *testing.F) {
	f.Add([]byte(fullOrder))
	f.Add([]byte(`{"orderCode":"O1","amount":1.10}`))
	f.Add([]byte(`{"orderCode":"O1","amount":"1","items":[{"skuCode":"a","skuName":"b","quantity":"1"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		order, err := bill.ParseOrder(body, defaults)
		if err != nil {
			var bad *bill.OrderError
			if !errors.As(err, &bad) || len(bad.Fields) == 0 {
				t.Fatalf("%v is no OrderError", err)
			}
			return
		}
		if _, err := bill.ParseAmount(string(order.Amount), order.Currency); err != nil {
			t.Fatalf("took the amount %q: %v", order.Amount, err)
		}
		if order.OrderCode == "" || order.PayType == "" || !bill.IsCountry(order.Country) {
			t.Fatalf("took an incomplete order: %+v", order)
		}
	})
}
