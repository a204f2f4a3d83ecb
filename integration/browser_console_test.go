package integration

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// consoleSite is the plain site with a console, whose users are siti and budi,
// each with the password "secret".
const consoleSite = `	basic_auth /console/* {
		siti $2a$04$wJO9fJDb7C1Qs6SAx9QYWOvE/XFZAGCNUif72fQQQy4gQnqBrEzba
		budi $2a$04$wJO9fJDb7C1Qs6SAx9QYWOvE/XFZAGCNUif72fQQQy4gQnqBrEzba
	}
	qlink_console
` + plainSite

// The console.
var (
	searchBox    = control{"searchbox", `Order code`}
	findIt       = control{"button", `^Find$`}
	endsBill     = control{"DisclosureTriangle", `^Cancel this bill$`}
	surely       = control{"button", `^Yes, cancel it$`}
	asksGateway  = control{"button", `^Ask the gateway now$`}
	listOfBills  = control{"link", `^Bills$`}
	stuckBills   = control{"link", `^Stuck`}
	thirtyDays   = control{"link", `^30 days$`}
	asTable      = control{"DisclosureTriangle", `^Payments by hour as a table$`}
	thePaymentsC = control{"image", `^Payments by`}
)

func (w *world) console(path string) string { return "http://" + w.public + "/console" + path }

// signIn has the browser send a name and a password along from now on, as it
// does once they were typed in.
func (b *tab) signIn(user, password string) {
	b.t.Helper()
	credentials := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	b.do("sign in", func(ctx context.Context, target *chromedp.Target) error {
		return command(ctx, target, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Authorization": "Basic " + credentials}})
	})
}

// enter types a text into a field.
func (b *tab) enter(c control, text string) {
	b.t.Helper()
	b.press(c)
	b.do("type", func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.KeyEvent(text)(ctx, target)
		return err
	})
}

func newOperator(t *testing.T, h habits, user string) *tab {
	t.Helper()
	b := newBuyer(t, h)
	b.signIn(user, "secret")
	return b
}

func TestAnOperatorFindsABillAndCancelsIt(t *testing.T) {
	w := newWorld(t, consoleSite)
	for name, h := range map[string]habits{
		"phone": {device: phone, noScript: true},
		"desk":  {device: desk, noScript: true},
	} {
		t.Run(name, func(t *testing.T) {
			code := "O-CONSOLE-" + name
			b := w.checkout(order(code, "15000"), 201)
			siti := newOperator(t, h, "siti")
			siti.open(w.console("/"))
			siti.sees(`(?s)Open bills.*Success rate.*Signed in as siti`)
			siti.enter(searchBox, code)
			siti.press(findIt)
			siti.sees(`(?s)Bill of ` + code + `.*15,000.*The shop handed the order over.*The gateway made the payment`)
			siti.press(endsBill)
			siti.press(surely)
			siti.sees(`(?s)The bill has ended\..*Its end was asked for by an operator – by siti`)
			if now := w.bill(b.ID); now.Status != "CANCELED" {
				t.Errorf("the bill is %s", now.Status)
			}
			siti.press(listOfBills)
			siti.sees(`(?s)` + code + `.*cancelled`)
			for _, r := range siti.requests() {
				if r.host() != w.public && !strings.HasPrefix(r.URL, "data:") {
					t.Errorf("the console asks for %s", r.URL)
				}
			}
		})
	}
}

func TestTheConsoleShowsAPaymentThatTheGatewayFoundWhenAsked(t *testing.T) {
	w := prepareWorld(t, consoleSite, "")
	w.write(strings.Replace(worldConfig, "min_interval 1s", "min_interval 10m", 1), w.values) // nobody else asks
	w.start()
	b := w.checkout(order("O-ASKED", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/pay", `{"silent":true}`)
	siti := newOperator(t, habits{device: desk}, "siti")
	siti.open(w.console("/bills/" + b.ID))
	siti.press(asksGateway)
	siti.sees(`The gateway was asked`)
	w.awaitStatus(b.ID, "SUCCESS") // no webhook comes
	siti.open(w.console("/bills/" + b.ID))
	siti.sees(`(?s)The gateway says that it is paid.*→ paid`)
	siti.open(w.console("/"))
	siti.finds(thePaymentsC)
	siti.press(asTable)
	siti.sees(`(?s)From\s+Payments\s+.*UTC\s+1`)
	siti.press(thirtyDays)
	siti.sees(`(?s)The last 30 days.*Payments by day`)
	siti.press(stuckBills)
	siti.sees(`There is no such bill`)
}

// posted is what a browser sends along with a form from a page of the site.
var posted = []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"}

// as is the header of a user who is signed in.
func as(user string, headers ...string) []string {
	return append(headers, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":secret")))
}

var consoleToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

// token is that of the forms on a page, as a user sees it.
func (w *world) token(page, user string) string {
	w.t.Helper()
	found := consoleToken.FindSubmatch(w.must("GET", page, "", as(user)...).want(w.t, 200).body)
	if found == nil {
		w.t.Fatal("the page has no token")
	}
	return string(found[1])
}

func TestNoOtherSiteCancelsABillInAnOperatorsBrowser(t *testing.T) {
	w := newWorld(t, consoleSite)
	b := w.checkout(order("O-FORGED", "15000"), 201)
	page := w.console("/bills/" + b.ID)
	values := url.Values{"version": {fmt.Sprint(b.Version)}, "token": {w.token(page, "siti")}}

	// A page of another origin, on the same machine, that even holds the token.
	w.shop.serve(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(rw, `<!doctype html><html lang="en"><title>Win</title><link rel="icon" href="data:,"><form method="post" action="%s/cancel">
			<input type="hidden" name="version" value="%s"><input type="hidden" name="token" value="%s"><button>Win a prize</button></form></html>`,
			page, values.Get("version"), values.Get("token"))
	})
	siti := newOperator(t, habits{device: desk}, "siti")
	siti.excuse(`403 \(Forbidden\)`)
	siti.open(page)
	siti.sees(`What can be done`)
	siti.open("http://" + w.shop.address + "/")
	siti.press(control{"button", `^Win a prize$`})
	siti.sees(`did not come from this console`)

	for name, token := range map[string]string{"no token": "", "another user's token": w.token(page, "budi")} {
		values.Set("token", token)
		a := w.must("POST", page+"/cancel", values.Encode(), as("siti", posted...)...).want(t, 403)
		if !strings.Contains(string(a.body), "out of date") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	w.must("POST", page+"/cancel", values.Encode(), posted...).want(t, 401)
	if now := w.bill(b.ID); now.Status != "WAIT" || now.CancelRequested {
		t.Fatalf("it was cancelled: %+v", now)
	}
	values.Set("token", w.token(page, "budi"))
	w.must("POST", page+"/cancel", values.Encode(), as("budi", posted...)...).want(t, 303)
	if now := w.bill(b.ID); now.Status != "CANCELED" {
		t.Errorf("with his own token: %s", now.Status)
	}
}

// furnish fills the books so that every page has something to show.
func (w *world) furnish() map[string]string {
	w.t.Helper()
	pages := map[string]string{
		"console": "/", "console week": "/?range=7d", "console bills": "/bills?from=24h", "console none": "/bills?order=nobody",
		"console nobody": "/find?name=nobody", "console wrong": "/bills?from=yesterday",
		"console given up": "/notifications", "console told": "/notifications?state=all", "console orphans": "/orphans", "console all orphans": "/orphans?resolved=true",
	}
	for i := range 12 {
		b := w.checkout(order(fmt.Sprintf("O-2026-%04d", i), fmt.Sprintf("%d000", 15+7*i)), 201)
		if i%4 != 3 {
			w.control("POST", "/payments/"+b.ID+"/"+map[bool]string{true: "fail", false: "pay"}[i%4 == 2], "")
		}
	}
	for _, s := range scenes {
		pages["console "+s.name] = "/bills/" + w.stage(s).ID
	}
	pages["console paid twice"] = "/bills/" + w.paidTwice().ID
	pages["console paid late"] = "/bills/" + w.paidLate().ID
	w.webhook(appSecret, `{"tradeUuid":"4f9c1f6e-0000-4000-8000-2f6f4f1d8a11","billCode":"QB-77","orderCode":"O-UNKNOWN","status":"SUCCESS","payTime":"2026-11-26 10:00:00"}`).want(w.t, 404)
	hostile := w.checkout(`{"orderCode":"<b>O</b>\"'","amount":"1","description":"</script><img src=x>\u2067"}`, 201)
	pages["console hostile"] = "/bills/" + hostile.ID
	return pages
}

