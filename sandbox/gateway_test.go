package sandbox

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"
)

func TestEachOperationAnswersAsTheDocumentShows(t *testing.T) {
	g := newGateway(t, &Sandbox{TimeZone: "Asia/Jakarta"})

	var rows []accountRow
	g.call(opQuery, `{"payAccount":"account1"}`).into(t, &rows)
	if rows[0].Type != "PAY_TYPE" || rows[0].Code != "ONLINE" || rows[2].Type != "PAY_CHANNEL" || rows[2].Code != "QRIS" {
		t.Errorf("queryPayAccount: %+v", rows)
	}

	made := g.apply("uuid1", "O1")
	if made["billCode"] == "" || made["paymentRequestId"] == "" || !strings.HasPrefix(made["actionValue"].(string), "000201") {
		t.Errorf("apply: %v", made)
	}
	if s := g.status("uuid1"); s["status"] != "WAIT" || s["billCode"] != made["billCode"] || s["orderCode"] != "O1" || s["currency"] != "IDR" {
		t.Errorf("getPayStatus: %v", s)
	}

	g.control(http.MethodPost, "/payments/O1/pay", `{"payTime":"2026-01-02 03:04:05"}`, http.StatusOK)
	if s := g.status("uuid1"); s["status"] != "SUCCESS" || s["payTime"] != "2026-01-02 03:04:05" {
		t.Errorf("getPayStatus of the paid one: %v", s)
	}
	if c := g.call(opCancel, `{"tradeUuid":"uuid1"}`).object(t); c["status"] != "FAIL" || c["errorCode"] != "ALREADY_PAID" {
		t.Errorf("cancel of the paid one: %v", c)
	}

	other := g.apply("uuid2", "O2")
	for range 2 { // cancelling twice is cancelled
		if c := g.call(opCancel, `{"billCode":"`+other["billCode"].(string)+`"}`).object(t); c["status"] != "SUCCESS" || c["cancelTime"] == "" {
			t.Errorf("cancel: %v", c)
		}
	}
	if s := g.status("uuid2"); s["status"] != "CANCELED" {
		t.Errorf("getPayStatus of the cancelled one: %v", s)
	}
}

func TestStatusOfSeveralPaymentsTakesTheAskedForForm(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	g.apply("u1", "O1")
	bill := g.apply("u2", "O2")["billCode"].(string)
	ask := `{"tradeUuidList":["u1","nobody"],"billCodeList":["` + bill + `"]}`

	var rows []statusRow
	g.call(opStatus, ask).into(t, &rows)
	if len(rows) != 2 || rows[0].TradeUUID != "u1" || rows[1].TradeUUID != "u2" {
		t.Errorf("auto: %+v", rows)
	}
	if nothing := g.status("nobody"); len(nothing) != 1 || nothing["success"] != true {
		t.Errorf("unknown: %v", nothing)
	}
	g.control(http.MethodPost, "/settings", `{"statusAnswer":"object"}`, http.StatusOK)
	if one := g.call(opStatus, ask).object(t); one["tradeUuid"] != "u1" {
		t.Errorf("object: %v", one)
	}
	g.control(http.MethodPost, "/settings", `{"statusAnswer":"array"}`, http.StatusOK)
	rows = nil
	g.call(opStatus, `{"tradeUuidList":"u1"}`).into(t, &rows)
	if len(rows) != 1 {
		t.Errorf("array: %+v", rows)
	}
}

func TestAMerchantDoesNotSeeAnothersPayments(t *testing.T) {
	g := newGateway(t, &Sandbox{Apps: []App{{Key: defaultAppKey, Secret: defaultAppSecret}, {Key: "other", Secret: defaultAppSecret}}})
	bill := g.apply("u1", "O1")["billCode"].(string)
	for _, body := range []string{`{"tradeUuid":"u1"}`, `{"billCode":"` + bill + `"}`} {
		// The same secret on purpose: only the appKey keeps the two apart.
		h := credentials(body)
		h.Set("appKey", "other")
		h.Set("sign", signOf(strict[0].text("other", []byte(body))+defaultAppSecret))
		r, err := g.do(http.MethodPost, "/sandbox/pay/cancel", body, h)
		if err != nil || r.object(t)["errorCode"] != "PAYMENT_NOT_FOUND" {
			t.Errorf("%s: %v %v", body, r, err)
		}
	}
}

