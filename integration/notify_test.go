package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The shop's keys, of which the second is being retired.
const (
	notifyKey   = "whsec_bmV3LWtleS1vZi10aGUtc2hvcC0xMjM0NTY3ODkw"
	retiringKey = "whsec_b2xkLWtleS1vZi10aGUtc2hvcC0xMjM0NTY3ODkw"
)

// doorbell is a shop's endpoint for notifications. It takes nothing while it
// is shut, and nothing that Standard Webhooks' own library does not verify.
type doorbell struct {
	*httptest.Server

	t    *testing.T
	mu   sync.Mutex
	shut bool
	rang []ring // in order, those refused while shut included
}

type ring struct {
	id, kind, bill string
	taken          bool
	paid           bool
	payURL         string
}

func newDoorbell(t *testing.T) *doorbell {
	d := &doorbell{t: t}
	d.Server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

func (d *doorbell) serve(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		d.t.Error(err)
	}
	for _, key := range []string{notifyKey, retiringKey} {
		hook, err := standardwebhooks.NewWebhook(key)
		if err != nil {
			d.t.Error(err)
			return
		}
		if err := hook.Verify(payload, r.Header); err != nil {
			d.t.Errorf("not signed with %s: %v", key, err)
		}
	}
	var body struct {
		Type string
		Data struct {
			ID, PayURL string
			Order      struct{ Paid bool }
		}
	}
	if err := json.Unmarshal(payload, &body); err != nil {
		d.t.Error(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rang = append(d.rang, ring{
		id: r.Header.Get("Webhook-Id"), kind: body.Type, bill: body.Data.ID, taken: !d.shut,
		paid: body.Data.Order.Paid, payURL: body.Data.PayURL,
	})
	if d.shut {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *doorbell) setShut(shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = shut
}

// rings returns what came about a bill.
func (d *doorbell) rings(id string) (all, taken []ring) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.rang {
		if r.bill == id {
			all = append(all, r)
			if r.taken {
				taken = append(taken, r)
			}
		}
	}
	return all, taken
}

func notifiedSite(d *doorbell) string {
	return siteTelling(d.URL+"/notifications", notifyKey, retiringKey)
}

func TestTheShopIsToldHowEachOrderEnded(t *testing.T) {
	bell := newDoorbell(t)
	w := newWorld(t, notifiedSite(bell))
	for fate, kind := range map[string]string{"pay": "bill.paid", "fail": "bill.failed", "expire": "bill.expired", "cancel": "bill.canceled"} {
		b := w.checkout(order("O-"+fate, "15000"), 201)
		w.control("POST", "/payments/"+b.ID+"/"+fate, "")
		w.await("the notification of "+kind, func() bool { _, taken := bell.rings(b.ID); return len(taken) > 0 })
		if all, _ := bell.rings(b.ID); len(all) != 1 || all[0].kind != kind || all[0].paid != (fate == "pay") || all[0].payURL != b.PayURL {
			t.Errorf("%s: %+v", fate, all)
		}
	}
}

// story 13, story 15, story 17: the shop is closed, Caddy is killed, and the
// news comes all the same, under one id.
func TestANotificationSurvivesAShutShopAndAKilledCaddy(t *testing.T) {
	bell := newDoorbell(t)
	bell.setShut(true)
	w := newWorld(t, notifiedSite(bell))
	b := w.checkout(order("O-1", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	w.awaitStatus(b.ID, "SUCCESS")
	w.await("a refused try", func() bool { all, _ := bell.rings(b.ID); return len(all) > 0 })
	w.stop(syscall.SIGKILL)
	bell.setShut(false)
	w.start()
	w.await("the notification", func() bool { _, taken := bell.rings(b.ID); return len(taken) > 0 })
	all, taken := bell.rings(b.ID)
	if len(taken) != 1 || all[0].id != taken[0].id || taken[0].kind != "bill.paid" {
		t.Errorf("%+v", all)
	}
}

func TestTheQuickstartsShopLearnsOfAPaymentByItsNotification(t *testing.T) {
	q := startQuickstart(t)
	q.fillCart()
	b := decode[billJSON](t, q.must("POST", "/checkout", "", "Accept", "application/json").want(t, 201).body)
	q.control("POST", "/payments/"+b.ID+"/pay", "")
	books := filepath.Join(q.home, "data", "caddy", "qlink-quickstart-shop")
	q.await("the shop's books to say paid", func() bool { return strings.Contains(contents(t, books), b.ID) }) // nobody has opened the order's page
	page := q.must("GET", "/orders/"+b.OrderCode, "", "Accept", "application/json").want(t, 200)
	if !strings.Contains(string(page.body), `"paid":true`) {
		t.Errorf("%s", page.body)
	}
}

// siteTelling is the plain site with a URL that is told how bills end.
func siteTelling(url string, secrets ...string) string {
	const checkout = "\t\tcheckout /checkout\n"
	notify := "\t\tnotify " + url + " {\n\t\t\tsecret " + strings.Join(secrets, " ") + "\n\t\t}\n"
	return strings.Replace(plainSite, checkout, checkout+notify, 1)
}
