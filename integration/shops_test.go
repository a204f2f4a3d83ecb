package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// exampleShop is one of examples/shops as it stands, on free ports, behind the
// Caddy of its example, with a buyer.
type exampleShop struct {
	*world

	front storefront
	own   string // host:port of the shop itself
	log   *processtest.Log
}

// storefront is how a buyer uses a shop, up to the checkout and after it.
type storefront interface {
	open() bool               // for business
	enter()                   // a buyer, who begins a cart with one coffee in it
	take(quantity int)        // so many coffees, in the place of those in the cart
	stands(b billJSON) string // shopPaid or shopWaiting
}

// starter runs a shop, which gets what it needs to know by its environment.
type starter func(t *testing.T, s *exampleShop, env []string)

// shops are those of one file.
var shops = map[string]starter{
	"go": func(t *testing.T, s *exampleShop, env []string) {
		built := filepath.Join(t.TempDir(), "shop")
		if out, err := exec.Command("go", "build", "-o", built, "../examples/shops/go").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s.run(t, env, built)
	},
	"node": func(t *testing.T, s *exampleShop, env []string) {
		s.run(t, env, "node", "../examples/shops/node/shop.js")
	},
	"python": func(t *testing.T, s *exampleShop, env []string) {
		s.run(t, env, "python3", "-B", "../examples/shops/python/shop.py")
	},
	"php": runPHP,
}

// runPHP runs php-fpm by the example's configuration, at another address.
func runPHP(t *testing.T, s *exampleShop, env []string) {
	programs, err := filepath.Glob("/usr/sbin/php-fpm*")
	if err != nil || len(programs) == 0 {
		t.Fatalf("php-fpm is not installed: %v", err)
	}
	text, err := os.ReadFile("../examples/shops/php/php-fpm.conf")
	if err != nil {
		t.Fatal(err)
	}
	fastcgi := processtest.FreeAddress(t)
	config := strings.Replace(string(text), "127.0.0.1:8098", fastcgi, 1)
	var asRoot []string
	if os.Geteuid() == 0 {
		asRoot = []string{"--allow-to-run-as-root"}
		config += "user = root\n"
	}
	path := filepath.Join(t.TempDir(), "php-fpm.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../examples/shops/php/public")
	if err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "SHOP_FASTCGI="+fastcgi, "SHOP_ROOT="+root)
	s.run(t, env, programs[len(programs)-1], append(asRoot, "--nodaemonize", "--fpm-config", path)...)
}

// run starts the shop's process.
func (s *exampleShop) run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	s.log = program(t, env, name, args...)
}

// startShop starts the shop of a folder, with its Caddy: that of the folder, or
// the one of all.
func startShop(t *testing.T, folder string, run starter) *exampleShop {
	t.Helper()
	config := "../examples/shops/" + folder + "/Caddyfile"
	if _, err := os.Stat(config); errors.Is(err, fs.ErrNotExist) {
		config = "../examples/shops/Caddyfile"
	}
	public, gateway := processtest.FreeAddress(t), processtest.FreeAddress(t)
	w := &world{public: public, gateway: gateway, client: newClient(t)}
	w.caddy = newCaddy(t, "", nil)
	s := &exampleShop{world: w, own: processtest.FreeAddress(t)}
	s.front = ownPages{s}
	w.config = config
	known := []string{
		"SHOP_PORT=" + port(t, s.own), "SHOP_SITE_PORT=" + port(t, public), "SHOP_SANDBOX_PORT=" + port(t, gateway),
		"SHOP_ADMIN=" + w.admin, "SHOP_DATABASE=" + filepath.Join(w.home, "books"),
	}
	w.env = append(w.env, known...)
	run(t, s, slices.Concat(w.env, known))
	w.start()
	w.await("the shop", s.front.open)
	return s
}

// newBuyer begins a cart of its own.
func (s *exampleShop) newBuyer() {
	s.t.Helper()
	s.browser()
	s.front.enter()
}

// take changes how many coffees are in the cart.
func (s *exampleShop) take(quantity int) {
	s.t.Helper()
	s.front.take(quantity)
}

// stands is what the shop says of an order.
func (s *exampleShop) stands(b billJSON) string {
	s.t.Helper()
	return s.front.stands(b)
}