func TestApplyNamesEveryMistakeAtOnce(t *testing.T) {
	g := newGateway(t, &Sandbox{
		Accounts: []string{"account1"}, Types: []Offer{{Code: "ONLINE"}}, Channels: []Offer{{Code: "QRIS"}},
	})
	answer := g.call(opApply, `{"payAccount":"account9","payTypeCode":"CASH","payChannelCode":"VA","tradeUuid":7,`+
		`"tradeTime":"yesterday","country":"Indonesia","currency":"idr","amount":1.5,"metadata":{},`+
		`"items":[{"skuName":"x","quantity":"many","url":1}]}`).object(t)
	if answer["success"] != false || answer["errorCode"] != "INVALID_PARAMETER" {
		t.Fatal(answer)
	}
	message := answer["message"].(string)
	for _, want := range []string{
		`payAccount "account9" is not known`, `payTypeCode "CASH" is not offered`, `payChannelCode "VA" is not offered`,
		"tradeUuid must be a String", "tradeTime must look like", "orderCode is required", "country must be two",
		"currency must be three", "amount must be a String", "metadata must be a String", "items[0].skuCode is required",
		"items[0].quantity must be a number", "items[0].url must be a String",
	} {
		if !strings.Contains(message, want) {
			t.Errorf("%q is not in %q", want, message)
		}
	}
	if len(g.s.snapshot(t).Payments) != 0 {
		t.Error("a payment was made")
	}
}

// snapshot is the ledger of s.
func (s *Sandbox) snapshot(t *testing.T) Snapshot {
	t.Helper()
	led, release, err := s.held.lease()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	return led.snapshot()
}

func TestAmountsAreDecimalStringsOfTheCurrency(t *testing.T) {
	// story 28
	for _, c := range []struct {
		amount, currency string
		good             bool
	}{
		{"1.1", "IDR", true},
		{"15000", "VND", true},
		{"1.234", "KWD", true},
		{"999999999999999.99", "USD", true},
		{"15000.5", "VND", false},
		{"1.123", "IDR", false},
		{"0.00", "IDR", false},
		{"01", "IDR", false},
		{"-1", "IDR", false},
		{"1e3", "IDR", false},
		{"1,000", "IDR", false},
		{"1.", "IDR", false},
		{"1000000000000000", "IDR", false},
	} {
		if problem := amountProblem(c.amount, c.currency); (problem == "") != c.good {
			t.Errorf("%s %s: %q", c.currency, c.amount, problem)
		}
	}
}

func TestARepeatedTradeUUIDIsRefusedOrAnsweredAsBefore(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	first := g.apply("u1", "O1")
	if again := g.call(opApply, order("u1", "O1")).object(t); again["errorCode"] != "DUPLICATE_TRADE_UUID" {
		t.Errorf("refuse: %v", again)
	}
	g.control(http.MethodPost, "/settings", `{"repeat":"answer"}`, http.StatusOK)
	if again := g.apply("u1", "O1"); again["billCode"] != first["billCode"] || again["actionValue"] != first["actionValue"] {
		t.Errorf("answer: %v, first %v", again, first)
	}
	// story 3
	changed := strings.Replace(order("u1", "O1"), "15000.50", "1.00", 1)
	if again := g.call(opApply, changed).object(t); again["errorCode"] != "DUPLICATE_TRADE_UUID" || !strings.Contains(again["message"].(string), "other content") {
		t.Errorf("other content: %v", again)
	}
}

func TestConcurrentAppliesOfOneTradeUUIDMakeOnePayment(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	var made atomic.Int32
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			if g.call(opApply, order("u1", "O1")).object(t)["success"] == true {
				made.Add(1)
			}
		})
	}
	callers.Wait()
	s := g.s.snapshot(t)
	if made.Load() != 1 || len(s.Payments) != 1 || len(s.Calls) != 32 {
		t.Errorf("%d made, %d payments, %d calls", made.Load(), len(s.Payments), len(s.Calls))
	}
}

