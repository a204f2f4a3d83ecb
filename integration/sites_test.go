package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/fcgi"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// Sites as people have them: around the module, rewrites, prefixes, route
// blocks, passwords and compression.
func TestCheckoutAndEndpointsWorkInSitesAsPeopleHaveThem(t *testing.T) {
	for name, site := range map[string]string{
		"single-page shop": `	root * {{home}}/spa
	qlink {
		checkout /api/checkout
	}
	@api path /api/*
	reverse_proxy @api {{shop}}
	try_files {path} /index.html
	file_server`,
		"handle_path": `	handle_path /api/* {
		qlink {
			checkout /api/checkout
			prefix /api/qlink
		}
		reverse_proxy {{shop}}
	}`,
		"route": `	route {
		qlink {
			checkout /api/checkout
		}
		reverse_proxy {{shop}}
	}`,
		"handle": `	handle /api/* {
		qlink {
			checkout /api/checkout
			prefix /api/qlink
		}
		reverse_proxy {{shop}}
	}`,
		"encode": `	encode gzip zstd
	qlink {
		checkout /api/checkout
	}
	reverse_proxy {{shop}}`,
		"rewrite": `	rewrite /api/checkout /cart/checkout
	qlink {
		checkout /api/checkout
	}
	reverse_proxy {{shop}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := prepareWorld(t, site, "")
			spa := filepath.Join(w.home, "spa")
			if err := os.MkdirAll(spa, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(spa, "index.html"), []byte("<title>single page</title>"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.start()
			walk := func(endpoints string) {
				w.shop.lay(order("O-1", "15000"))
				a := w.must("POST", "/api/checkout", "", "Accept-Encoding", "gzip").want(t, 201)
				location := a.Header.Get("Location")
				if !strings.HasPrefix(location, endpoints) && !strings.Contains(location, w.public+endpoints) {
					t.Errorf("Location %q, want it under %s", location, endpoints)
				}
				id := location[strings.LastIndex(location, "/")+1:]
				w.must("GET", endpoints+"/bills/"+id, "").want(t, 200)
				page := w.must("GET", endpoints+"/pay/"+id, "", "Accept", "text/html").want(t, 200)
				if !strings.Contains(string(page.body), "<svg") {
					t.Errorf("the page has no QR code:\n%.500s", page.body)
				}
				n := fmt.Sprintf(`{"tradeUuid":%q,"status":"SUCCESS"}`, id)
				w.must("POST", endpoints+"/payNotification", n, "appKey", appKey, "sign", signOf(n, appSecret)).want(t, 200)
				w.must("GET", endpoints+"/bills/3f1c0a52-aaaa-4000-8000-000000000001", "").want(t, 404)
			}
			if strings.Contains(site, "prefix /api/qlink") {
				walk("/api/qlink")
			} else {
				walk("/qlink")
			}
		})
	}
}

func TestBehindAPasswordTheShopIsClosedAndTheWebhookCanBeLeftOpen(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("wordpass"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, `	@shop not path /qlink/payNotification
	basic_auth @shop {
		friend `+string(hash)+`
	}
	qlink {
		checkout /checkout
	}
	reverse_proxy {{shop}}`)
	w.shop.lay(order("O-1", "15000"))
	w.must("POST", "/checkout", "").want(t, 401)
	if w.shop.asked != 0 {
		t.Error("a stranger reached the shop")
	}
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte("friend:wordpass"))
	b := decode[billJSON](t, w.must("POST", "/checkout", "", "Authorization", login).want(t, 201).body)
	w.must("GET", "/qlink/bills/"+b.ID, "").want(t, 401)
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	w.await("the webhook", func() bool {
		a := w.must("GET", "/qlink/bills/"+b.ID, "", "Authorization", login).want(t, 200)
		return decode[billJSON](t, a.body).Status == "SUCCESS"
	})
}

// A PHP shop answers over FastCGI; here a Go program stands in for php-fpm,
// speaking the same protocol.
func TestAnOrderOverFastCGIIsTakenOver(t *testing.T) {
	address := processtest.FreeAddress(t)
	go func() { _ = fcgi.Serve(listen(t, address), http.HandlerFunc(servePHP)) }() // ends with its listener
	w := prepareWorld(t, `	root * {{home}}/php
	qlink {
		checkout /checkout.php /buy
	}
	php_fastcgi `+address+`
	file_server`, "")
	php := filepath.Join(w.home, "php")
	if err := os.MkdirAll(php, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"checkout.php", "index.php"} {
		if err := os.WriteFile(filepath.Join(php, script), []byte("<?php"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	for _, path := range []string{"/checkout.php", "/buy"} { // /buy is rewritten to /index.php
		a := w.must("POST", path, "cart=1", "Content-Type", "application/x-www-form-urlencoded").want(t, 201)
		if b := decode[billJSON](t, a.body); b.Status != "WAIT" || b.OrderCode != "O"+strings.TrimPrefix(path, "/") {
			t.Errorf("%s: %+v", path, b)
		}
	}
	if a := w.must("GET", "/", "").want(t, 200); string(a.body) != "a PHP page" {
		t.Errorf("%s", a.body)
	}
}

func servePHP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		fmt.Fprint(w, "a PHP page")
		return
	}
	w.Header().Set("Content-Type", "application/vnd.qlink.order+json")
	fmt.Fprint(w, order("O"+strings.TrimPrefix(r.URL.Path, "/"), "15000"))
}