// checkOut goes to the payment as a browser does.
func (s *exampleShop) checkOut() billJSON {
	s.t.Helper()
	location, err := s.must("POST", "/checkout", "", "Accept", "text/html").want(s.t, http.StatusSeeOther).Location()
	if err != nil {
		s.t.Fatal(err)
	}
	s.must("GET", location.Path, "", "Accept", "text/html").want(s.t, 200)
	return s.bill(location.Path[strings.LastIndex(location.Path, "/")+1:])
}

// tell posts a notification to the shop's own address.
func (s *exampleShop) tell(body string, header ...string) answer {
	s.t.Helper()
	return s.must("POST", "http://"+s.own+"/notifications", body, header...)
}

const (
	shopPaid    = "paid, thank you"
	shopWaiting = "waiting for the payment"
)

// ownPages are the pages that the shops of one file have.
type ownPages struct{ *exampleShop }

func (p ownPages) open() bool {
	a, err := p.do(p.request("GET", "/", ""))
	return err == nil && a.StatusCode == http.StatusOK
}

func (p ownPages) enter() { p.must("GET", "/", "").want(p.t, 200) }

func (p ownPages) take(quantity int) { p.order(quantity).want(p.t, http.StatusSeeOther) }

func (p ownPages) order(quantity int) answer {
	form := url.Values{"quantity": {fmt.Sprint(quantity)}}.Encode()
	return p.must("POST", "/cart", form, "Content-Type", "application/x-www-form-urlencoded")
}

var ofOrder = regexp.MustCompile(`<p>Order [A-Z0-9a-z-]+: ([a-z, ]+)</p>`)

func (p ownPages) stands(b billJSON) string {
	page := p.must("GET", "/orders/"+b.OrderCode, "").want(p.t, 200)
	said := ofOrder.FindSubmatch(page.body)
	if said == nil {
		p.t.Fatalf("%s", page.body)
	}
	return string(said[1])
}

func (s *exampleShop) awaitPaid(b billJSON) {
	s.t.Helper()
	s.await("the shop to know of the payment", func() bool { return s.stands(b) == shopPaid })
}

// awaitTold waits until the shop has taken what it was told of a bill.
func (s *exampleShop) awaitTold(b billJSON) {
	s.t.Helper()
	s.await("the shop to be told", func() bool {
		out, err := s.caddy.run("qlink", "bills", "--untold", "--order", b.OrderCode, "--json", "--address", s.admin)
		return err == nil && strings.TrimSpace(out) == ""
	})
}

// shopScenes are what a shop goes through.
type shopScenes map[string]func(*testing.T, *exampleShop)

// afternoon is that of every shop.
var afternoon = shopScenes{
	"paid":                         shopIsPaid,
	"its webhook is lost":          shopIsPaidWithoutAWebhook,
	"cancelled and paid again":     shopIsPaidAfterACancel,
	"the cart changes in between":  shopIsPaidForTheNewCart,
	"the cart changes unpaid":      shopIsNotPaidForAnotherCart,
	"an old attempt is paid after": shopIsPaidByAnEarlierAttempt,
	"a stranger tells":             shopHeedsNoStranger,
}

func (s *exampleShop) goThrough(t *testing.T, all shopScenes) {
	defer func() { s.t = t }()
	for name, scene := range all {
		t.Run(name, func(t *testing.T) {
			s.t = t
			scene(t, s)
		})
	}
}

// Each shop of one file, in its own language, over the same afternoon.
func TestEveryExampleShopIsPaidAndKnowsIt(t *testing.T) {
	for language, run := range shops {
		t.Run(language, func(t *testing.T) {
			s := startShop(t, language, run)
			s.goThrough(t, afternoon)
			s.goThrough(t, shopScenes{"a cart of nonsense": shopHasNoSuchCart})
		})
	}
}

func shopIsPaid(t *testing.T, s *exampleShop) {
	s.newBuyer()
	b := s.checkOut()
	if again := s.checkOut(); again.ID != b.ID {
		t.Errorf("a double click made a second bill: %+v", again)
	}
	if b.Amount != "15000" || s.stands(b) != shopWaiting {
		t.Errorf("%+v; %s", b, s.stands(b))
	}
	s.control("POST", "/payments/"+b.ID+"/pay", "")
	s.awaitPaid(b)
	s.take(5) // of a cart that is no more
	if stands := s.stands(b); stands != shopPaid {
		t.Errorf("after a look at the cart: %s", stands)
	}
}

