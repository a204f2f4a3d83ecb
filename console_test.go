package caddyqlink

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// sitiSigns is a basic_auth that lets in one user, whose password is "secret";
// its hash is a cheap one.
const sitiSigns = "{\n\t\tsiti $2a$04$wJO9fJDb7C1Qs6SAx9QYWOvE/XFZAGCNUif72fQQQy4gQnqBrEzba\n\t}"

// browse asks for a page of a console, following no redirect.
func browse(t *testing.T, address string, change ...func(*http.Request)) (status int, text, location string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(req)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header.Get("Location")
}

// post sends a body, following no redirect.
func post(t *testing.T, address, body string, change func(r *http.Request, body string)) (status int, text string) {
	t.Helper()
	status, text, _ = browse(t, address, func(r *http.Request) {
		r.Method, r.Body, r.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader(body)), int64(len(body))
		change(r, body)
	})
	return status, text
}

func siti(r *http.Request) { r.SetBasicAuth("siti", "secret") }

func remoteUser(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Remote-User", name) }
}

const inMemory = "store memory\n\t\t" + account

func TestAConsoleIsFoundWhereItsSiteHasIt(t *testing.T) {
	basic := "basic_auth " + sitiSigns
	for name, test := range map[string]struct {
		site  string
		pages map[string]int // by path, as siti
	}{
		"plain": {basic + "\n\tqlink_console\n\trespond shop 299", map[string]int{
			"/console/": 200, "/console/bills": 200, "/console/bills?order=x": 200, "/console/nowhere": 404, "/console": 308,
			"/consoles/": 299, "/": 299, "/conso%6ce/": 299,
		}},
		"a path of its own": {"basic_auth /console/* " + sitiSigns + "\n\tqlink_console\n\trespond shop 299", map[string]int{
			"/console/": 200, "/console/bills": 200, "/console": 308, "/": 299,
		}},
		"a site of its own": {basic + "\n\tqlink_console {\n\t\tprefix /\n\t}", map[string]int{"/": 200, "/bills": 200, "/console/": 404}},
		"handle": {"handle /office/* {\n\t\t" + basic + "\n\t\tqlink_console {\n\t\t\tprefix /office\n\t\t}\n\t}\n\trespond shop 299", map[string]int{
			"/office/": 200, "/office/bills": 200, "/office": 299, "/": 299,
		}},
		"handle_path": {"handle_path /office* {\n\t\t" + basic + "\n\t\tqlink_console {\n\t\t\tprefix /\n\t\t}\n\t}\n\trespond shop 299", map[string]int{
			"/office/": 200, "/office/bills": 200, "/office": 308, "/": 299,
		}},
		"route": {"route {\n\t\t" + basic + "\n\t\tqlink_console\n\t\trespond shop 299\n\t}", map[string]int{"/console/": 200, "/": 299}},
		"route, the wrong way round": {"route {\n\t\tqlink_console\n\t\t" + basic + "\n\t\trespond shop 299\n\t}", map[string]int{
			"/console/": 403, "/console/bills": 403, "/": 299,
		}},
		"rewritten before it":           {"rewrite * /index.html\n\t" + basic + "\n\tqlink_console\n\trespond shop 299", map[string]int{"/console/": 299}},
		"beside qlink, behind matchers": {"@c path /console /console/*\n\t" + basic + "\n\tqlink\n\tqlink_console @c\n\trespond shop 299", map[string]int{"/console/": 200, "/": 299}},
		"invoked":                       {"invoke console", map[string]int{"/console/": 200}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			text := caddyfileOf(inMemory, test.site)
			if name == "invoked" {
				text = strings.Replace(text, "http://:0", "&(console) {\n\troute {\n\t\t"+basic+"\n\t\tqlink_console\n\t}\n}\nhttp://:0", 1)
			}
			base := run(t, text)
			for path, want := range test.pages {
				status, text, location := browse(t, base+path, siti)
				if status != want {
					t.Errorf("%s: %d, want %d\n%.300s", path, status, want, text)
				}
				if status == http.StatusPermanentRedirect && location != "."+path+"/" {
					t.Errorf("%s leads to %s", path, location)
				}
				if status == http.StatusOK && !strings.Contains(text, "Signed in as <bdi>siti</bdi>") {
					t.Errorf("%s does not know siti:\n%s", path, text)
				}
				if status, text, _ := browse(t, base+path); status == http.StatusOK || strings.Contains(text, "QLink console") && status != http.StatusForbidden {
					t.Errorf("%s: nobody got %d\n%.300s", path, status, text)
				}
			}
		})
	}
}

