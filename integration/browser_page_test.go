package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
)

// scene is a state of the payment page: what the gateway is told to do with the
// order's /apply and /cancel, what then becomes of the payment, and what a
// buyer reads.
type scene struct {
	name, channel string
	fault         string // of the gateway's answers about this order
	fate          string // decided at the gateway, or "leave": the buyer cancels
	status, says  string
}

var scenes = []scene{
	{"preparing", "QRIS", `"operation":"apply","fault":"status"`, "", "CREATED", saysPreparing},
	{"scan a code", "QRIS", "", "", "WAIT", saysWaiting},
	{"type a code", "BCA_VA", "", "", "WAIT", saysWaiting},
	{"open an app", "DANA", "", "", "WAIT", saysWaiting},
	{"go to a page", "CARDS", "", "", "WAIT", saysWaiting},
	{"processing", "QRIS", `"operation":"apply","fault":"no_action"`, "", "WAIT", saysProcessing},
	{"cancelling", "QRIS", `"operation":"cancel","fault":"cancel_answer","answer":"WAIT","cancels":false`, "leave", "WAIT", saysCancelling},
	{"paid", "QRIS", "", "pay", "SUCCESS", saysPaid},
	{"refused", "QRIS", `"operation":"apply","fault":"refuse"`, "", "FAIL", saysNotStarted},
	{"failed", "QRIS", "", "fail", "FAIL", saysFailed},
	{"cancelled", "QRIS", "", "cancel", "CANCELED", saysCancelled},
	{"expired", "QRIS", "", "expire", "EXPIRED", saysExpired},
}

// stage makes a bill for the scene and returns it as it is then.
func (w *world) stage(s scene) billJSON {
	w.t.Helper()
	code := "O-" + strings.ReplaceAll(s.name, " ", "-")
	if s.fault != "" {
		w.control("POST", "/faults", fmt.Sprintf(`{"orderCode":%q,"times":1000,%s}`, code, s.fault))
	}
	w.shop.lay(fmt.Sprintf(`{"orderCode":%q,"amount":"15000.50","payChannelCode":%q,"description":"Breakfast for two",
		"items":[{"skuCode":"1","skuName":"Kopi Gayo, a pound of it, roasted this morning","quantity":2}]}`, code, s.channel))
	b := decode[billJSON](w.t, w.must("POST", "/checkout", "").body)
	switch s.fate {
	case "":
	case "leave":
		w.must("POST", "/qlink/bills/"+b.ID+"/cancel", "").want(w.t, 202)
	default:
		w.control("POST", "/payments/"+b.ID+"/"+s.fate, "")
	}
	return w.awaitStatus(b.ID, s.status)
}

// payPage is the address of a bill's page at the site.
func (w *world) payPage(b billJSON) string { return "http://" + w.public + "/qlink/pay/" + b.ID }

func TestEveryStateOfThePaymentPage(t *testing.T) {
	w := newWorld(t, plainSite)
	pages := make(map[string]scene)
	for _, s := range scenes {
		pages[w.payPage(w.stage(s))] = s
	}
	t.Run("is accessible in light and dark, on a phone and at a desk", func(t *testing.T) {
		for _, h := range []habits{{device: phone}, {device: desk, dark: true}} {
			newBuyer(t, h).eachOf(pages, func(b *tab, _ scene) { b.wantAccessible() })
		}
	})
	t.Run("needs no scrolling sideways", func(t *testing.T) {
		for name, h := range map[string]habits{
			"phone":                {device: phone},
			"phone at 200%":        {device: phone.zoomed(2)},
			"phone, large letters": {device: phone, fontSize: 32},
			"desk at 400%":         {device: desk.zoomed(4)},
		} {
			newBuyer(t, h).eachOf(pages, func(b *tab, s scene) {
				if wide := b.overflows(); wide != "" {
					t.Errorf("%s, %s: %s", name, s.name, wide)
				}
			})
		}
	})
	t.Run("asks its own site alone", func(t *testing.T) {
		newBuyer(t, habits{device: phone}).eachOf(pages, func(b *tab, s scene) { b.wantOwnSite(s, w.public) })
	})
}

