package qlink

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

func TestARequestIsTheDocuments(t *testing.T) {
	for operation, call := range operations {
		g := newGateway(t, says(200, `{"success":true,"result":[]}`))
		client := g.client(t, func(c *Config) {
			c.Endpoint += "/?tunnel=1"
			c.Header = http.Header{"X-Tunnel": {"a", "b"}, "Host": {"gateway.example"}}
		})
		_ = call(t, client)
		r := <-g.requests
		if r.Method != http.MethodPost || r.URL.RequestURI() != "/pay/"+operation+"?tunnel=1" || r.Host != "gateway.example" {
			t.Errorf("%s: %s %s at %s", operation, r.Method, r.URL, r.Host)
		}
		if got := r.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: content type %q", operation, got)
		}
		if got := r.Header.Values("X-Tunnel"); len(got) != 2 {
			t.Errorf("%s: configured header %q", operation, got)
		}
		if _, ok := r.Header[http.CanonicalHeaderKey(HeaderServiceProvider)]; ok {
			t.Errorf("%s: the standard edition sends a service provider", operation)
		}
		if err := Verify(ContentString, r.Header.Get(HeaderAppKey), []string{"s3cr3t"}, r.body, r.Header.Get(HeaderSign)); err != nil {
			t.Errorf("%s: %v", operation, err)
		}
	}
}

func TestTheSignatureFollowsTheContentMode(t *testing.T) {
	for mode, verifies := range map[ContentMode]ContentMode{"": ContentString, ContentAuto: ContentString, ContentObject: ContentObject} {
		g := newGateway(t, says(200, `{"status":"WAIT"}`))
		_ = operations[OperationCancel](t, g.client(t, func(c *Config) { c.Content = mode }))
		r := <-g.requests
		if err := Verify(verifies, "app-1001", []string{"s3cr3t"}, r.body, r.Header.Get(HeaderSign)); err != nil {
			t.Errorf("mode %q: %v", mode, err)
		}
	}
}

// envelopes are all forms of answer in which a payload of one object may come.
var envelopes = map[string]func(payload string) string{
	"bare object":                func(p string) string { return p },
	"bare array":                 func(p string) string { return "[" + p + "]" },
	"beside success":             func(p string) string { return `{"success":true,` + p[1:] },
	"beside success as text":     func(p string) string { return `{"success":"TRUE","data":null,` + p[1:] },
	"result object":              func(p string) string { return `{"success":true,"errorCode":null,"result":` + p + `}` },
	"result array":               func(p string) string { return `{"success":true,"result":[` + p + `]}` },
	"data object":                func(p string) string { return `{"success":"true","code":200,"data":` + p + `}` },
	"data array":                 func(p string) string { return `{"data":[null,` + p + `,{}]}` },
	"content object":             func(p string) string { return `{"success":true,"status":"OK","content":` + p + `}` },
	"content as JSON text":       func(p string) string { return `{"success":true,"content":` + quoted(p) + `}` },
	"result array as JSON text":  func(p string) string { return `{"success":true,"result":` + quoted(" ["+p+"]") + `}` },
	"data after a scalar result": func(p string) string { return `{"success":true,"result":"OK","data":` + p + `}` },
	"envelope in an envelope":    func(p string) string { return `{"success":true,"data":{"success":true,"result":` + p + `}}` },
}

