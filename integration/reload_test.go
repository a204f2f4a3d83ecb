package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// insist sends a request until there is an answer. At a reload Caddy closes
// the old listening socket together with what waits in its queue: a site
// without this module loses the same few connections in a hundred, and every
// client that matters sends again.
func (w *world) insist(request func() *http.Request) answer {
	var a answer
	var err error
	for range 50 {
		if a, err = w.do(request()); err == nil {
			return a
		}
	}
	w.t.Errorf("no answer at all: %v", err)
	return answer{Response: new(http.Response)}
}

func TestAFailedReloadLeavesTheOldConfigurationServing(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-1", "15000"), 201)
	occupied := processtest.FreeAddress(t)
	blocker := listen(t, occupied)
	for name, broken := range map[string]string{
		"unknown option":     strings.Replace(worldConfig, "timeout {{timeout}}", "tiemout 2s", 1),
		"bad value":          strings.Replace(worldConfig, "currency IDR", "currency RUPIAH", 1),
		"unset secret":       strings.Replace(worldConfig, "app_secret s3cr3t-test", "app_secret {env.NOBODY_SET_THIS}", 1),
		"unknown account":    strings.Replace(worldConfig, "{{site}}", "\tqlink {\n\t\taccount missing\n\t}\n", 1),
		"another app fails":  worldConfig + "\nhttp://" + occupied + " {\n\tbind 127.0.0.1\n\trespond hello\n}\n",
		"store is elsewhere": strings.Replace(worldConfig, "account {", "store badger {\n\t\t\tpath {{home}}/elsewhere\n\t\t}\n\t\taccount {", 1),
	} {
		t.Run(name, func(t *testing.T) {
			w.write(broken, w.values)
			if err := w.reload(); err == nil {
				t.Error("the configuration was taken")
			}
			again := w.insist(func() *http.Request { return w.request("GET", "/qlink/bills/"+b.ID, "") })
			if after := decode[billJSON](t, again.want(t, 200).body); after != b {
				t.Errorf("%+v, before %+v", after, b)
			}
			w.write(worldConfig, w.values)
			code := "O-" + strings.ReplaceAll(name, " ", "-")
			w.shop.lay(order(code, "1"))
			created := w.insist(func() *http.Request { return w.request("POST", "/checkout", "") })
			if b := decode[billJSON](t, created.body); b.OrderCode != code || b.Status != "WAIT" {
				t.Errorf("no new payment can be made: %s", created.body)
			}
		})
	}
	if err := blocker.Close(); err != nil {
		t.Error(err)
	}
	if err := w.reload(); err != nil {
		t.Errorf("the good one afterwards: %v", err)
	}
}

// story 38
func TestValidateAndAdaptBesideTheLiveServerTouchNothing(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-1", "15000"), 201)
	// The live server's witness comes and is replaced beside this test.
	listed := func() string {
		return strings.ReplaceAll(files(t, w.home), filepath.Join(w.home, "data", "caddy", "qlink", "witness.new")+"\n", "")
	}
	w.await("the store's witness", func() bool { return strings.Contains(files(t, w.home), "/witness\n") })
	before := listed()
	for _, command := range []string{"validate", "adapt"} {
		if out, err := w.run(command, "--config", w.config, "--adapter", "caddyfile"); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
	if after := listed(); after != before {
		t.Errorf("files before:\n%s\nafter:\n%s", before, after)
	}
	elsewhere := newCaddy(t, strings.ReplaceAll(worldConfig, "account {", "store badger {\n\t\t\tpath {{home}}/new/store\n\t\t}\n\t\taccount {"), w.values)
	if out, err := elsewhere.run("validate", "--config", elsewhere.config, "--adapter", "caddyfile"); err != nil {
		t.Errorf("validate: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(elsewhere.home, "new")); !os.IsNotExist(err) {
		t.Errorf("validate left the store's folder: %v", err)
	}
	if after := w.bill(b.ID); after != b {
		t.Errorf("%+v", after)
	}
}

// story 25
func TestSecretsGivenAsPlaceholdersStandNowhere(t *testing.T) {
	const gatewaySecret, shopSecret = "canary-of-the-gateway-9f3a", "canary-of-the-shop-77c1"
	secret := filepath.Join(t.TempDir(), "api-secret")
	if err := os.WriteFile(secret, []byte(shopSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	w := prepareWorld(t, strings.ReplaceAll(plainSite, apiSecret, "{file."+secret+"}"), "")
	config := strings.ReplaceAll(worldConfig, "s3cr3t-test", "{env.GATEWAY_SECRET}")
	w.write(strings.Replace(config, "admin {{admin}}\n", "admin {{admin}}\n\tdebug\n", 1), w.values)
	w.env = append(w.env, "GATEWAY_SECRET="+gatewaySecret)
	w.start()
	b := w.checkout(order("O-1", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	w.awaitStatus(b.ID, "SUCCESS")
	w.must("POST", "/qlink/bills", "{}", "QLink-Signature", "t=1,v1=00").want(t, 401)
	w.webhook("wrong", `{"tradeUuid":"x","status":"SUCCESS"}`).want(t, 401)
	w.control("POST", "/faults", `{"operation":"apply","fault":"status","status":503,"body":"down"}`)
	w.checkout(order("O-2", "15000"), 202)
	places := map[string]string{
		"GET /config/": string(w.must("GET", "http://"+w.admin+"/config/", "").body),
		"the log":      w.log.String(),
		"the files":    contents(t, w.home),
	}
	if out, err := w.run("adapt", "--config", w.config, "--adapter", "caddyfile"); err == nil {
		places["caddy adapt"] = out
	}
	for place, text := range places {
		for _, secret := range []string{gatewaySecret, shopSecret} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds the secret %s", place, secret)
			}
		}
	}
}
