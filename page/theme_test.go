package page_test

import (
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/page"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

func TestAnAccentThatCannotBeReadIsRefused(t *testing.T) {
	for _, c := range []struct{ light, dark, want string }{
		{"#0b5fff", "", ""},
		{"#000000", "", ""},
		{"000000", "", ""},
		{"#767676", "", ""}, // the lightest grey that passes on white
		{"#777777", "", "contrast is 4.5"},
		{"#ffcc00", "", "cannot be read on the light theme's #ffffff"},
		{"#a00000", "#ffcc00", ""},
		{"#a00000", "#202020", "cannot be read on the dark theme's"},
		{"red", "", "no colour"},
		{"#fff", "", "no colour"},
		{"#0b5fff;}", "", "no colour"},
		{"#+b5fff", "", "no colour"},
	} {
		_, err := page.New(page.Config{Accent: c.light, AccentDark: c.dark})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.light, c.dark, err, c.want)
		}
	}
}

func TestATextOnTheAccentIsTheOneThatStandsOut(t *testing.T) {
	wantContains(t, drawnBy(t, page.Config{Accent: "#7a0019", AccentDark: "#ffcc00"}),
		":root{--accent:#7a0019;--on:#ffffff}", "(prefers-color-scheme:dark){:root{--accent:#ffcc00;--on:#000000}}")
	wantNot(t, drawnBy(t, page.Config{Accent: "#7a0019", Theme: page.ThemeLight}), "prefers-color-scheme")
	wantContains(t, drawnBy(t, page.Config{Theme: page.ThemeDark}), "@media screen{:root{--ink:#e8eaed", `class="dark"`)
}

func drawnBy(t *testing.T, c page.Config) string {
	t.Helper()
	document, err := newRenderer(t, c).Payment(paying(nil))
	if err != nil {
		t.Fatal(err)
	}
	return string(document.HTML)
}

const onePixel = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"

func TestALogoTravelsWithThePage(t *testing.T) {
	wantContains(t, drawnBy(t, page.Config{Logo: write(t, "logo.png", onePixel)}), `<img class="logo" src="data:image/png;base64,iVBORw0KGgo`, `alt="Shop"`)
	wantContains(t, drawnBy(t, page.Config{Logo: write(t, "logo.svg", `<svg xmlns="http://www.w3.org/2000/svg"/>`)}), `src="data:image/svg&#43;xml;base64,`)
	for name, text := range map[string]string{"logo.png": "no picture", "logo.svg": "<html>", "large.png": onePixel + strings.Repeat("x", 16<<10)} {
		if _, err := page.New(page.Config{Logo: write(t, name, text)}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestASupportContactBecomesWhatItIs(t *testing.T) {
	for contact, want := range map[string]string{
		"help@shop.example":           `href="mailto:help@shop.example"`,
		"+62 21 555-0100":             `href="tel:&#43;62215550100"`,
		"https://shop.example/help":   `href="https://shop.example/help"`,
		"Ask at the counter":          `Questions? <bdi>Ask at the counter</bdi>`,
		"javascript:alert(1)":         `Questions? <bdi>javascript:alert(1)</bdi>`,
		`"><script>x</script>@a.bc`:   `Questions? <bdi>&#34;&gt;&lt;script&gt;`,
		"https://user:pass@shop.test": `href="https://user:pass@shop.test"`,
	} {
		wantContains(t, drawnBy(t, page.Config{Support: contact}), want)
		document, err := newRenderer(t, page.Config{Support: contact}).Failure(content.Failure{Code: "unavailable"})
		if err != nil {
			t.Fatal(err)
		}
		wantContains(t, string(document.HTML), want)
	}
}

func TestAMerchantsOwnTemplateIsDrawnInThePlaceOfOurs(t *testing.T) {
	own := write(t, "own.html", `{{template "head" .}}<title>{{.Title}}</title></head><body><main>{{.Say "back"}} {{.Bill.OrderCode}} {{.Money}}</main></body></html>`)
	html := drawnBy(t, page.Config{Template: own})
	wantContains(t, html, "Back to the shop O1 IDR\u00a01,234,567.50", "<style nonce=")
	for _, text := range []string{`{{.Nothing}}`, `{{if}}`, `{{template "nothing"}}`, `{{if eq .State "paid"}}{{.Paid.Wrong}}{{end}}`, `<a href={{.Title}}`} {
		if _, err := page.New(page.Config{Template: write(t, "own.html", text)}); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

func TestAPageMayBeEmbeddedWhereTheOperatorSays(t *testing.T) {
	document, err := newRenderer(t, page.Config{FrameAncestors: []string{"https://shop.example", "https://m.shop.example"}}).Payment(paying(nil))
	if err != nil {
		t.Fatal(err)
	}
	wantContains(t, document.SecurityPolicy, "frame-ancestors https://shop.example https://m.shop.example;")
}
