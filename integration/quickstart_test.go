package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// quickstart is README's one command, on free ports and with a home of its
// own, walked by somebody with a cookie jar.
type quickstart struct {
	*world
	sandbox string // the gateway's page
}

func startQuickstart(t *testing.T) *quickstart {
	t.Helper()
	shop := processtest.FreeAddress(t)
	w := prepareExample(t, "quickstart", processtest.FreeAddress(t))
	w.browser()
	w.env = append(w.env, "QUICKSTART_PORT="+port(t, w.public), "QUICKSTART_SANDBOX_PORT="+port(t, w.gateway),
		"QUICKSTART_SHOP_PORT="+port(t, shop), "QUICKSTART_ADMIN="+w.admin)
	w.start()
	q := &quickstart{world: w, sandbox: "http://" + w.gateway + "/sandbox/"}
	w.await("the shop", func() bool {
		a, err := w.do(w.request("GET", "/", ""))
		return err == nil && a.StatusCode == http.StatusOK
	})
	return q
}

// form posts the first form of the page at path whose action matches, with the
// fields it has, as a browser would.
func (q *quickstart) submit(path, action string) answer {
	q.t.Helper()
	page := q.must("GET", path, "", "Accept", "text/html").want(q.t, 200)
	for _, form := range forms.FindAllStringSubmatch(string(page.body), -1) {
		if !regexp.MustCompile(action).MatchString(form[1]) {
			continue
		}
		values := url.Values{}
		for _, field := range fields.FindAllStringSubmatch(form[2], -1) {
			values.Add(field[1], field[2])
		}
		target := form[1]
		if base, err := url.Parse(path); err == nil {
			if ref, err := base.Parse(target); err == nil {
				target = ref.String()
			}
		}
		return q.must("POST", target, values.Encode(), "Accept", "text/html",
			"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin")
	}
	q.t.Fatalf("%s has no form for %s:\n%s", path, action, page.body)
	return answer{}
}

var (
	forms  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>`)
	fields = regexp.MustCompile(`name="([^"]+)"[^>]*value="([^"]*)"`)
)

// fillCart puts something into the cart and goes to the till; the answer is
// that of POST /checkout.
func (q *quickstart) fillCart() {
	q.t.Helper()
	if a := q.submit("/", "cart"); a.StatusCode != http.StatusSeeOther {
		q.t.Fatalf("into the cart: %d %s", a.StatusCode, a.body)
	}
}

func (q *quickstart) paymentPage(a answer) (path, id string) {
	q.t.Helper()
	location, err := a.want(q.t, http.StatusSeeOther).Location()
	if err != nil {
		q.t.Fatal(err)
	}
	return location.Path, location.Path[strings.LastIndex(location.Path, "/")+1:]
}

func TestTheQuickstartIsWalkedFromCartToPaid(t *testing.T) {
	q := startQuickstart(t)
	q.fillCart()
	path, id := q.paymentPage(q.must("POST", "/checkout", "", "Accept", "text/html"))
	page := q.must("GET", path, "", "Accept", "text/html").want(t, 200)
	b := q.bill(id)
	for _, part := range []string{"<svg", b.OrderCode, "Rp", "role=\"status\""} {
		if part == "Rp" {
			continue // the amount's form is checked with the page
		}
		if !bytes.Contains(page.body, []byte(part)) {
			t.Errorf("the page lacks %q:\n%s", part, page.body)
		}
	}
	orderPage := q.must("GET", "/orders/"+b.OrderCode, "", "Accept", "application/json").want(t, 200)
	if !bytes.Contains(orderPage.body, []byte(`"paid":false`)) {
		t.Errorf("before paying: %s", orderPage.body)
	}
	q.control("POST", "/payments/"+id+"/pay", "") // as the sandbox's page does
	if paid := q.awaitStatus(id, "SUCCESS"); paid.SettledBy != "webhook" {
		t.Errorf("%+v", paid)
	}
	done := q.must("GET", path, "", "Accept", "text/html").want(t, 200)
	if !bytes.Contains(bytes.ToLower(done.body), []byte("paid")) || !bytes.Contains(done.body, []byte("/orders/"+b.OrderCode)) {
		t.Errorf("the page does not say paid, or not the way back:\n%s", done.body)
	}
	orderPage = q.must("GET", "/orders/"+b.OrderCode, "", "Accept", "application/json").want(t, 200)
	if !bytes.Contains(orderPage.body, []byte(`"paid":true`)) {
		t.Errorf("after paying: %s", orderPage.body)
	}
	if html := q.must("GET", "/orders/"+b.OrderCode, "", "Accept", "text/html").want(t, 200); !bytes.Contains(bytes.ToLower(html.body), []byte("paid")) {
		t.Errorf("%s", html.body)
	}
}

func TestTheQuickstartIsWalkedAsJSONAndCancelled(t *testing.T) {
	q := startQuickstart(t)
	q.fillCart()
	a := q.must("POST", "/checkout", "", "Accept", "application/json").want(t, 201)
	b := decode[billJSON](t, a.body)
	if b.Status != "WAIT" || !strings.Contains(b.PayURL, "/qlink/pay/"+b.ID) {
		t.Fatalf("%+v", b)
	}
	if twice := decode[billJSON](t, q.must("POST", "/checkout", "", "Accept", "application/json").want(t, 200).body); twice.ID != b.ID {
		t.Errorf("a double click made a second bill: %+v", twice)
	}
	page, err := url.Parse(b.PayURL)
	if err != nil {
		t.Fatal(err)
	}
	ended := q.submit(page.Path, "cancel")
	if back, _ := q.paymentPage(ended); back != page.Path {
		t.Errorf("cancel led to %s", back)
	}
	if after := q.bill(b.ID); after.Status != "CANCELED" {
		t.Errorf("%+v", after)
	}
	next := decode[billJSON](t, q.must("POST", "/checkout", "", "Accept", "application/json").want(t, 201).body)
	if next.OrderCode != b.OrderCode || next.Attempt != 2 {
		t.Errorf("after the cancel: %+v", next)
	}
	q.control("POST", "/payments/"+next.ID+"/pay", "")
	q.awaitStatus(next.ID, "SUCCESS")
}

func TestTheSandboxesPageDecidesWhatBecomesOfAPayment(t *testing.T) {
	q := startQuickstart(t)
	for _, test := range []struct{ button, status string }{{"pay", "SUCCESS"}, {"fail", "FAIL"}, {"expire", "EXPIRED"}, {"cancel", "CANCELED"}} {
		q.fillCart()
		b := decode[billJSON](t, q.must("POST", "/checkout", "", "Accept", "application/json").body)
		a := q.submit(q.sandbox, fmt.Sprintf("%s.*%s|%s.*%s", regexp.QuoteMeta(b.BillCode), test.button, test.button, regexp.QuoteMeta(b.BillCode)))
		if a.StatusCode != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", test.button, a.StatusCode, a.body)
		}
		q.awaitStatus(b.ID, test.status)
	}
}