func TestAConsoleThatNobodyCouldBeSignedInForDoesNotLoad(t *testing.T) {
	for name, test := range map[string]struct{ site, want string }{
		"nothing":                   {"qlink_console\n\trespond shop", "signs anybody in"},
		"nothing, in a handle":      {"handle /console/* {\n\t\tqlink_console\n\t}", "signs anybody in"},
		"a header anybody may send": {"qlink_console {\n\t\tuser {header.Remote-User}\n\t}", "every client may send"},
		"a header, and passwords":   {"basic_auth " + sitiSigns + "\n\tqlink_console {\n\t\tuser {header.Remote-User}\n\t}", "every client may send"},
		"and passwords of a path":   {"basic_auth /console/* " + sitiSigns + "\n\tqlink_console {\n\t\tuser {header.Remote-User}\n\t}", "every client may send"},
		"another header is copied":  {"forward_auth 127.0.0.1:9 {\n\t\turi /\n\t\tcopy_headers Remote-Groups\n\t}\n\tqlink_console {\n\t\tuser {header.Remote-User}\n\t}", "every client may send"},
		"a copied header, not said": {"forward_auth 127.0.0.1:9 {\n\t\turi /\n\t\tcopy_headers Remote-User\n\t}\n\tqlink_console", "signs anybody in"},
		"passwords of another site": {"qlink_console\n}\nhttp://other:0 {\n\tbasic_auth " + sitiSigns + "\n\trespond other", "signs anybody in"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			config, err := adapt(t, caddyfileOf(inMemory, test.site))
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestAConsoleBehindForwardAuthKnowsTheCopiedUser(t *testing.T) {
	// It lets everybody through, and names only who brings a cookie.
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie("who"); err == nil {
			w.Header().Set("Remote-User", cookie.Value)
		}
	}))
	t.Cleanup(gate.Close)
	for _, where := range []string{"", "/console/* "} { // the latter is a route of its own
		base := run(t, caddyfileOf(inMemory, "forward_auth "+where+gate.Listener.Addr().String()+` {
		uri /verify
		copy_headers Remote-User
	}
	qlink_console {
		user {header.Remote-User}
	}`))
		known := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "who", Value: "budi"}) }
		if status, text, _ := browse(t, base+"/console/", known); status != http.StatusOK || !strings.Contains(text, "<bdi>budi</bdi>") {
			t.Errorf("%d\n%s", status, text)
		}
		if status, text, _ := browse(t, base+"/console/", known, remoteUser("siti")); status != http.StatusOK || !strings.Contains(text, "<bdi>budi</bdi>") {
			t.Errorf("who says that he is another: %d\n%s", status, text)
		}
		if status, text, _ := browse(t, base+"/console/", remoteUser("siti")); status != http.StatusForbidden {
			t.Errorf("whom nobody knows, and who says that he is siti: %d\n%s", status, text)
		}
	}
}

