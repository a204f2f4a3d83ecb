package caddyqlink

import (
	"context"
	"crypto/tls"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A store with as many open bills as the limit allows makes every checkout
// that reaches us a 429.
func fullSite(t *testing.T, site string) string {
	t.Helper()
	newProbe(t).openBills.Store(1)
	return run(t, caddyfileOf("store probe "+probeName(t)+"\n\t\t"+account+"\n\t\tlimits {\n\t\t\topen_total 1\n\t\t}", site))
}

func TestEndpointsAndCheckoutsAreFoundBehindRewrites(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "index.html"), []byte("the single page"), 0o600); err != nil {
		t.Fatal(err)
	}
	type request struct {
		method, path string
		ours         bool
	}
	tests := map[string]struct {
		site     string
		requests []request
	}{
		"plain": {"qlink {\n\t\tcheckout /checkout /cart/*/pay\n\t}\n\trespond shop", []request{
			{"GET", "/qlink/bills/x", true},
			{"GET", "/qlink", true},
			{"GET", "/qlinks/bills/x", false},
			{"GET", "/", false},
			{"POST", "/checkout", true},
			{"POST", "/Checkout", true}, // Caddy's path matcher knows no case
			{"GET", "/checkout", false},
			{"POST", "/cart/7/pay", true},
			{"POST", "/cart/7/pay/more", false},
		}},
		"try_files": {"root " + root + "\n\ttry_files {path} /index.html\n\tqlink {\n\t\tcheckout /checkout\n\t}\n\tfile_server", []request{
			{"GET", "/qlink/bills/x", true},
			{"POST", "/checkout", true},
			{"GET", "/somewhere", false},
		}},
		"handle_path, named by the current path": {"handle_path /shop/* {\n\t\tqlink {\n\t\t\tcheckout /checkout\n\t\t}\n\t\trespond shop\n\t}\n\trespond other", []request{
			{"GET", "/shop/qlink/bills/x", true},
			{"POST", "/shop/checkout", true},
			{"GET", "/qlink/bills/x", false},
		}},
		"handle_path, named by the client's path": {"handle_path /shop/* {\n\t\tqlink {\n\t\t\tprefix /shop/qlink\n\t\t\tcheckout /shop/checkout\n\t\t}\n\t\trespond shop\n\t}", []request{
			{"GET", "/shop/qlink/bills/x", true},
			{"POST", "/shop/checkout", true},
			{"GET", "/shop/other", false},
		}},
		"a rewrite to us": {"rewrite /pay/* /qlink{uri}\n\tqlink\n\trespond shop", []request{
			{"GET", "/pay/" + someID, true},
			{"GET", "/other", false},
		}},
		"route": {"route {\n\t\ttry_files {path} /index.html\n\t\tqlink {\n\t\t\tcheckout /checkout\n\t\t}\n\t\trespond shop\n\t}", []request{
			{"GET", "/qlink/bills/x", true},
			{"POST", "/checkout", true},
		}},
		"a matcher": {"@ours path /payments/* /checkout\n\tqlink @ours {\n\t\tprefix /payments\n\t\tcheckout /checkout\n\t}\n\trespond shop", []request{
			{"GET", "/payments/bills/x", true},
			{"POST", "/checkout", true},
			{"GET", "/qlink/bills/x", false},
		}},
	}
	for name, test := range tests {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			base := fullSite(t, test.site)
			for _, r := range test.requests {
				got := ask(t, r.method, base+r.path)
				if got.ours() != r.ours {
					t.Errorf("%s %s answers %+v, want ours: %v", r.method, r.path, got, r.ours)
				}
				if r.ours && r.method == "POST" && got.status != http.StatusTooManyRequests {
					t.Errorf("%s is no checkout: %+v", r.path, got)
				}
			}
		})
	}
}

func TestPlaceholdersInCheckoutAreResolvedAtLoad(t *testing.T) {
	t.Setenv("QLINK_TEST_CHECKOUT", "/till")
	base := fullSite(t, "qlink {\n\t\tcheckout {env.QLINK_TEST_CHECKOUT}\n\t}\n\trespond shop")
	if got := ask(t, "POST", base+"/till"); !got.ours() {
		t.Errorf("it answers %+v", got)
	}
}

// prepared is a request as Caddy hands it to a handler: sent is the URL that
// the client asked for, now the path after rewrites.
func prepared(sent, now string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, sent, nil)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
	r.URL.Path, r.URL.RawPath = now, ""
	r.RequestURI = r.URL.RequestURI()
	return r
}

