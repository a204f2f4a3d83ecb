package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// operated is a shop on the page docs/operations.md: a gateway of its own, a
// shop that is told of its bills, and a store in a folder that a command names.
type operated struct {
	*world

	gateway *caddy
	deaf    atomic.Bool // the shop's endpoint answers 500
	told    atomic.Int64
	bell    string // where its shop is told
}

// operate starts one. The site's block is completed by how its shop is told.
func operatedShop(t *testing.T) *operated {
	t.Helper()
	o := new(operated)
	hook, err := standardwebhooks.NewWebhook(notifyKey)
	if err != nil {
		t.Fatal(err)
	}
	bell := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case o.deaf.Load():
			w.WriteHeader(http.StatusInternalServerError)
		case err != nil || hook.Verify(body, r.Header) != nil:
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(string(body), `"type":"bill.`):
			o.told.Add(1)
		}
	}))
	t.Cleanup(bell.Close)
	o.bell = bell.URL + "/told"
	site := strings.Replace(plainSite, "checkout /checkout", "checkout /checkout\n\t\tnotify "+o.bell+" {\n\t\t\tsecret "+notifyKey+"\n\t\t}", 1)
	o.world = prepareWorld(t, site, "")
	o.values["store"], o.values["mark"], o.values["secrets"], o.values["pause"] = "store", "1MiB", appSecret, "1s"
	o.configure()
	o.gateway = newCaddy(t, gatewayGlobal+gatewayConfig, o.values)
	o.gateway.start()
	o.start()
	return o
}

// configure writes the Caddyfile from the values.
func (o *operated) configure() {
	config := strings.NewReplacer(
		"\t\treconcile {", "\t\tstore badger {\n\t\t\tpath {{home}}/{{store}}\n\t\t}\n\t\tlimits {\n\t\t\tmin_free_space {{mark}}\n\t\t}\n\t\treconcile {",
		"app_secret "+appSecret, "app_secret {{secrets}}",
		"min_interval 1s", "min_interval {{pause}}",
	).Replace(siteConfig)
	o.write(config, o.values)
}

func (o *operated) reconfigure(name, value string) {
	o.t.Helper()
	o.values[name] = value
	o.configure()
	o.reloadIdle()
}

// sell checks an order out, and has the gateway say how it ends.
func (o *operated) sell(code, fate string) billJSON {
	o.t.Helper()
	b := o.checkout(order(code, "15000"), 201)
	if fate != "" {
		o.control("POST", "/payments/"+b.ID+"/"+fate, "{}")
		o.awaitStatus(b.ID, "SUCCESS")
	}
	return b
}

func TestTheOperatorsPagePaidButTheShopWasNotTold(t *testing.T) {
	page := openTranscript(t, "../docs/operations.md")
	o := operatedShop(t)
	o.deaf.Store(true)
	o.sell("O-1001", "pay")
	o.await("a try that failed", func() bool {
		return strings.Contains(string(o.operate("GET", "/qlink/bills/O-1001", "").body), `"status":500`)
	})
	page.play("Paid, but the shop was not told", o.caddy, map[string]func(){
		"the shop's endpoint works again": func() { o.deaf.Store(false) },
		"the notification is delivered":   func() { o.await("the notification", func() bool { return o.told.Load() == 1 && o.pending() == 0 }) },
	})
	if o.told.Load() != 1 {
		t.Errorf("the shop was told %d times", o.told.Load())
	}
}

// pending counts the notifications that are to be delivered.
func (o *operated) pending() int {
	o.t.Helper()
	return decode[struct{ Notifications struct{ Pending int } }](o.t, o.operate("GET", "/qlink/stats", "").want(o.t, 200).body).Notifications.Pending
}

func TestTheOperatorsPageTheGatewayWasDown(t *testing.T) {
	page := openTranscript(t, "../docs/operations.md")
	o := operatedShop(t)
	o.reconfigure("pause", "1m") // so that nobody but the page asks
	page.play("The gateway was down for an hour", o.caddy, map[string]func(){
		"the gateway is down, and people check out": func() {
			o.gateway.stop(syscall.SIGKILL)
			for n := range 5 {
				o.checkout(order(fmt.Sprintf("O-110%d", n+1), "15000"), 202)
			}
		},
		"the gateway is up again": func() {
			o.gateway.start()
			<-time.After(2 * time.Second) // until the youngest bill is older than what the page asks for
		},
	})
	orders := byOrder(ledgerOf(t, o.gateway).Payments)
	for code, payments := range orders {
		if len(payments) != 1 {
			t.Errorf("%d payments of %s at the gateway", len(payments), code)
		}
	}
	if len(orders) != 5 {
		t.Errorf("%d orders at the gateway", len(orders))
	}
}

func TestTheOperatorsPageASecretWasChanged(t *testing.T) {
	page := openTranscript(t, "../docs/operations.md")
	o := operatedShop(t)
	page.play("A secret was changed", o.caddy, map[string]func(){
		"QLink uses a new secret": func() {
			o.gateway.write(gatewayGlobal+strings.Replace(gatewayConfig, appSecret, "s3cr3t-anew", 1), o.values)
			if err := o.gateway.reload(); err != nil {
				t.Fatal(err)
			}
		},
		"both secrets are in the Caddyfile": func() {
			o.values["secrets"] = "s3cr3t-anew " + appSecret
			o.configure()
		},
	})
}

func TestTheOperatorsPageTheDiskFillsUp(t *testing.T) {
	page := openTranscript(t, "../docs/operations.md")
	o := operatedShop(t)
	open := o.sell("O-1003", "")
	page.play("The disk fills up", o.caddy, map[string]func(){
		"there is less room than that": func() { o.reconfigure("mark", "1EiB") },
		"a checkout is answered 503, a payment is taken": func() {
			o.wantNoOrders("O-1004")
			o.paid(open).want(t, 200)
		},
		"there is room again, and the next checkout is taken": func() {
			o.reconfigure("mark", "1MiB")
			o.sell("O-1004", "")
		},
	})
}

func TestTheOperatorsPageToAnotherMachine(t *testing.T) {
	page := openTranscript(t, "../docs/operations.md")
	o := operatedShop(t)
	o.sell("O-1001", "pay")
	open := o.sell("O-1005", "")
	page.play("To another machine", o.caddy, map[string]func(){
		"Caddy is stopped, and the backup copied to the new machine": func() { o.stop(syscall.SIGTERM) },
		"Caddy is started over the new store": func() {
			o.values["store"] = "new-store"
			o.configure()
			o.start()
		},
		"a checkout is answered 503": func() {
			o.wantNoOrders("O-1006")
			o.control("POST", "/payments/"+open.ID+"/pay", "{}")
			o.awaitStatus(open.ID, "SUCCESS")
		},
		"a checkout is taken": func() { o.sell("O-1006", "") },
	})
	if paid := o.checkout(order("O-1001", "15000"), 200); paid.Status != "SUCCESS" {
		t.Errorf("the order that was paid before the move is %s", paid.Status)
	}
}
