package qlink

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

// anyText draws text of every plane, with the characters that libraries escape far more
// often than chance would have it.
func anyText() *rapid.Generator[string] {
	special := rapid.SampledFrom([]rune("\"\\/<>&='\x00\x1f\n\t\b\f\r\x7f\u0080\u009f\u00a0\u2027\u2028\u2029\u202a\ufffd\ufeff描😀\U0010ffff{}[]:,"))
	return rapid.StringOf(rapid.OneOf(special, rapid.Rune()))
}

func anyRequest(t *rapid.T) ApplyRequest {
	required := rapid.OneOf(anyText(), rapid.Just("x")).Filter(func(s string) bool { return s != "" })
	request := ApplyRequest{
		PayTypeCode: required.Draw(t, "payTypeCode"), PayChannelCode: required.Draw(t, "payChannelCode"),
		TradeUUID: required.Draw(t, "tradeUuid"), OrderCode: required.Draw(t, "orderCode"),
		Country: "ID", Currency: "IDR", Amount: rapid.StringMatching(`[1-9][0-9]{0,14}(\.[0-9]{2})?`).Draw(t, "amount"),
		TradeTime:   time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "tradeTime"), 0),
		Description: anyText().Draw(t, "description"), Metadata: anyText().Draw(t, "metadata"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "items") {
		request.Items = append(request.Items, Item{
			SKUCode: required.Draw(t, "skuCode"), SKUName: required.Draw(t, "skuName"),
			Quantity: rapid.StringMatching(`[1-9][0-9]{0,3}(\.[0-9]{1,2})?`).Draw(t, "quantity"),
			URL:      anyText().Draw(t, "url"), Metadata: anyText().Draw(t, "itemMetadata"),
		})
	}
	return request
}

func testClient(tb testing.TB, change func(*Config)) *Client {
	tb.Helper()
	config := Config{Endpoint: "http://127.0.0.1:9/pay", AppKey: "app-1001", AppSecret: "s3cr3t", PayAccount: "account1"}
	if change != nil {
		change(&config)
	}
	client, err := NewClient(config)
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// story 23: whichever JSON library the gateway writes the signed text with, it hashes the
// text that we signed.
func TestASentBodyIsSignedAlikeByEveryLibrary(t *testing.T) {
	client := testClient(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		request := anyRequest(t)
		for _, body := range [][]byte{
			client.applyBody(request),
			client.cancelBody(request.TradeUUID, request.OrderCode),
			client.getPayStatusBody([]string{request.TradeUUID}, []string{request.OrderCode}),
		} {
			want := string(appendSignedText(nil, false, "app-1001", body, 0))
			for _, e := range escapings {
				if got := string(appendSignedText(nil, false, "app-1001", body, e.set)); got != want {
					t.Fatalf("%s writes\n%s, not\n%s", e.name, got, want)
				}
			}
			for _, b := range body {
				if b < ' ' || b > '~' {
					t.Fatalf("%q holds more than printable ASCII", body)
				}
			}
		}
	})
}

type wireItem struct {
	SKUCode  string  `json:"skuCode"`
	SKUName  string  `json:"skuName"`
	Quantity rawText `json:"quantity"`
	URL      string  `json:"url"`
	Metadata string  `json:"metadata"`
}

type rawText string

func (r *rawText) UnmarshalJSON(b []byte) error { *r = rawText(b); return nil }

type wireApply struct {
	PayAccount     string     `json:"payAccount"`
	PayTypeCode    string     `json:"payTypeCode"`
	PayChannelCode string     `json:"payChannelCode"`
	TradeUUID      string     `json:"tradeUuid"`
	TradeTime      string     `json:"tradeTime"`
	OrderCode      string     `json:"orderCode"`
	Country        string     `json:"country"`
	Currency       string     `json:"currency"`
	Amount         string     `json:"amount"`
	Description    string     `json:"description"`
	Metadata       string     `json:"metadata"`
	Items          []wireItem `json:"items"`
}

