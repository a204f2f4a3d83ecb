package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// keys are the three secrets that somebody shares with the module.
type keys struct{ app, api, notify string }

var (
	oldKeys = keys{appSecret, "the-former-api-secret-of-the-tests", retiringKey}
	newKeys = keys{"s3cr3t-anew", "the-coming-api-secret-of-the-tests", notifyKey}
)

// rotation is a site whose secrets change under traffic, and all who share
// them.
type rotation struct {
	*world

	inUse   atomic.Pointer[keys] // by the shop and by the gateway's webhooks
	gateway *turnstile
	bell    *strictBell
	bought  atomic.Int64
}

func newRotation(t *testing.T) *rotation {
	w := prepareWorld(t, "", "")
	r := &rotation{world: w, gateway: newTurnstile(t, w.gateway), bell: newStrictBell(t)}
	r.use(oldKeys)
	r.configure(oldKeys)
	simulator := newCaddy(t, "{\n\tadmin {{admin}}\n\tauto_https off\n}\n"+gatewayConfig, w.values)
	simulator.start() // a process of its own, which nobody reloads
	w.start()
	return r
}

// use makes shop and gateway sign, and check, with these.
func (r *rotation) use(k keys) {
	r.inUse.Store(&k)
	r.bell.key.Store(&k.notify)
}

// configure gives the module these secrets, the first of which is to sign.
func (r *rotation) configure(all ...keys) {
	var app, api, notify []string
	for _, k := range all {
		app, api, notify = append(app, k.app), append(api, k.api), append(notify, k.notify)
	}
	r.values["site"] = strings.NewReplacer(
		"secret "+apiSecret, "secret "+strings.Join(api, " "),
		"{{shop}}", r.shop.address,
		"checkout /checkout", "checkout /checkout\n\t\tnotify "+r.bell.URL+" {\n\t\t\tsecret "+strings.Join(notify, " ")+"\n\t\t}",
	).Replace(plainSite)
	config := strings.Replace(siteConfig, "app_secret s3cr3t-test", "app_secret "+strings.Join(app, " "), 1)
	r.write(strings.Replace(config, "{{gateway}}", r.gateway.Listener.Addr().String(), 1), r.values)
}

// reconfigure does so while requests go on.
func (r *rotation) reconfigure(all ...keys) {
	r.t.Helper()
	r.configure(all...)
	if err := r.reload(); err != nil {
		r.t.Fatal(err)
	}
}

// buy creates a bill with a signed order and settles it by a webhook, each
// signed with what is in use.
func (r *rotation) buy(code string) bool {
	body, k := order(code, "15000"), *r.inUse.Load()
	created := r.insist(func() *http.Request { return signedWith(k.api, r.request("POST", "/qlink/bills", body), body) })
	if created.StatusCode != http.StatusCreated {
		r.t.Errorf("order %s: %d %s", code, created.StatusCode, created.body)
		return false
	}
	notification := fmt.Sprintf(`{"tradeUuid":%q,"status":"SUCCESS"}`, decode[billJSON](r.t, created.body).ID)
	settled := r.insist(func() *http.Request {
		return r.request("POST", "/qlink/payNotification", notification, "appKey", appKey, "sign", signOf(notification, k.app))
	})
	if settled.StatusCode != http.StatusOK {
		r.t.Errorf("webhook of %s: %d %s", code, settled.StatusCode, settled.body)
		return false
	}
	r.bought.Add(1)
	return true
}

// letPass waits until as many more orders were paid, and the shop has been told
// of all that were paid before.
func (r *rotation) letPass(orders int64) {
	r.t.Helper()
	paid := r.bought.Load()
	r.await("orders to be paid", func() bool { return r.t.Failed() || r.bought.Load() >= paid+orders })
	r.await("the shop to be told", func() bool { return r.t.Failed() || r.bell.rung.Load() >= paid })
}

// turnstile is a gateway that knows both secrets: it lets calls signed with
// either through to the simulated one, which knows the old alone.
type turnstile struct {
	*httptest.Server

	mu      sync.Mutex
	signers map[string]string // the secret of each body's sign
}

func newTurnstile(t *testing.T, simulator string) *turnstile {
	g := &turnstile{signers: make(map[string]string)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller has gone
		}
		for _, secret := range []string{oldKeys.app, newKeys.app} {
			if qlink.Verify(qlink.ContentString, appKey, []string{secret}, body, r.Header.Get("sign")) == nil {
				g.remember(string(body), secret)
			}
		}
		onwards, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+simulator+r.URL.Path, strings.NewReader(string(body)))
		if err != nil {
			t.Error(err)
			return
		}
		onwards.Header = r.Header.Clone()
		onwards.Header.Set("sign", signOf(string(body), oldKeys.app))
		resp, err := http.DefaultClient.Do(onwards)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body) // the caller may have gone
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *turnstile) remember(body, secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.signers[body] = secret
}

// signerOf returns the secret of the call of /apply for an order.
func (g *turnstile) signerOf(code string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for body, secret := range g.signers {
		if strings.Contains(body, `"`+code+`"`) {
			return secret
		}
	}
	return ""
}

// strictBell is a shop's endpoint that knows one key at a time.
type strictBell struct {
	*httptest.Server

	key  atomic.Pointer[string]
	rung atomic.Int64
}

func newStrictBell(t *testing.T) *strictBell {
	b := new(strictBell)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller has gone, and comes again
		}
		hook, err := standardwebhooks.NewWebhook(*b.key.Load())
		if err == nil {
			err = hook.Verify(payload, r.Header)
		}
		if err != nil {
			t.Errorf("the shop does not verify %s: %v", r.Header.Get("Webhook-Id"), err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		b.rung.Add(1)
	}))
	t.Cleanup(b.Close)
	return b
}

func TestSecretsRotateUnderTrafficWithoutAGap(t *testing.T) {
	r := newRotation(t)
	ctx, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	defer traffic.Wait()
	defer stop()
	for worker := range 2 {
		traffic.Go(func() {
			for n := 0; ctx.Err() == nil && r.buy(fmt.Sprintf("O-%d-%d", worker, n)); n++ {
			}
		})
	}
	const some = 20
	r.letPass(some)

	r.reconfigure(newKeys, oldKeys)
	r.letPass(some) // everybody else goes on with the old
	if !r.buy("O-BOTH") || r.gateway.signerOf("O-BOTH") != newKeys.app {
		t.Errorf("with both configured, calls to the gateway are signed with %q", r.gateway.signerOf("O-BOTH"))
	}
	r.use(newKeys)
	r.letPass(some) // everybody else has changed

	r.reconfigure(newKeys)
	r.letPass(some)
	stop()
	traffic.Wait()

	body := order("O-LATE", "1")
	late, err := r.do(signedWith(oldKeys.api, r.request("POST", "/qlink/bills", body), body))
	if err != nil || late.StatusCode != http.StatusUnauthorized {
		t.Errorf("an order signed with what was retired: %v, %v", late.StatusCode, err)
	}
	r.webhook(oldKeys.app, `{"tradeUuid":"x","status":"SUCCESS"}`).want(t, http.StatusUnauthorized)
}