func TestEveryEnvelopeHoldsTheSamePayload(t *testing.T) {
	for _, envelope := range envelopes {
		t.Run(envelope, func(t *testing.T) {
			g := newGateway(t, &Sandbox{Envelope: envelope})
			answer := g.call(opApply, order("u1", "O1")).object(t)
			switch envelope {
			case "bare":
				if answer["success"] != nil || answer["billCode"] == nil {
					t.Error(answer)
				}
			case "beside":
				if answer["success"] != true || answer["billCode"] == nil {
					t.Error(answer)
				}
			case "content_text":
				inner, _ := answer["content"].(string)
				if !strings.Contains(inner, `"billCode":"SB`) {
					t.Error(answer)
				}
			default:
				inner, _ := answer[envelope].(map[string]any)
				if answer["success"] != true || inner["billCode"] == nil {
					t.Error(answer)
				}
			}
			if no := g.call(opApply, `{}`).object(t); no["success"] != false || no["message"] == "" {
				t.Errorf("a refusal says so in every envelope: %v", no)
			}
		})
	}
}

func TestTheGlobalEditionWantsAProviderAndListsChannels(t *testing.T) {
	g := newGateway(t, &Sandbox{Edition: "global"})
	body := `{"payAccount":"account1"}`
	if r := g.call(opQuery, body).object(t); !strings.Contains(r["message"].(string), "serviceProvider") {
		t.Errorf("without the header: %v", r)
	}
	h := credentials(body)
	h.Set("serviceProvider", "xendit")
	r, err := g.do(http.MethodPost, "/sandbox/pay/queryPayAccount", body, h)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Success bool         `json:"success"`
		Result  []accountRow `json:"result"`
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || !answer.Success || len(answer.Result) == 0 {
		t.Fatalf("%v: %s", err, r.body)
	}
	if row := answer.Result[0]; row.Type != "PAY" || row.ChannelCode != "QRIS" || row.Country == "" || len(row.CurrencyList) == 0 {
		t.Errorf("%+v", row)
	}
}

func TestEachKindOfChannelHasItsAction(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	for channel, prefix := range map[string]string{
		"QRIS": "000201", "BCA_VA": "8808", "DANA": "qlinksandbox://", "CARDS": g.url + "/sandbox/pay-page/SB", "ANY": "http://",
	} {
		body := strings.Replace(order("u-"+channel, "O-"+channel), `"QRIS"`, `"`+channel+`"`, 1)
		if value := g.call(opApply, body).object(t)["actionValue"].(string); !strings.HasPrefix(value, prefix) {
			t.Errorf("%s: %s", channel, value)
		}
	}
}

func TestWhatIsNoCallIsRefusedAndNotRecorded(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	for _, c := range []struct {
		method, path, body, kind string
		status                   int
	}{
		{http.MethodGet, "/sandbox/pay/apply", "", "", http.StatusMethodNotAllowed},
		{http.MethodPost, "/sandbox/pay/refund", "{}", "application/json", http.StatusNotFound},
		{http.MethodPost, "/sandbox/pay/apply", "{}", "text/plain", http.StatusUnsupportedMediaType},
		{http.MethodPost, "/sandbox/pay/apply", strings.Repeat(" ", maxBody+1), "application/json", http.StatusRequestEntityTooLarge},
	} {
		r, err := g.do(c.method, c.path, c.body, http.Header{"Content-Type": {c.kind}})
		if err != nil || r.status != c.status || r.object(t)["success"] != false {
			t.Errorf("%s %s: %d %s %v", c.method, c.path, r.status, r.body, err)
		}
	}
	if calls := g.s.snapshot(t).Calls; len(calls) != 0 {
		t.Errorf("%+v", calls)
	}
}

func TestDoubledKeysAndOtherPathsAreNotTaken(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	if r := g.call(opCancel, `{"tradeUuid":"a","tradeUuid":"b"}`).object(t); r["errorCode"] != "INVALID_JSON" {
		t.Errorf("%v", r)
	}
	for path, status := range map[string]int{"/": http.StatusTeapot, "/sandboxes": http.StatusTeapot, "/sandbox": http.StatusMovedPermanently} {
		if r, err := g.do(http.MethodGet, path, "", nil); err != nil || r.status != status {
			t.Errorf("%s: %d %v", path, r.status, err)
		}
	}
}
