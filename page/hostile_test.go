package page_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// morsels are what hostile texts are made of.
var morsels = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `</title><script>`, `</main></body>`, `<!--`, `-->`, `]]>`,
	`javascript:alert(1)`, `data:text/html,<b>`, `{{.Nonce}}`, `${alert(1)}`, "`", `\u003cscript\u003e`, `&lt;script&gt;`, `<base href="https://evil.example/">`,
	`<meta http-equiv=refresh content="0;url=https://evil.example">`, `" style="position:fixed`, `</style><style>*{display:none}`, `<form action=https://evil.example>`,
	"\u202eDROW\u202c", "\u2066\u2067", "\u200b\ufeff", "\x00", "\x1b[31m", "\r\n\r\n", "\ufffd", "\xff\xfe", "💸👩‍👩‍👧‍👦🏴‍☠️", "é́́́́́́́́", "ﷺ", "مرحبا", "ไทยไทย", "价格", " ", "",
	"W" + strings.Repeat("W", 500), strings.Repeat("a b ", 300),
}

// hostileText is one of many by chance.
func hostileText(chance *rand.Rand) string {
	var b strings.Builder
	for range chance.IntN(4) {
		b.WriteString(morsels[chance.IntN(len(morsels))])
	}
	return b.String()
}

// hostilePayment is one whose every text is hostile.
func hostilePayment(chance *rand.Rand) content.Payment {
	text := func() string { return hostileText(chance) }
	actions := []string{payload, payload + text(), "https://pay.example/" + text(), "wallet://" + text(), "8808" + text(), text()}
	statuses := bill.Statuses()
	return paying(func(p *content.Payment) {
		p.Language, p.Accept = text(), text()
		p.Bill.OrderCode, p.Merchant, p.ReturnURL = text(), text(), text()
		p.Bill.Status = statuses[chance.IntN(len(statuses))]
		p.Bill.Action = bill.NewAction(actions[chance.IntN(len(actions))])
		p.Bill.Amount, p.Bill.Currency = bill.Amount(text()), bill.Currency(text())
		p.Details = bill.Details{Description: text(), Metadata: text(), Items: []bill.Item{{SKUName: text(), Quantity: text(), URL: text(), ImageURL: text()}}}
		p.Ways = []content.Way{{PayType: text(), PayChannel: text(), Name: text(), Type: text()}}
	})
}

func TestFiveHundredHostileOrdersStayText(t *testing.T) {
	r, chance := newRenderer(t), rand.New(rand.NewPCG(1, 2))
	for n := range 500 {
		p := hostilePayment(chance)
		document, err := r.Payment(p)
		if err != nil {
			t.Fatalf("order %d: %v: %+v", n, err, p)
		}
		if complaints := strangers(t, document.HTML); len(complaints) > 0 {
			t.Fatalf("order %d: %s\n%+v", n, strings.Join(complaints, "; "), p)
		}
	}
}

// elements are those that a page is made of.
var elements = strings.Fields("html head meta link style noscript title body header p img main section h1 h2 data bdi br time b figure figcaption div svg path a button form input details summary ul li span footer nav script")

// strangers lists what stands in a page that the templates have not put there.
func strangers(t *testing.T, text []byte) (complaints []string) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for n := range root.Descendants() {
		if n.Type == html.CommentNode {
			complaints = append(complaints, "a comment")
		}
		if n.Type != html.ElementNode {
			continue
		}
		count[n.Data]++
		if !slices.Contains(elements, n.Data) {
			complaints = append(complaints, "an element "+n.Data)
		}
		for _, a := range n.Attr {
			complaints = append(complaints, strangeAttribute(a)...)
		}
	}
	for _, once := range []string{"script", "style", "main", "body", "title", "h1"} {
		if count[once] != 1 {
			complaints = append(complaints, fmt.Sprintf("%d elements %s", count[once], once))
		}
	}
	return complaints
}

var harmless = regexp.MustCompile(`^(https?://|/[^/\\]|/$|\.\./|[?#]|wallet:|mailto:|tel:|data:(image/|,$))`)

func strangeAttribute(a html.Attribute) []string {
	switch {
	case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc":
		return []string{"an attribute " + a.Key}
	case (a.Key == "href" || a.Key == "src" || a.Key == "action") && !harmless.MatchString(a.Val):
		return []string{fmt.Sprintf("%s=%q", a.Key, a.Val)}
	}
	return nil
}

// transferred is how many bytes travel.
func transferred(t *testing.T, text []byte) int {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.DefaultCompression)
	if err == nil {
		_, err = z.Write(text)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

func TestAPageIsSmall(t *testing.T) {
	long := strings.Repeat("0123456789", 30) // near the longest payload that wallets' cameras read
	r := newRenderer(t)
	for _, language := range languages {
		document, err := r.Payment(paying(func(p *content.Payment) {
			p.Language, p.Bill.Action = language, bill.NewAction(payload+long)
			p.Details.Items = slices.Repeat([]bill.Item{{SKUName: "Kopi susu gula aren", Quantity: "2"}}, 20)
		}))
		if err != nil {
			t.Fatal(err)
		}
		if size := transferred(t, document.HTML); size > 30<<10 {
			t.Errorf("%s: %d bytes gzipped", language, size)
		}
		script := regexp.MustCompile(`(?s)<script[^>]*>(.*)</script>`).FindSubmatch(document.HTML)
		if size := transferred(t, script[1]); size > 4<<10 {
			t.Errorf("the script: %d bytes gzipped", size)
		}
	}
}

func TestAPageAsksForNothingToBeDrawn(t *testing.T) {
	document, err := newRenderer(t, page.Config{Logo: write(t, "logo.png", onePixel)}).Payment(paying(nil))
	if err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(document.HTML))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			lazy := slices.Contains(n.Attr, html.Attribute{Key: "loading", Val: "lazy"})
			asks := a.Key == "src" && !lazy || n.Data == "link" && a.Key == "href"
			if asks && !strings.HasPrefix(a.Val, "data:") {
				t.Errorf("%s %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
}
