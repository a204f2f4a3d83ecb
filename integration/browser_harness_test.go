package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Tests that look for faults and find none prove nothing where nothing would
// be found: here is a page with all of them.
const faultyPage = `<!doctype html><html lang="en"><head><title>Faults</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script nonce="n">console.error("a complaint"); setTimeout(() => { throw new Error("a mishap"); });</script>
</head><body><p style="color:red">too wide and too pale</p>
<div class="wide">W</div><p class="pale">pale</p><button></button>
<style nonce="n">.wide{width:1000px}.pale{color:#ddd;background:#fff}</style>
<img src="http://shop.example/pixel.gif" alt=""></body></html>`

func serveFaults(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-n'; style-src 'nonce-n'; img-src *")
	fmt.Fprint(w, faultyPage)
}

func TestTheBrowserTellsOfEverythingAPageDoesWrong(t *testing.T) {
	shop := newShop(t)
	shop.serve(serveFaults)
	buyer := newBuyer(t, habits{device: phone})
	buyer.open("http://" + shop.address + "/")
	told := strings.Join(buyer.seen.take(), "\n")
	for _, fault := range []string{"a complaint", "a mishap", "style-src", "http://shop.example/pixel.gif"} {
		if !strings.Contains(told, fault) {
			t.Errorf("nothing of %q in:\n%s", fault, told)
		}
	}
	var broken []string
	for _, v := range buyer.audit() {
		broken = append(broken, v.ID)
	}
	if rules := strings.Join(broken, " "); rules != "button-name color-contrast" {
		t.Errorf("axe found %s", rules)
	}
	if wide := buyer.overflows(); !strings.Contains(wide, `class="wide"`) {
		t.Errorf("too wide is %q", wide)
	}
}

func TestAFaultOfAPageIsHeardWhereItsScriptsAreOff(t *testing.T) {
	shop := newShop(t)
	shop.serve(serveFaults)
	buyer := newBuyer(t, habits{device: desk, noScript: true})
	buyer.open("http://" + shop.address + "/")
	told := strings.Join(buyer.seen.take(), "\n")
	if strings.Contains(told, "a complaint") || !strings.Contains(told, "style-src") {
		t.Errorf("heard:\n%s", told)
	}
	if found := buyer.audit(); len(found) != 2 {
		t.Errorf("axe found %v", found)
	}
	if again := buyer.seen.take(); again != nil {
		t.Errorf("the audit let the page's scripts in: %v", again)
	}
}

func TestABuyersHabitsReachThePageAndTheServer(t *testing.T) {
	shop := newShop(t)
	shop.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><meta name="viewport" content="width=device-width"><p>%s</p><p>%s</p>`,
			r.Header.Get("Accept-Language"), r.UserAgent())
	})
	buyer := newBuyer(t, habits{device: phone, dark: true, still: true, language: "th"})
	buyer.open("http://" + shop.address + "/")
	buyer.sees(`(?s)th.*Android.*Mobile`)
	const about = `[innerWidth, devicePixelRatio, navigator.language, navigator.maxTouchPoints > 0, navigator.onLine,
		matchMedia("(prefers-color-scheme: dark)").matches, matchMedia("(prefers-reduced-motion: reduce)").matches].join()`
	if got := evaluate[string](buyer, about); got != "360,2,th,true,true,true,true" {
		t.Errorf("a phone with habits is %s", got)
	}
	buyer.goOffline(true)
	const asks = `fetch("/", {cache: "no-store"}).then(() => "answered", () => "cut off")`
	buyer.excuse("ERR_INTERNET_DISCONNECTED")
	if got := evaluate[string](buyer, asks+`.then(got => got + " " + navigator.onLine)`); got != "cut off false" {
		t.Errorf("offline: %s", got)
	}
	buyer.goOffline(false)
	if got := evaluate[string](buyer, asks); got != "answered" {
		t.Errorf("online again: %s", got)
	}
}
