package page_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page"
	"github.com/caddy-qlink/caddy-qlink/page/content"
)

// languages are those that a page speaks by itself.
var languages = []string{"en", "id", "ms", "th", "vi", "fil", "zh-Hans", "zh-Hant", "ar"}

func catalogue(t *testing.T, language string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("languages", language+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var texts map[string]string
	if err := json.Unmarshal(text, &texts); err != nil {
		t.Fatalf("%s: %v", language, err)
	}
	return texts
}

func TestEveryCatalogueIsWhole(t *testing.T) {
	files, err := filepath.Glob("languages/*.json")
	if err != nil || len(files) != len(languages) {
		t.Errorf("%d catalogues, %v; want %v", len(files), err, languages)
	}
	placeholder := regexp.MustCompile(`\{\{[^}]*\}\}`)
	english := catalogue(t, "en")
	for _, language := range languages {
		texts := catalogue(t, language)
		same := 0
		for id, text := range english {
			translated := texts[id]
			switch {
			case strings.TrimSpace(translated) == "":
				t.Errorf("%s: there is no %q", language, id)
			case !slices.Equal(placeholder.FindAllString(text, -1), placeholder.FindAllString(translated, -1)):
				t.Errorf("%s: %q names other values than %q", language, translated, text)
			case strings.ContainsFunc(translated, isBidiControl):
				t.Errorf("%s: %q holds a control of direction", language, id)
			case translated == text:
				same++
			}
		}
		for id := range texts {
			if english[id] == "" {
				t.Errorf("%s: %q is no text of a page", language, id)
			}
		}
		if language != "en" && same > len(english)/10 {
			t.Errorf("%s: %d texts are English", language, same)
		}
	}
}

func isBidiControl(r rune) bool {
	return r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == '\u200e' || r == '\u200f' || r == '\u061c'
}

// story 1, story 5: what a text may say depends on what is known.
func TestNoTextOfAnOpenPaymentSpeaksOfFailure(t *testing.T) {
	english := catalogue(t, "en")
	for id, text := range english {
		for _, open := range []string{"created", "slow", "checking", "processing", "waiting", "cancelling"} {
			if strings.HasPrefix(id, "state."+open+".") {
				wantNot(t, text, "fail", "try again", "charged", "not been paid")
			}
		}
	}
}

func TestAPageSpeaksTheLanguageThatIsAskedFor(t *testing.T) {
	for _, c := range []struct{ asked, accepted, want string }{
		{"", "", "en"},
		{"", "id", "id"},
		{"", "id-ID,id;q=0.9,en;q=0.8", "id"},
		{"", "en-GB,en;q=0.9,th;q=0.8", "en"},
		{"", "fr-FR,fr;q=0.9,th;q=0.4", "th"},
		{"", "zh-TW", "zh-Hant"},
		{"", "zh-HK,zh;q=0.9", "zh-Hant"},
		{"", "zh-CN", "zh-Hans"},
		{"", "zh", "zh-Hans"},
		{"", "tl", "fil"},
		{"", "in", "id"},
		{"", "ar-EG", "ar"},
		{"", "xx-nonsense;;;q=9", "en"},
		{"", strings.Repeat("a-", 100000), "en"},
		{"vi", "id", "vi"},
		{"vi-VN", "", "vi"},
		{"fr", "id", "id"},
		{"\"><script>", "ms", "ms"},
	} {
		html := draw(t, func(p *content.Payment) { p.Language, p.Accept = c.asked, c.accepted })
		direction := "ltr"
		if c.want == "ar" {
			direction = "rtl"
		}
		if !strings.Contains(html, `<html lang="`+c.want+`" dir="`+direction+`"`) {
			t.Errorf("%q, %.40q: not %s: %s", c.asked, c.accepted, c.want, html[:60])
		}
	}
}

func TestALanguageAskedForByTheAddressIsKept(t *testing.T) {
	html := draw(t, func(p *content.Payment) { p.Language = "vi" })
	wantContains(t, html, "/cancel?lang=vi", "/refresh?lang=vi", "/qr.png?download&amp;lang=vi", `<a href="?lang=th" lang="th" hreflang="th">ไทย</a>`,
		`<a href="?lang=vi" lang="vi" hreflang="vi" aria-current="true">Tiếng Việt</a>`)
	wantNot(t, draw(t, nil), "/cancel?lang", "/refresh?lang")
}

func TestAFailureSpeaksTheReadersLanguageWhereThereAreWords(t *testing.T) {
	for code, want := range map[string]string{
		"unavailable":             catalogue(t, "id")["problem.unavailable.title"],
		"checkouts_closed":        catalogue(t, "id")["problem.checkouts_closed.detail"],
		"previous_attempt_open":   catalogue(t, "id")["problem.previous_attempt_open.detail"],
		"something_for_a_program": "In English", // who reads it has written the request by hand
	} {
		document, err := newRenderer(t).Failure(content.Failure{
			Reader: content.Reader{Accept: "id"}, Code: code, Title: "In English", NotCharged: true, PayURL: "/qlink/pay/x", ReturnURL: "/",
		})
		if err != nil {
			t.Fatal(err)
		}
		wantContains(t, string(document.HTML), `<html lang="id"`, want, catalogue(t, "id")["not_charged"], catalogue(t, "id")["back"])
	}
}

func TestAPageMayBeFixedToOneLanguage(t *testing.T) {
	r := newRenderer(t, page.Config{Language: "th"})
	document, err := r.Payment(paying(func(p *content.Payment) { p.Language, p.Accept = "en", "en" }))
	if err != nil {
		t.Fatal(err)
	}
	wantContains(t, string(document.HTML), `<html lang="th"`)
	wantNot(t, string(document.HTML), "?lang=", "<nav")
	for _, language := range []string{"fr", "x y", "nonsense-language"} {
		if _, err := page.New(page.Config{Language: language}); err == nil {
			t.Errorf("%q: no error", language)
		}
	}
}

func TestAnAmountIsWrittenAsTheLanguageDoesAndNeverRounded(t *testing.T) {
	for _, c := range []struct {
		language string
		amount   bill.Amount
		want     string
	}{
		{"en", "1234567.50", "IDR\u00a01,234,567.50"},
		{"id", "1234567.50", "IDR\u00a01.234.567,50"},
		{"vi", "1234567.50", "IDR\u00a01.234.567,50"},
		{"th", "999999999999999.99", "IDR\u00a0999,999,999,999,999.99"},
		{"ms", "0.01", "IDR\u00a00.01"},
		{"fil", "100", "IDR\u00a0100"},
		{"zh-Hans", "1000", "IDR\u00a01,000"},
		{"zh-Hant", "1000", "IDR\u00a01,000"},
		{"ar", "1000.1", "IDR\u00a01,000.1"},
	} {
		html := draw(t, func(p *content.Payment) { p.Language, p.Bill.Amount = c.language, c.amount })
		wantContains(t, html, `<bdi dir="ltr">`+c.want+`</bdi>`, `value="`+string(c.amount)+`"`)
	}
}

// write puts a file of the operator into a folder of its own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAMerchantMayOverrideTextsAndAddALanguage(t *testing.T) {
	r := newRenderer(t, page.Config{Texts: []string{
		write(t, "en.json", `{"state.waiting.title": "Your kopi awaits", "channel.DANA": "DANA wallet"}`),
		write(t, "fr.json", `{"state.waiting.title": "En attente de votre paiement", "order": "Commande {{.OrderCode}}"}`),
	}})
	for language, want := range map[string][]string{
		"en": {"Your kopi awaits", "This page updates itself once you have paid.", "Order <bdi>O1</bdi>"},
		"fr": {`lang="fr"`, "En attente de votre paiement", "Commande <bdi>O1</bdi>", "This page updates itself once you have paid.", "1\u00a0234\u00a0567,50"},
		"id": {`lang="id"`},
	} {
		document, err := r.Payment(paying(func(p *content.Payment) { p.Language = language }))
		if err != nil {
			t.Fatal(err)
		}
		wantContains(t, string(document.HTML), want...)
	}
	document, err := r.Payment(paying(func(p *content.Payment) {
		p.Bill.Status = bill.Choose
		p.Ways = []content.Way{{PayType: "ONLINE", PayChannel: "DANA", Name: "达纳"}, {PayType: "ONLINE", PayChannel: "X", Name: "An <X>"}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	wantContains(t, string(document.HTML), ">DANA wallet<", ">An &lt;X&gt;<", `name="payChannelCode" value="DANA"`, `action="../bills/`+id+`/choose"`)
}

func TestABadFileOfTextsIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"id.json":      `{"state.wating.title": "a typing error"}`,
		"vi.json":      `{"order": "Order {{.Code}}"}`,
		"th.json":      `{"order": "{{.OrderCode}} {{.OrderCode}}"}`,
		"ms.json":      `{"order": "{{.OrderCode"}`,
		"fil.json":     `not JSON`,
		"notes.json":   `{"order": "Order {{.OrderCode}}"}`,
		"quite no.txt": `{}`,
	} {
		if _, err := page.New(page.Config{Texts: []string{write(t, name, text)}}); err == nil {
			t.Errorf("%s %s: no error", name, text)
		}
	}
	if _, err := page.New(page.Config{Texts: []string{"/nowhere/id.json"}}); err == nil {
		t.Error("a file that does not exist: no error")
	}
}
