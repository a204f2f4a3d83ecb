package console_test

import (
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// spices are what hostile texts are seasoned with.
var spices = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' autofocus onfocus=alert(1) x='`, `</title></style></main><base href=//evil.example>`,
	`javascript:alert(1)`, `{{.Token}}`, `&lt;i&gt;`, "\u202eDROW", "\u2067\u200b\ufeff", "\x00\x1b[31m", `</textarea></select><form action=//evil.example>`,
}

func TestHostileTextsStandOnEveryPageAsText(t *testing.T) {
	o := open(t)
	var hostile []bill.Bill
	for _, spice := range spices {
		text := strings.ReplaceAll(spice, "\x00", "")
		b := o.sellWith(text, "1", bill.Details{
			Description: text, ReturnURL: text, Metadata: `{"x":"y` + strings.NewReplacer(`"`, "", "\x1b", "").Replace(text) + `"}`,
			Items: []bill.Item{{SKUCode: text, SKUName: text, Quantity: text}},
		})
		o.user = text
		o.press("/bills/"+b.ID, "/resolve", "note", text)
		o.user = "siti"
		o.report(b, "SUCCESS")
		o.giveUp(b)
		_ = o.engine.Settle(t.Context(), []*payment.Account{o.scope.Account}, qlink.Notification{
			TradeUUID: "stray" + text, OrderCode: text, BillCode: text, PaymentRequestID: text, Status: qlink.ParseStatus("SUCCESS"),
		}, text)
		hostile = append(hostile, b)
	}
	o.user = spices[0] + spices[1] + spices[7]
	pages := []string{"/", "/bills", "/notifications", "/orphans"}
	for i, b := range hostile {
		pages = append(pages, "/bills/"+b.ID, "/find?name=x"+escaped(spices[i]), "/bills?order="+escaped(spices[i]), "/bills?from="+escaped(spices[i]),
			"/notifications?since="+escaped(spices[i]), "/notifications?state="+escaped(spices[i]), "/?range="+escaped(spices[i]))
	}
	for _, page := range pages {
		wantHarmless(t, page, o.get(page).text)
	}
}

func escaped(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		b.WriteString("%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
	}
	return b.String()
}

// own are the elements that a console's page consists of.
var own = map[string]bool{}

func init() {
	for name := range strings.FieldsSeq(`html head meta link title style body a header p nav form label input button main h1 h2 h3 footer bdi time span table
		thead tbody tr th td details summary select option fieldset legend section dl div dt dd ol ul li br b strong pre figure figcaption svg desc line text rect`) {
		own[name] = true
	}
}

func unseen(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }

func wantHarmless(t *testing.T, page, text string) {
	t.Helper()
	for z := html.NewTokenizer(strings.NewReader(text)); z.Next() != html.ErrorToken; {
		token := z.Token()
		if seen := strings.ContainsFunc(token.String(), unseen); seen && token.Data != "input" { // whose value is what was typed
			t.Errorf("%s holds unseen characters: %q", page, token)
		}
		if token.Type != html.StartTagToken && token.Type != html.SelfClosingTagToken {
			continue
		}
		if !own[token.Data] {
			t.Errorf("%s has an element %s", page, token.Data)
		}
		for _, a := range token.Attr {
			leads := a.Key == "href" || a.Key == "action" || a.Key == "src"
			if strings.HasPrefix(a.Key, "on") || a.Key == "autofocus" || a.Key == "style" || leads && strings.Contains(a.Val, ":") && a.Val != "data:," || leads && strings.HasPrefix(a.Val, "//") {
				t.Errorf("%s: %s=%q", page, a.Key, a.Val)
			}
		}
	}
}