func shopIsPaidWithoutAWebhook(t *testing.T, s *exampleShop) {
	s.newBuyer()
	b := s.checkOut()
	s.control("POST", "/payments/"+b.ID+"/pay", `{"silent":true}`)
	s.awaitPaid(b)
	if paid := s.bill(b.ID); paid.SettledBy != "query" {
		t.Errorf("%+v", paid)
	}
}

func shopIsPaidAfterACancel(t *testing.T, s *exampleShop) {
	s.newBuyer()
	first := s.checkOut()
	s.must("POST", "/qlink/bills/"+first.ID+"/cancel", "", "Sec-Fetch-Site", "same-origin").want(t, 200)
	s.awaitTold(first)
	if stands := s.stands(first); stands != shopWaiting {
		t.Errorf("cancelled: %s", stands)
	}
	second := s.checkOut()
	if second.OrderCode != first.OrderCode || second.Attempt != 2 {
		t.Errorf("%+v", second)
	}
	s.control("POST", "/payments/"+second.ID+"/pay", "")
	s.awaitPaid(second)
}

func shopIsPaidForTheNewCart(t *testing.T, s *exampleShop) {
	s.newBuyer()
	first := s.checkOut()
	s.take(3)
	second := s.checkOut()
	if second.OrderCode != first.OrderCode || second.Amount != "45000" || second.Attempt != 2 {
		t.Errorf("%+v", second)
	}
	if ended := s.awaitStatus(first.ID, "CANCELED"); ended.Attempt != 1 {
		t.Errorf("%+v", ended)
	}
	s.control("POST", "/payments/"+second.ID+"/pay", "")
	s.awaitPaid(second)
}

func shopHasNoSuchCart(t *testing.T, s *exampleShop) {
	s.newBuyer()
	for _, quantity := range []int{0, 100, -1} {
		ownPages{s}.order(quantity).want(t, http.StatusUnprocessableEntity)
	}
}

// Who fills the cart while he pays for what was in it gets nothing for that.
func shopIsNotPaidForAnotherCart(t *testing.T, s *exampleShop) {
	s.newBuyer()
	b := s.checkOut()
	s.take(9)
	s.control("POST", "/payments/"+b.ID+"/pay", "")
	s.awaitStatus(b.ID, "SUCCESS")
	s.awaitTold(b)
	if stands := s.stands(b); stands != shopWaiting {
		t.Errorf("15000 for nine coffees: %s", stands)
	}
	s.await("a word in the shop's log", func() bool { return strings.Contains(s.log.String(), "to be looked at") })
}

// A picture of a code that was cancelled is paid: the order is, once.
func shopIsPaidByAnEarlierAttempt(t *testing.T, s *exampleShop) {
	s.newBuyer()
	first := s.checkOut()
	s.must("POST", "/qlink/bills/"+first.ID+"/cancel", "", "Sec-Fetch-Site", "same-origin").want(t, 200)
	second := s.checkOut()
	s.control("POST", "/payments/"+first.ID+"/pay", "")
	s.awaitPaid(first)
	s.awaitStatus(second.ID, "CANCELED")
	s.awaitTold(second) // of the other attempt's end, when the order is paid
	if stands := s.stands(second); stands != shopPaid {
		t.Errorf("%s", stands)
	}
}

func shopHeedsNoStranger(t *testing.T, s *exampleShop) {
	s.newBuyer()
	b := s.checkOut()
	forged := fmt.Sprintf(`{"type":"bill.paid","timestamp":"2026-11-22T10:00:00Z","data":{"id":%q,"orderCode":%q,"status":"SUCCESS","amount":"15000","currency":"IDR","order":{"paid":true,"paidBill":%[1]q}}}`,
		b.ID, b.OrderCode)
	s.must("POST", "/notifications", forged, "Content-Type", "application/json").want(t, http.StatusNotFound)
	for _, header := range [][]string{
		nil,
		{"Webhook-Id", "msg_1", "Webhook-Timestamp", "1795000000", "Webhook-Signature", "v1,AAAA"},
		{"Webhook-Id", "msg_1", "Webhook-Timestamp", "none", "Webhook-Signature", ""},
	} {
		s.tell(forged, header...).want(t, http.StatusUnauthorized)
	}
	if stands := s.stands(b); stands != shopWaiting {
		t.Errorf("%s", stands)
	}
}