// eachOf looks at every page.
func (b *tab) eachOf(pages map[string]scene, look func(*tab, scene)) {
	b.t.Helper()
	for page, s := range pages {
		b.open(page)
		b.sees(s.says)
		b.stay()
		look(b, s)
	}
}

// stay keeps a paid page from leading back to the shop.
func (b *tab) stay() {
	b.t.Helper()
	evaluate[bool](b, `document.querySelector("[data-stay]")?.click() ?? true`)
}

// wantOwnSite fails the test where the tab has asked anybody but the site, and
// where it had not even asked for the page before that was to be seen.
func (b *tab) wantOwnSite(s scene, site string) {
	b.t.Helper()
	for _, r := range b.requests() {
		if r.host() != site && !strings.HasPrefix(r.URL, "data:") {
			b.t.Errorf("%s: %s %s", s.name, r.Type, r.URL)
		}
	}
	if early := b.seen.beforePaint(); len(early) == 0 || early[0].Type != network.ResourceTypeDocument {
		b.t.Errorf("%s: before anything was to be seen: %v", s.name, early)
	}
}

// languages are those that the page speaks by itself.
var languages = []string{"en", "id", "ms", "th", "vi", "fil", "zh-Hans", "zh-Hant", "ar"}

// A page is accessible in every state and every language, reads from the right
// where its language does, and fits a phone.
func TestEveryStateOfThePaymentPageInEveryLanguage(t *testing.T) {
	w := offering(t, "confirm_success on\n\t\t\toffer", "retry 1h")
	staged := map[string]string{"nothing there": "http://" + w.public + "/qlink/pay/" + "00000000-0000-4000-8000-000000000000"}
	for _, s := range scenes {
		staged[s.name] = w.payPage(w.stage(s)) // what is preparing is not answering, once the first languages are through
	}
	staged["choose"] = w.payPage(w.checkout(order("O-CHOOSE", "15000"), 201))
	staged["paid twice"] = w.payPage(w.paidTwice())
	staged["paid late"] = w.payPage(w.paidLate())
	staged["checking"] = w.payPage(w.unconfirmed())
	for _, language := range languages {
		t.Run(language, func(t *testing.T) {
			buyer := newBuyer(t, habits{device: phone, language: language})
			buyer.excuse(`404 \(Not Found\)`)
			for name, page := range staged {
				buyer.open(page + "?lang=" + language)
				buyer.stay()
				buyer.wantAccessible()
				if wide := buyer.overflows(); wide != "" {
					t.Errorf("%s: %s", name, wide)
				}
				direction := evaluate[string](buyer, `document.documentElement.lang + " " + getComputedStyle(document.body).direction`)
				if want := map[bool]string{true: "ar rtl", false: language + " ltr"}[language == "ar"]; direction != want {
					t.Errorf("%s: %s, want %s", name, direction, want)
				}
			}
		})
	}
}

func TestACameraReadsTheGatewaysPayloadFromTheScreen(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-QR", "15000"), 201)
	for name, h := range map[string]habits{
		"light":  {device: phone},
		"dark":   {device: phone, dark: true},
		"zoomed": {device: phone.zoomed(2)},
		"desk":   {device: desk, dark: true},
	} {
		buyer := newBuyer(t, h)
		buyer.open(w.payPage(b))
		buyer.finds(theCode)
		if got := decodeQR(t, buyer.picture(theCode, 8)); got != b.Action.Value {
			t.Errorf("%s: the code reads %q, the gateway gave %q", name, got, b.Action.Value)
		}
		if got := decodeQR(t, buyer.whole()); got != b.Action.Value {
			t.Errorf("%s: the page reads %q, the gateway gave %q", name, got, b.Action.Value)
		}
	}
}