func furnished(t *testing.T) (*world, map[string]string) {
	t.Helper()
	w := newWorld(t, strings.Replace(consoleSite, "checkout /checkout", "checkout /checkout\n\t\tretry 1h\n\t\tnotify http://{{shop}}/told {\n\t\t\tsecret whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n\t\t}", 1))
	w.shop.serve(func(rw http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get("Webhook-Id"); id[len(id)-1] < '8' { // half of them are never taken
			rw.WriteHeader(http.StatusInternalServerError)
		}
	})
	return w, w.furnish()
}

func TestEveryPageOfTheConsole(t *testing.T) {
	w, pages := furnished(t)
	t.Run("is accessible in light and dark, on a phone and at a desk", func(t *testing.T) {
		for _, h := range []habits{{device: phone, noScript: true}, {device: desk, dark: true, noScript: true}} {
			siti := newOperator(t, h, "siti")
			siti.excuse(`(400|404) \(`)
			for name, page := range pages {
				siti.open(w.console(page))
				for _, v := range siti.audit() {
					t.Errorf("%s: %s", name, v)
				}
			}
		}
	})
	t.Run("needs no scrolling sideways", func(t *testing.T) {
		for device, h := range map[string]habits{
			"phone": {device: phone}, "phone, large letters": {device: phone, fontSize: 32}, "desk": {device: desk}, "desk at 400%": {device: desk.zoomed(4)},
		} {
			siti := newOperator(t, h, "siti")
			siti.excuse(`(400|404) \(`)
			for name, page := range pages {
				siti.open(w.console(page))
				if wide := siti.overflows(); wide != "" {
					t.Errorf("%s, %s: %.2000s", device, name, wide)
				}
			}
		}
	})
	t.Run("has nothing but its own elements", func(t *testing.T) {
		siti := newOperator(t, habits{device: desk}, "siti")
		siti.excuse(`(400|404) \(`)
		for name, page := range pages {
			siti.open(w.console(page))
			found := evaluate[string](siti, `[document.scripts.length, document.querySelectorAll("main").length, document.querySelectorAll("img, base, iframe, i").length,
				document.querySelector("main b:not(.figures b)") === null].join(" ")`)
			if found != "0 1 0 true" {
				t.Errorf("%s: %s", name, found)
			}
		}
	})
}

// TestTheConsoleInPictures takes the pictures of docs/console.md.
func TestTheConsoleInPictures(t *testing.T) {
	w, pages := furnished(t)
	siti := newOperator(t, habits{device: desk}, "siti")
	siti.open(w.console(pages["console"]))
	siti.finds(thePaymentsC)
	siti.keepPicture("console")
	siti.open(w.console(pages["console cancelling"]))
	siti.sees(`What happened`)
	siti.keepPicture("console bill")
}

func TestTheExampleOfAConsoleIsWalked(t *testing.T) {
	public := processtest.FreeAddress(t)
	w := prepareExample(t, "console", onLocalhost(t))
	w.env = append(w.env, "CONSOLE_PORT="+port(t, public), "CONSOLE_SANDBOX_PORT="+port(t, w.gateway), "CONSOLE_SHOP_PORT="+port(t, w.public), "CONSOLE_ADMIN="+w.admin)
	w.start()
	buyer := newBuyer(t, habits{device: desk})
	buyer.open("http://" + w.public + "/")
	buyer.press(control{"button", `^Buy$`})
	buyer.sees(saysWaiting)

	siti := newBuyer(t, habits{device: desk})
	siti.excuse(`401 \(Unauthorized\)`)
	console := "http://localhost:" + port(t, public)
	w.must("GET", console+"/", "").want(t, 401)
	siti.signIn("siti", "console")
	siti.open(console + "/")
	siti.sees(`Signed in as siti`)
	siti.press(listOfBills)
	siti.sees(`(?s)waiting for the buyer.*15,000`)
}