func TestASentBodyHoldsTheValuesGiven(t *testing.T) {
	for _, escape := range []BodyEscape{EscapeASCII, EscapeNone} {
		client := testClient(t, func(c *Config) { c.Escape = escape })
		rapid.Check(t, func(t *rapid.T) {
			request := anyRequest(t)
			if err := request.validate(); err != nil {
				t.Fatal(err)
			}
			var got wireApply
			if err := json.Unmarshal(client.applyBody(request), &got, json.RejectUnknownMembers(true)); err != nil {
				t.Fatal(err)
			}
			want := wireApply{
				PayAccount: "account1", PayTypeCode: request.PayTypeCode, PayChannelCode: request.PayChannelCode,
				TradeUUID: request.TradeUUID, TradeTime: request.TradeTime.In(defaultLocation).Format(TimeLayout),
				OrderCode: request.OrderCode, Country: request.Country, Currency: request.Currency,
				Amount: request.Amount, Description: request.Description, Metadata: request.Metadata,
			}
			for _, i := range request.Items {
				want.Items = append(want.Items, wireItem{i.SKUCode, i.SKUName, rawText(i.Quantity), i.URL, i.Metadata})
			}
			assertEqual(t, got, want)
		})
	}
}

// story 29: an amount goes out as it was written.
func TestTheApplyBodyIsTheDocuments(t *testing.T) {
	request := ApplyRequest{
		PayTypeCode: "ONLINE", PayChannelCode: "QRIS", TradeUUID: "uuid", OrderCode: "O20250804001",
		TradeTime: time.Date(2025, 8, 4, 5, 45, 21, 999, time.UTC), Country: "ID", Currency: "IDR", Amount: "19.90",
		Description: "描述 <b>\n", Metadata: `{"my":"1"}`,
		Items: []Item{{SKUCode: "SKU01", SKUName: "a/b", Quantity: "1"}, {SKUCode: "2", SKUName: "😀", Quantity: "2.5", URL: "u", ImageURL: "i", Category: "c", Subcategory: "s", Description: "d", Metadata: "{}"}},
	}
	const head = `{"payAccount":"account1",`
	const middle = `"payTypeCode":"ONLINE","payChannelCode":"QRIS","tradeUuid":"uuid","tradeTime":"2025-08-04 13:45:21",` +
		`"orderCode":"O20250804001","country":"ID","currency":"IDR","amount":"19.90",`
	ascii := middle + `"description":"\u63cf\u8ff0 \u003cb\u003e\u000a","metadata":"{\"my\":\"1\"}",` +
		`"items":[{"skuCode":"SKU01","skuName":"a\u002fb","quantity":1},{"skuCode":"2","skuName":"\ud83d\ude00","quantity":2.5,` +
		`"url":"u","imageUrl":"i","category":"c","subcategory":"s","description":"d","metadata":"{}"}]`
	plain := strings.NewReplacer(`\u63cf\u8ff0`, "描述", `\u003c`, "<", `\u003e`, ">", `\u000a`, `\n`, `\u002f`, "/", `\ud83d\ude00`, "😀").Replace(ascii)
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"by default":         {nil, head + ascii + "}"},
		"unescaped":          {func(c *Config) { c.Escape = EscapeNone }, head + plain + "}"},
		"glinkAccount":       {func(c *Config) { c.AccountField = AccountFieldGlinkAccount }, `{"glinkAccount":"account1",` + ascii + "}"},
		"both":               {func(c *Config) { c.AccountField = AccountFieldBoth }, `{"payAccount":"account1","glinkAccount":"account1",` + ascii + "}"},
		"further parameters": {func(c *Config) { c.ApplyParams = []Param{{"source", "QERP_CN"}} }, head + ascii + `,"source":"QERP_CN"}`},
	} {
		if got := string(testClient(t, c.change).applyBody(request)); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
	}
}