func quoted(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestEveryEnvelopeOfEveryOperationIsRead(t *testing.T) {
	for name, wrap := range envelopes {
		t.Run(name, func(t *testing.T) {
			// Beside a blank payload an object counts only with a payment's key, which
			// the rows of an account lack.
			if name != "beside success as text" {
				methods, err := clientOf(t, 200, wrap(`{"code":"QRIS","name":"支付渠道","type":"PAY_CHANNEL"}`)).QueryPayAccount(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				assertEqual(t, methods, []PayMethod{{Type: PayChannel, Code: "QRIS", Name: "支付渠道"}})
			}

			applied, err := clientOf(t, 200, wrap(`{"billCode":"账单号","paymentRequestId":7,"actionValue":"000201","errorCode":null,"tradeUuid":"uuid1","orderCode":"O1","currency":"IDR"}`)).Apply(t.Context(), validApply())
			if err != nil {
				t.Fatal(err)
			}
			assertEqual(t, applied, ApplyAnswer{BillCode: "账单号", PaymentRequestID: "7", ActionValue: "000201", TradeUUID: "uuid1", OrderCode: "O1", Currency: "IDR"})

			statuses, err := clientOf(t, 200, wrap(`{"tradeUuid":"uuid1","billCode":"b","paymentRequestId":"p","orderCode":"O1","status":"SUCCESS","payTime":"2025-08-04 13:45:21","currency":"IDR","errorCode":"E"}`)).GetPayStatus(t.Context(), []string{"uuid1"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			assertEqual(t, statuses, StatusAnswer{Rows: []PayStatus{{
				TradeUUID: "uuid1", BillCode: "b", PaymentRequestID: "p", OrderCode: "O1",
				Status: Status{StatusSuccess, "SUCCESS"}, PayTime: uuid1Paid, Currency: "IDR", ErrorCode: "E",
			}}})

			canceled, err := clientOf(t, 200, wrap(`{"tradeUuid":"uuid1","status":"SUCCESS","cancelTime":"2025-08-04 13:45:21","errorCode":5}`)).Cancel(t.Context(), "uuid1", "")
			if err != nil {
				t.Fatal(err)
			}
			assertEqual(t, canceled, CancelAnswer{Status: CancelStatus{CancelDone, "SUCCESS"}, CancelTime: uuid1Paid, ErrorCode: "5"})
		})
	}
}

func TestTheGlobalEditionIsSpoken(t *testing.T) {
	for list, want := range map[string][]string{
		`["IDR","PHP"]`: {"IDR", "PHP"}, `"[\"IDR\",\"PHP\"]"`: {"IDR", "PHP"}, `"IDR, PHP"`: {"IDR", "PHP"},
		`null`: nil, `""`: nil, `[1]`: nil, `true`: nil,
	} {
		g := newGateway(t, says(200, `{"success":true,"errorCode":"","result":[{"serviceProvider":"xendit","type":"PAY","channelCode":"QRIS","desc":"QR","country":"ID","currencyList":`+list+`},{"type":"PAY"}]}`))
		client := g.client(t, func(c *Config) { c.Edition, c.ServiceProvider = EditionGlobal, "xendit" })
		methods, err := client.QueryPayAccount(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		assertEqual(t, methods, []PayMethod{{Type: GlobalPay, Code: "QRIS", Name: "QR", ServiceProvider: "xendit", Country: "ID", Currencies: want}})
		if got := (<-g.requests).Header.Get(HeaderServiceProvider); got != "xendit" {
			t.Errorf("service provider %q", got)
		}
	}
}

func TestAStatusAnswerIsEmptyOnlyWhereThatIsCertain(t *testing.T) {
	for body, empty := range map[string]bool{
		`null`: true, `[]`: true, `{}`: true, `[ ]`: true, `[{}]`: true, `[null]`: true,
		`{"success":true}`:                                               true,
		`{"success":true,"message":"OK","code":200}`:                     true,
		`{"success":true,"result":null}`:                                 true,
		`{"success":true,"data":[]}`:                                     true,
		`{"success":true,"data":{}}`:                                     true,
		`{"success":true,"content":""}`:                                  true,
		`{"success":true,"content":"[]"}`:                                true,
		`{"success":true,"content":"null"}`:                              true,
		`{"success":true,"result":[{"tradeUuid":null,"status":""}]}`:     true,
		`{"result":null,"message":"","errorCode":null}`:                  true,
		`{"success":true,"data":{"success":true,"result":[]}}`:           true,
		`{"success":true,"payload":[{"tradeUuid":"u"}]}`:                 false,
		`{"success":true,"payload":"[{\"tradeUuid\":\"u\"}]"}`:           false,
		`{"success":true,"result":[],"list":[{"tradeUuid":"u"}]}`:        false,
		`{"message":"busy"}`:                                             false,
		`{"code":500,"data":null}`:                                       false,
		`{"errorCode":"SYSTEM","result":null}`:                           false,
		`{"status":500,"error":"Internal","data":null}`:                  false,
		`{"success":true,"data":{"success":true,"result":{"a":[1,{}]}}}`: false,
	} {
		a, err := clientOf(t, 200, body).GetPayStatus(t.Context(), nil, []string{"b"})
		if empty && (err != nil || !a.Empty || len(a.Rows) != 0) {
			t.Errorf("%s: %+v, %v, want empty", body, a, err)
		}
		if !empty && a.Empty {
			t.Errorf("%s is taken for empty", body)
		}
	}
	for _, body := range []string{`{"tradeUuid":"u","status":"WAIT"}`, `{"success":true,"result":[{"status":"SUCCESS"}]}`} {
		if a, err := clientOf(t, 200, body).GetPayStatus(t.Context(), []string{"u"}, nil); err != nil || a.Empty || len(a.Rows) != 1 {
			t.Errorf("%s: %+v, %v", body, a, err)
		}
	}
}

func TestAnAmountThatTheGatewayRepeatsIsReadAndNoneStandsInTheWay(t *testing.T) {
	for field, want := range map[string]string{
		``: "", `,"amount":"15000.00"`: "15000.00", `,"amount":15000.50`: "15000.50", `,"amount":null`: "", `,"amount":{"value":1}`: "",
	} {
		a, err := clientOf(t, 200, `{"tradeUuid":"u","status":"SUCCESS"`+field+`}`).GetPayStatus(t.Context(), []string{"u"}, nil)
		if err != nil || len(a.Rows) != 1 || a.Rows[0].Amount != want || a.Rows[0].Status.Code != StatusSuccess {
			t.Errorf("%s: %+v, %v", field, a, err)
		}
	}
}

func TestAnAccountWithoutMethodsIsNoError(t *testing.T) {
	if methods, err := clientOf(t, 200, `[]`).QueryPayAccount(t.Context()); err != nil || len(methods) != 0 {
		t.Errorf("%v, %v", methods, err)
	}
}

func TestNoBillGetsTheStatusOfAnother(t *testing.T) {
	row := func(tradeUUID, billCode, request string) PayStatus {
		return PayStatus{TradeUUID: tradeUUID, BillCode: billCode, PaymentRequestID: request}
	}
	a := StatusAnswer{Rows: []PayStatus{row("", "", "0"), row("u1", "b1", "1"), row("u1", "b2", "2"), row("", "b3", "3"), row("u4", "b4", "4")}}
	for _, c := range []struct{ tradeUUID, billCode, want string }{
		{"u1", "", "1"}, {"u1", "b1", "1"}, {"u1", "b2", "2"}, {"u1", "b9", "1"},
		{"u3", "b3", "3"}, {"", "b3", "3"}, {"", "b4", "4"},
		{"u9", "b4", ""}, {"u9", "b9", ""}, {"", "", ""}, {"U1", "", ""},
	} {
		got, ok := a.Find(c.tradeUUID, c.billCode)
		if ok != (c.want != "") || got.PaymentRequestID != c.want {
			t.Errorf("%q and %q find %+v, want row %q", c.tradeUUID, c.billCode, got, c.want)
		}
	}
}

func TestABadRequestIsNeverSent(t *testing.T) {
	g := newGateway(t, says(200, `{}`))
	client := g.client(t, nil)
	apply := func(change func(*ApplyRequest)) error {
		request := validApply()
		change(&request)
		_, err := client.Apply(t.Context(), request)
		return err
	}
	_, noKeys := client.GetPayStatus(t.Context(), []string{""}, nil)
	_, badKey := client.GetPayStatus(t.Context(), []string{"\xff"}, nil)
	_, noCancelKey := client.Cancel(t.Context(), "", "")
	for field, err := range map[string]error{
		"neither a tradeUuid": noKeys, "tradeUuid is not UTF-8": badKey, "nor a billCode": noCancelKey,
		"amount is missing":            apply(func(r *ApplyRequest) { r.Amount = "" }),
		"tradeTime is missing":         apply(func(r *ApplyRequest) { r.TradeTime = time.Time{} }),
		"description is not UTF-8":     apply(func(r *ApplyRequest) { r.Description = "\xff" }),
		"items[0]: skuName is missing": apply(func(r *ApplyRequest) { r.Items = []Item{{SKUCode: "a", Quantity: "1"}} }),
		"quantity is not a number":     apply(func(r *ApplyRequest) { r.Items = []Item{{SKUCode: "a", SKUName: "b", Quantity: `1,"amount":"0"`}} }),
		"items[1]: quantity is not": apply(func(r *ApplyRequest) {
			r.Items = []Item{{"a", "b", "1", "", "", "", "", "", ""}, {SKUCode: "a", SKUName: "b"}}
		}),
		"items[0]: metadata is not UTF": apply(func(r *ApplyRequest) { r.Items = []Item{{SKUCode: "a", SKUName: "b", Quantity: "1", Metadata: "\xff"}} }),
	} {
		if e := wantKind(t, field, err, KindInvalid); !strings.Contains(e.Error(), field) || e.Kind.Effect() != EffectNone {
			t.Errorf("%v does not say %q", e, field)
		}
	}
	if len(g.requests) != 0 {
		t.Error("something was sent")
	}
}

func TestABadConfigurationIsNamed(t *testing.T) {
	for field, change := range map[string]func(*Config){
		"endpoint is missing":      func(c *Config) { c.Endpoint = "" },
		"endpoint is not a URL":    func(c *Config) { c.Endpoint = "http://c4nary:c4nary@[::1" },
		"neither http nor https":   func(c *Config) { c.Endpoint = "ftp://c4nary@host" },
		"endpoint has no host":     func(c *Config) { c.Endpoint = "http:///c4nary" },
		"app key is missing":       func(c *Config) { c.AppKey = "" },
		"app key holds":            func(c *Config) { c.AppKey = "c4nary\n" },
		"app secret is missing":    func(c *Config) { c.AppSecret = "" },
		"app secret is not UTF-8":  func(c *Config) { c.AppSecret = "c4nary\xff" },
		"pay account is missing":   func(c *Config) { c.PayAccount = "" },
		`edition "x" is none of`:   func(c *Config) { c.Edition = "x" },
		`signature content "x"`:    func(c *Config) { c.Content = "x" },
		`body escape "x"`:          func(c *Config) { c.Escape = "x" },
		`account field "x"`:        func(c *Config) { c.AccountField = "x" },
		"needs a service provider": func(c *Config) { c.Edition = EditionGlobal },
		"for edition global only":  func(c *Config) { c.ServiceProvider = "xendit" },
		"timeout is negative":      func(c *Config) { c.Timeout = -1 },
		`"amount" is one the doc`:  func(c *Config) { c.ApplyParams = []Param{{"amount", "1"}} },
		`"status" is one the doc`:  func(c *Config) { c.ApplyParams = []Param{{"status", "SUCCESS"}} }, // story 26
		`"a" stands twice`:         func(c *Config) { c.ApplyParams = []Param{{"a", "1"}, {"a", "2"}} },
		"parameter has no name":    func(c *Config) { c.ApplyParams = []Param{{"", "1"}} },
		"parameter a is not UTF-8": func(c *Config) { c.ApplyParams = []Param{{"a", "\xff"}} },
		`header "SIGN" is the cli`: func(c *Config) { c.Header = http.Header{"SIGN": {"c4nary"}} },
		`header "content-type"`:    func(c *Config) { c.Header = http.Header{"content-type": {"c4nary"}} },
		`header name "a b"`:        func(c *Config) { c.Header = http.Header{"a b": {"c4nary"}} },
		`header "X" holds a char`:  func(c *Config) { c.Header = http.Header{"X": {"c4nary\r\ny: z"}} },
		`header "serviceprovider" i`: func(c *Config) {
			c.Edition, c.ServiceProvider, c.Header = EditionGlobal, "x", http.Header{"serviceprovider": {"y"}}
		},
	} {
		config := Config{Endpoint: EndpointTest, AppKey: "k", AppSecret: "c4nary", PayAccount: "p"}
		change(&config)
		_, err := NewClient(config)
		if e := wantKind(t, field, err, KindInvalid); !strings.Contains(e.Error(), field) || strings.Contains(e.Error(), "c4nary") {
			t.Errorf("%v does not say %q, or too much", e, field)
		}
	}
}

// story 25
func TestPrintingTellsNoSecret(t *testing.T) {
	config := Config{Endpoint: "http://user:c4nary@host/?token=c4nary", AppKey: "k", AppSecret: "c4nary", PayAccount: "p", Header: http.Header{"Authorization": {"c4nary"}}}
	client, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, value := range []any{config, &config, client} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "c4nary") {
				t.Errorf("%s: %s", verb, text)
			}
		}
	}
}
