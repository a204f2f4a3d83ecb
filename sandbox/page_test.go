package sandbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func (g *gateway) page(method, path string, want int, header http.Header) reply {
	g.t.Helper()
	r, err := g.do(method, "/sandbox"+path, "", header)
	if err != nil || r.status != want {
		g.t.Fatalf("%s %s: %d %v, want %d", method, path, r.status, err, want)
	}
	return r
}

func TestHostileTextIsShownAsText(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>`
	g := newGateway(t, &Sandbox{Merchant: hostile})
	quoted, _ := json.Marshal(hostile)
	body := strings.NewReplacer(`"O1"`, string(quoted), `"描述"`, string(quoted), `"ONLINE"`, string(quoted)).Replace(order("u1", "O1"))
	bill := g.call(opApply, body).object(t)["billCode"].(string)
	for _, path := range []string{"/", "/pay-page/" + bill, "/pay-page/" + "%3Cscript%3E"} {
		status := http.StatusOK
		if strings.Contains(path, "%3C") {
			status = http.StatusNotFound
		}
		r := g.page(http.MethodGet, path, status, nil)
		if strings.Contains(r.body, "<script") || strings.Contains(r.body, "<img") {
			t.Errorf("%s lets markup through", path)
		}
		if !strings.Contains(r.body, "no money moves") {
			t.Errorf("%s does not say that it is a sandbox", path)
		}
		if csp := r.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: %q", path, csp)
		}
	}
	g.page(http.MethodGet, "/style.css", http.StatusOK, nil)
}

func TestEachButtonDecidesThePayment(t *testing.T) {
	rec := newReceiver(t, takes)
	g := newGateway(t, &Sandbox{Webhook: rec.URL})
	for fate, status := range fates {
		for _, page := range []string{"/payments/", "/pay-page/"} {
			bill := g.apply(fate+page, "O-"+fate)["billCode"].(string)
			r := g.page(http.MethodPost, page+bill+"/"+fate, http.StatusSeeOther, http.Header{"Sec-Fetch-Site": {"same-origin"}})
			back := g.page(http.MethodGet, strings.TrimPrefix(r.header.Get("Location"), "/sandbox"), http.StatusOK, nil)
			if !strings.Contains(back.body, string(status)) {
				t.Errorf("%s: the page does not say %s", fate, status)
			}
			if n, _ := rec.next(t); n.Status != status || n.BillCode != bill {
				t.Errorf("%s: webhook %+v", fate, n)
			}
		}
	}
}

func TestAnOutdatedPageChangesNothing(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	bill := g.apply("u1", "O1")["billCode"].(string)
	g.page(http.MethodPost, "/payments/"+bill+"/pay", http.StatusSeeOther, nil)
	g.page(http.MethodPost, "/payments/"+bill+"/fail", http.StatusSeeOther, nil)
	if s := g.status("u1"); s["status"] != "SUCCESS" {
		t.Errorf("%v", s)
	}
	g.page(http.MethodPost, "/payments/"+bill+"/refund", http.StatusNotFound, nil)
	g.page(http.MethodPost, "/payments/u1/pay", http.StatusNotFound, nil) // forms go by billCode alone
}

func TestAnotherSitesPageDecidesNothing(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	bill := g.apply("u1", "O1")["billCode"].(string)
	for _, h := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}},
	} {
		g.page(http.MethodPost, "/payments/"+bill+"/pay", http.StatusForbidden, h)
		g.page(http.MethodPost, "/pay-page/"+bill+"/pay", http.StatusForbidden, h)
		g.page(http.MethodPost, "/control/payments/"+bill+"/pay", http.StatusForbidden, h)
	}
	if s := g.status("u1"); s["status"] != "WAIT" {
		t.Errorf("%v", s)
	}
}
