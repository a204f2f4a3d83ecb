package integration

import (
	"bytes"
	"fmt"
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

	own string // host:port of the shop itself
	log *processtest.Log
}

// shops are the ways to start them. Each gets what it needs to know by its
// environment.
var shops = map[string]func(t *testing.T, s *exampleShop, env []string){
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

func startShop(t *testing.T, language string) *exampleShop {
	t.Helper()
	config := "../examples/shops/Caddyfile"
	if language == "php" {
		config = "../examples/shops/php/Caddyfile"
	}
	public, gateway := processtest.FreeAddress(t), processtest.FreeAddress(t)
	w := &world{public: public, gateway: gateway, client: newClient(t)}
	w.caddy = newCaddy(t, "", nil)
	s := &exampleShop{world: w, own: processtest.FreeAddress(t)}
	w.config = config
	known := []string{
		"SHOP_PORT=" + port(t, s.own), "SHOP_SITE_PORT=" + port(t, public), "SHOP_SANDBOX_PORT=" + port(t, gateway),
		"SHOP_ADMIN=" + w.admin, "SHOP_DATABASE=" + filepath.Join(w.home, "books"),
	}
	w.env = append(w.env, known...)
	shops[language](t, s, slices.Concat(w.env, known))
	w.start()
	w.await("the shop", func() bool {
		a, err := w.do(w.request("GET", "/", ""))
		return err == nil && a.StatusCode == http.StatusOK
	})
	return s
}

// newBuyer begins a cart of its own.
func (s *exampleShop) newBuyer() {
	s.t.Helper()
	s.browser()
	s.must("GET", "/", "").want(s.t, 200)
}

// take changes how many coffees are in the cart.
func (s *exampleShop) take(quantity int, status int) {
	s.t.Helper()
	form := url.Values{"quantity": {fmt.Sprint(quantity)}}.Encode()
	s.must("POST", "/cart", form, "Content-Type", "application/x-www-form-urlencoded").want(s.t, status)
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

var ofOrder = regexp.MustCompile(`<p>Order [A-Z0-9a-z-]+: ([a-z, ]+)</p>`)

// stands is what the shop says of an order.
func (s *exampleShop) stands(b billJSON) string {
	s.t.Helper()
	page := s.must("GET", "/orders/"+b.OrderCode, "").want(s.t, 200)
	said := ofOrder.FindSubmatch(page.body)
	if said == nil {
		s.t.Fatalf("%s", page.body)
	}
	return string(said[1])
}

const (
	shopPaid    = "paid, thank you"
	shopWaiting = "waiting for the payment"
)

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

// Each shop of examples/shops, in its own language, over the same afternoon.
func TestEveryExampleShopIsPaidAndKnowsIt(t *testing.T) {
	for language := range shops {
		t.Run(language, func(t *testing.T) {
			s, whole := startShop(t, language), t
			for name, scene := range map[string]func(*testing.T, *exampleShop){
				"paid":                         shopIsPaid,
				"its webhook is lost":          shopIsPaidWithoutAWebhook,
				"cancelled and paid again":     shopIsPaidAfterACancel,
				"the cart changes in between":  shopIsPaidForTheNewCart,
				"the cart changes unpaid":      shopIsNotPaidForAnotherCart,
				"an old attempt is paid after": shopIsPaidByAnEarlierAttempt,
				"a stranger tells":             shopHeedsNoStranger,
			} {
				t.Run(name, func(t *testing.T) {
					s.t = t
					defer func() { s.t = whole }()
					scene(t, s)
				})
			}
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
	s.take(5, http.StatusSeeOther) // of a cart that is no more
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
	s.take(3, http.StatusSeeOther)
	second := s.checkOut()
	if second.OrderCode != first.OrderCode || second.Amount != "45000" || second.Attempt != 2 {
		t.Errorf("%+v", second)
	}
	if ended := s.awaitStatus(first.ID, "CANCELED"); ended.Attempt != 1 {
		t.Errorf("%+v", ended)
	}
	s.control("POST", "/payments/"+second.ID+"/pay", "")
	s.awaitPaid(second)
	for _, quantity := range []int{0, 100, -1} {
		s.take(quantity, http.StatusUnprocessableEntity)
	}
}

// Who fills the cart while he pays for what was in it gets nothing for that.
func shopIsNotPaidForAnotherCart(t *testing.T, s *exampleShop) {
	s.newBuyer()
	b := s.checkOut()
	s.take(9, http.StatusSeeOther)
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
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.own+"/notifications", bytes.NewBufferString(forged))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		a, err := s.do(req)
		if err != nil {
			t.Fatal(err)
		}
		a.want(t, http.StatusUnauthorized)
	}
	if stands := s.stands(b); stands != shopWaiting {
		t.Errorf("%s", stands)
	}
}
