package caddyqlink

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-qlink/caddy-qlink/doctor"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// asked is a gateway that takes content as objects only and lists one channel,
// and what it was asked.
type asked struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
}

func newAsked(t *testing.T) *asked {
	t.Helper()
	a := new(asked)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.paths = append(a.paths, r.URL.Path)
		a.mu.Unlock()
		if qlink.Verify(qlink.ContentObject, r.Header.Get("appKey"), []string{"secret"}, body, r.Header.Get("sign")) != nil {
			http.Error(w, `{"success":false,"message":"sign error"}`, http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`[{"type":"PAY_TYPE","code":"ONLINE"},{"type":"PAY_CHANNEL","code":"QRIS"}]`))
	}))
	t.Cleanup(a.Close)
	return a
}

// examine runs the doctor of the running configuration.
func examine(t *testing.T, account, site string) map[doctor.Check]doctor.Finding {
	t.Helper()
	app, err := runningApp()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := app.examination(account, site)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[doctor.Check]doctor.Finding)
	doctor.Run(t.Context(), cfg, func(f doctor.Finding) {
		if had, ok := found[f.Check]; !ok || doctor.Worse(had.Status, f.Status) != had.Status {
			found[f.Check] = f
		}
	})
	return found
}

func wantFound(t *testing.T, found map[doctor.Check]doctor.Finding, c doctor.Check, s doctor.Status, words string) {
	t.Helper()
	if f := found[c]; f.Status != s || !strings.Contains(f.Finding+" "+f.Remedy, words) {
		t.Errorf("%s: %+v, want %s and %q", c, f, s, words)
	}
}

func TestTheDoctorExaminesTheRunningConfiguration(t *testing.T) {
	p, gateway := newProbe(t), newAsked(t)
	key := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	shop := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) // verifies nothing
	t.Cleanup(shop.Close)
	base := run(t, caddyfileOf("store probe "+probeName(t)+"\n\t\t"+strings.Replace(account, "http://127.0.0.1:9/pay", gateway.URL, 1),
		fmt.Sprintf("qlink {\n\t\tnotify %s {\n\t\t\tsecret %s\n\t\t}\n\t}", shop.URL, key)))
	before := p.committed.Load()
	found := examine(t, "default", base)
	wantFound(t, found, doctor.CheckStore, doctor.OK, "0 open bills")
	wantFound(t, found, doctor.CheckBacklog, doctor.OK, "")
	wantFound(t, found, doctor.CheckConfiguration, doctor.OK, "mode is test")
	wantFound(t, found, doctor.CheckSignature, doctor.Failed, "signature_content object.")
	wantFound(t, found, doctor.CheckAccountField, doctor.OK, "")
	wantFound(t, found, doctor.CheckWays, doctor.OK, "QRIS")
	wantFound(t, found, doctor.CheckShopSignature, doctor.Failed, "does not verify")
	wantFound(t, found, doctor.CheckWebhookAddress, doctor.OK, "QLink has to be told "+base+"/qlink/payNotification")
	if n := p.committed.Load() - before; n != 0 {
		t.Errorf("the doctor changed the store %d times", n)
	}
	gateway.mu.Lock()
	defer gateway.mu.Unlock()
	for _, path := range gateway.paths {
		if path != "/getPayStatus" && path != "/queryPayAccount" {
			t.Errorf("the doctor called %s", path)
		}
	}
}

func TestTheDoctorSeesWhatStandsBeforeTheWebhook(t *testing.T) {
	newProbe(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ site, words string }{
		"basic_auth": {"basic_auth {\n\t\tu " + string(hash) + "\n\t}\n\tqlink", "basic_auth"},
		"a matcher":  {"qlink /elsewhere/*\n\trespond shop", "matcher of qlink covers its prefix"},
		"a redirect": {"redir https://127.0.0.1:1{uri}\n\tqlink", "redirect"},
	} {
		base := run(t, caddyfileOf("store probe "+probeName(t)+"\n\t\t"+account, c.site))
		found := examine(t, "", base)
		t.Log(what)
		wantFound(t, found, doctor.CheckWebhookAddress, doctor.Failed, c.words)
		wantFound(t, found, doctor.CheckGateway, doctor.Failed, "cannot be reached") // nobody is at port 9
	}
}

func TestTheDoctorIsAskedOfWhatIsThereAlone(t *testing.T) {
	newProbe(t)
	run(t, siteOn(t))
	app, err := runningApp()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		account, site string
		status        int
	}{
		{"other", "", http.StatusNotFound},
		{"", "ftp://x", http.StatusBadRequest},
		{"", "https://u:p@x", http.StatusBadRequest},
		{"", "https://x/?q", http.StatusBadRequest},
	} {
		if _, err := app.examination(c.account, c.site); err == nil || operator.StatusOf(err) != c.status {
			t.Errorf("account %q, site %q: %v", c.account, c.site, err)
		}
	}
	rows := app.rows(context.Background())
	if len(rows) != 1 || rows[0].Name != "default" || rows[0].AppKey != "key" || rows[0].Error == "" || rows[0].TimeZone != "Asia/Shanghai" {
		t.Errorf("%+v", rows)
	}
	wantFound(t, examine(t, "", ""), doctor.CheckWebhookAddress, doctor.Skipped, "--site")
}

func TestASitesAddressIsToldByItsConfiguration(t *testing.T) {
	newProbe(t)
	app := "{\n\tadmin off\n\tpersist_config off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tlocal_certs\n\tdefault_bind 127.0.0.1\n\tqlink {\n\t\tstore probe " + probeName(t) + "\n\t\t" + account + "\n\t}\n}\n"
	for text, want := range map[string]doctor.Site{
		"http://shop.example.com:%d {\n\tqlink\n}":                                                      {Base: "http://shop.example.com:%d", Assumed: true},
		"https://a.example.com:%[1]d, https://b.example.com:%[1]d {\n\troute {\n\t\tqlink\n\t}\n}":      {Base: "https://a.example.com:%d", Assumed: true},
		"http://*.example.com:%d {\n\t@shop host shop.example.com\n\thandle @shop {\n\t\tqlink\n\t}\n}": {Base: "http://shop.example.com:%d", Assumed: true},
		"http://*.example.com:%d {\n\tqlink\n}":                                                         {},
		"http://:%d {\n\tqlink\n}":                                                                      {},
		"http://shop.example.com:%d {\n\tqlink {\n\t\tpublic_url https://pay.example.com/x/\n\t}\n}":    {Base: "https://pay.example.com/x"},
	} {
		port := freePort(t)
		if err := load(t, app+fmt.Sprintf(text, port)); err != nil {
			t.Fatal(err)
		}
		running, err := runningApp()
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := running.examination("", "")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(want.Base, "%d") {
			want.Base = fmt.Sprintf(want.Base, port)
		}
		want.Account, want.Prefix = "default", "/qlink"
		if len(cfg.Sites) != 1 || cfg.Sites[0] != want {
			t.Errorf("of %s it is told %+v, want %+v", text, cfg.Sites, want)
		}
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