func TestTheBuyersAddressIsToldFromTheRequest(t *testing.T) {
	tests := map[string]struct {
		sent, now, prefix string
		trusted           bool
		header            http.Header
		want              string
	}{
		"as it came":                         {"http://shop.example:8080/checkout", "/checkout", "/qlink", false, nil, "http://shop.example:8080"},
		"over TLS":                           {"https://shop.example/checkout", "/checkout", "/qlink", false, nil, "https://shop.example"},
		"rewritten by try_files":             {"https://shop.example/checkout", "/index.html", "/qlink", false, nil, "https://shop.example"},
		"stripped by handle_path":            {"https://shop.example/store/checkout", "/checkout", "/qlink", false, nil, "https://shop.example/store"},
		"stripped, prefix names all of it":   {"https://shop.example/store/checkout", "/checkout", "/store/qlink", false, nil, "https://shop.example"},
		"anybody may say anything":           {"http://shop.example/", "/", "/qlink", false, http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example"}}, "http://shop.example"},
		"a trusted proxy is believed":        {"http://10.0.0.1/", "/", "/qlink", true, http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example, shop.example:8443"}}, "https://shop.example:8443"},
		"a trusted proxy that says nonsense": {"http://10.0.0.1/", "/", "/qlink", true, http.Header{"X-Forwarded-Proto": {"gopher"}, "X-Forwarded-Host": {"a b/c"}}, "http://10.0.0.1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := prepared(test.sent, test.now)
			if strings.HasPrefix(test.sent, "https:") {
				r.TLS = new(tls.ConnectionState)
			}
			caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, test.trusted)
			caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.7")
			maps.Copy(r.Header, test.header)
			h := &Handler{prefix: test.prefix}
			if got := h.baseURL(r); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := clientIP(r); got != "192.0.2.7" {
				t.Errorf("the client is %s", got)
			}
		})
	}
}

func TestASignatureCoversWhatTheClientSentWhateverRewritesMadeOfIt(t *testing.T) {
	r := prepared("http://shop.example/shop/qlink/orders/A%2F1?x=%20y", "/qlink/orders/A/1")
	if got := sentURI(r); got != "http://shop.example/shop/qlink/orders/A%2F1?x=%20y" && got != "/shop/qlink/orders/A%2F1?x=%20y" {
		t.Errorf("got %s", got)
	}
}

func TestAnEncodedSlashStaysEncodedForTheEndpoints(t *testing.T) {
	u, err := url.Parse("http://shop.example/qlink/orders/A%2F1")
	if err != nil {
		t.Fatal(err)
	}
	if path, ok := under("/qlink", u); !ok || path != "/orders/A%2F1" {
		t.Errorf("got %q, %v", path, ok)
	}
}

func TestWhatComesNextGetsTheVeryRequestThatCaddysPlaceholdersAreBoundTo(t *testing.T) {
	// uri is rewritten after us, and the placeholder has to see it.
	base := run(t, caddyfileOf("store memory\n\t\t"+account,
		"route {\n\t\tqlink {\n\t\t\tcheckout /checkout\n\t\t}\n\t\trewrite /checkout /rewritten\n\t\trespond {path}\n\t}"))
	if got := ask(t, "POST", base+"/checkout"); got.body != "/rewritten" {
		t.Errorf("it answers %+v", got)
	}
}

func TestAMatcherThatKeepsEndpointsAwayIsNoticed(t *testing.T) {
	for paths, want := range map[string]bool{
		`["/qlink/*"]`:                        true,
		`["/QLink/*","/checkout"]`:            true,
		`["*"]`:                               true,
		`["/checkout"]`:                       false,
		`["/qlink/bills/*"]`:                  false,
		`["/qlink/pay*"]`:                     false,
		`["/qlink/bills*","/qlink/p*","/q*"]`: true,
		`["{env.UNKNOWABLE}"]`:                true,
	} {
		if got := covers([]byte(paths), "/qlink"); got != want {
			t.Errorf("%s: got %v", paths, got)
		}
	}
}

func TestLongPollsEndWithTheirServerOrElseWithTheirHandler(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	d := newDrain(ctx)
	select {
	case <-d.started:
		t.Error("it drains from the first")
	default:
	}
	d.start()
	d.start()
	<-d.started
	new(Handler).drain.start() // Cleanup of what was never provisioned
}
