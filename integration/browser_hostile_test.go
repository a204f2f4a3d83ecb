package integration

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// spices are what hostile orders are seasoned with: markup, controls of
// direction, what is very long, empty or made of many characters.
var spices = []string{
	`<script>document.title = "hacked"</script>`, `"><img src=x onerror="document.title='hacked'">`, `</title></main></body><!--`, `<base href="//evil.example">`,
	`{{.Nonce}}`, `${document.title="hacked"}`, `javascript:document.title="hacked"`, `</script><script>document.title = "hacked"</script>`, `&lt;b&gt;&amp;`,
	"\u202eDROW ESREVER", "\u2067\u202b\u200f", "\u200b\u200d\ufeff", "💸👩‍👩‍👧‍👦🏴‍☠️", "Z̸̢̛͇͚͚a̷l̵g̶o̷", "ﷺﷺﷺ", "مرحبا بالعالم", "ก็็็็็็็็็็", "价格價格", "", " ",
	strings.Repeat("W", 3000), strings.Repeat("long words ", 400), strings.Repeat("💸", 500),
}

// season makes a text by chance.
func season(chance *rand.Rand) string {
	var b strings.Builder
	for range 1 + chance.IntN(3) {
		b.WriteString(spices[chance.IntN(len(spices))])
	}
	return b.String()
}

// hostileOrder is one whose texts are hostile, as far as an order may be.
func hostileOrder(t *testing.T, n int, chance *rand.Rand) string {
	t.Helper()
	var items []map[string]any
	for range chance.IntN(4) {
		items = append(items, map[string]any{"skuCode": "1" + season(chance), "skuName": "1" + season(chance), "quantity": chance.IntN(1000000), "url": "https://evil.example/"})
	}
	text, err := json.Marshal(map[string]any{
		"orderCode": fmt.Sprintf("<b>%d</b>💸\"'&{{.}}", n) + strings.Repeat("W", chance.IntN(200)),
		"amount":    []string{"0.01", "999999999999999.99", "15000"}[n%3], "description": season(chance),
		"payChannelCode": []string{"QRIS", "BCA_VA", "DANA", "CARDS"}[n%4], "items": items,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var proveHostile = flag.Int("prove.hostile", 40, "hostile orders looked at in a browser")

func TestProveHostileOrdersAreDrawnAsText(t *testing.T) {
	w := newWorld(t, strings.Replace(plainSite, "checkout /checkout", "checkout /checkout\n\t\tpage {\n\t\t\tname \"<i>Kopi</i> \u202e\"\n\t\t}", 1))
	chance := rand.New(rand.NewPCG(*proveSeed, 1))
	buyer := newBuyer(t, habits{device: phone})
	for n := range *proveHostile {
		order := hostileOrder(t, n, chance)
		w.shop.lay(order)
		b := decode[billJSON](t, w.must("POST", "/checkout", "").want(t, 201).body)
		buyer.open(w.payPage(b) + "?lang=" + languages[n%len(languages)])
		found := evaluate[string](buyer, `[document.title.includes("hacked"), document.scripts.length, document.querySelectorAll("main").length,
			document.querySelectorAll("b:not([id]), i, base, img:not([loading])").length, document.querySelector("h1").getBoundingClientRect().width > 0].join(" ")`)
		if found != "false 1 1 0 true" {
			t.Fatalf("order %d: %s\n%.2000s", n, found, order)
		}
		if wide := buyer.overflows(); wide != "" {
			t.Fatalf("order %d: %.2000s\n%.2000s", n, wide, order)
		}
	}
	prove(t, "hostile orders on the page, in Chromium on a phone", fmt.Sprintf("%d orders in %d languages", *proveHostile, len(languages)),
		"0 scripts, 0 elements of an order's, 0 wider than the screen")
}