// A forward_auth that stands before the console in the configuration and not on
// the way of this request has signed nobody in.
func TestAHeaderCountsOnlyWhereForwardAuthWasAskedAboutTheRequest(t *testing.T) {
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Remote-User", "budi")
	}))
	t.Cleanup(gate.Close)
	auth := gate.Listener.Addr().String() + " {\n\t\turi /verify\n\t\tcopy_headers Remote-User\n\t}\n"
	const console = "qlink_console {\n\t\tuser {header.Remote-User}\n\t}\n"
	for name, site := range map[string]string{
		"it is on another path":   "forward_auth /private/* " + auth + console,
		"it is in another handle": "handle /private-area/* {\n\tforward_auth " + auth + "}\nhandle /console/* {\n" + console + "}",
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			base := run(t, caddyfileOf(inMemory, site))
			if status, text, _ := browse(t, base+"/console/", remoteUser("ceo")); status != http.StatusForbidden {
				t.Errorf("who says that he is the ceo gets %d\n%.300s", status, text)
			}
		})
	}
	base := run(t, caddyfileOf(inMemory, "forward_auth /console/* "+auth+console))
	for _, path := range []string{"/console/%2e%2e/", "/console/.", "/console/bills/..%2f..%2fx", "/console//bills"} {
		if _, text, _ := browse(t, base+path, remoteUser("ceo")); strings.Contains(text, "QLink console") {
			t.Errorf("%s is answered\n%.300s", path, text)
		}
	}
}

func TestAnUnprotectedConsoleSaysWhoItIsToldOf(t *testing.T) {
	base := run(t, caddyfileOf(inMemory, "qlink_console {\n\t\tunprotected\n\t\tuser {header.Remote-User}\n\t}"))
	if status, text, _ := browse(t, base+"/console/"); status != http.StatusOK || !strings.Contains(text, "Nobody is signed in") {
		t.Errorf("%d\n%s", status, text)
	}
	if status, text, _ := browse(t, base+"/console/", remoteUser("budi")); status != http.StatusOK || !strings.Contains(text, "<bdi>budi</bdi>") {
		t.Errorf("%d\n%s", status, text)
	}
}

// Forms are signed by what every node of a cluster has, and every process after
// a restart.
func TestAFormIsGoodWhereverTheAccountsSecretIs(t *testing.T) {
	with := func(secrets string) string {
		return run(t, caddyfileOf("store memory\n\t\t"+strings.Replace(account, "app_secret secret", "app_secret "+secrets, 1),
			"basic_auth /console/* "+sitiSigns+"\n\tqlink_console\n\tqlink"))
	}
	base := with("secret")
	post(t, base+"/qlink/payNotification", `{"tradeUuid":"nobody's","status":"SUCCESS"}`, func(r *http.Request, body string) {
		r.Header.Set("appKey", "key")
		r.Header.Set("sign", qlink.Sign(qlink.ContentString, "key", "secret", []byte(body)))
	})
	_, page, _ := browse(t, base+"/console/orphans", siti)
	token := regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(page)
	if token == nil {
		t.Fatalf("no form on\n%s", page)
	}
	for secrets, want := range map[string]int{"secret": http.StatusSeeOther, "newer secret": http.StatusSeeOther, "newer": http.StatusForbidden} {
		base := with(secrets)
		status, text := post(t, base+"/console/notifications/redeliver", url.Values{"token": {token[1]}, "since": {"24h"}}.Encode(), func(r *http.Request, _ string) {
			siti(r)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", base)
		})
		if status != want {
			t.Errorf("with %s: %d, want %d\n%s", secrets, status, want, text)
		}
	}
}

func TestAConsoleInJSONIsChecked(t *testing.T) {
	for instead, want := range map[string]string{
		`"prefix":"console"`: "prefix: ", `"user":"siti"`: "user: ", `"user":"{http.request.remote.host}"`: "user: ", `"password":"x"`: "unknown field",
		`"prefix":"/x"`: "signs anybody in",
	} {
		err := validate(t, []byte(strings.Replace(sound, `{"handler":"qlink"}`, `{"handler":"qlink_console",`+instead+`}`, 1)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v", instead, err)
		}
	}
}
