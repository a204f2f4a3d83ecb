package console_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/console"
)

func TestAFormFromElsewhereIsRefused(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	path, values := o.form("/bills/"+b.ID, "/cancel")
	host := strings.TrimPrefix(o.url, "http://")
	for name, headers := range map[string]http.Header{
		"another site":         {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}},
		"another port":         {"Sec-Fetch-Site": {"same-site"}, "Origin": {o.url}},
		"an address bar":       {"Sec-Fetch-Site": {"none"}},
		"two words for it":     {"Sec-Fetch-Site": {"same-origin", "cross-site"}},
		"an origin alone":      {"Origin": {"https://evil.example"}},
		"a hidden origin":      {"Origin": {"null"}},
		"no origin":            {"Origin": {""}},
		"two origins":          {"Origin": {o.url, "https://evil.example"}},
		"an origin that ends":  {"Origin": {"http://evil.example/" + host}},
		"an origin that began": {"Origin": {o.url + ".evil.example"}},
		"who says nothing":     {},
	} {
		req := o.request(http.MethodPost, path, values)
		req.Header.Del("Sec-Fetch-Site")
		maps.Copy(req.Header, headers)
		o.send(req).want(403, "did not come from this console")
		if now := o.read(b); now.Status != bill.Wait {
			t.Fatalf("%s cancelled it: %s", name, now.Status)
		}
	}
	req := o.request(http.MethodPost, path, values)
	req.Header.Del("Sec-Fetch-Site")
	req.Header.Set("Origin", o.url)
	o.send(req).want(303)
	if now := o.read(b); now.Status != bill.Canceled {
		t.Errorf("from here it is %s", now.Status)
	}
}

func TestAFormWithoutItsUsersTokenIsRefused(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	path, values := o.form("/bills/"+b.ID, "/cancel")
	_, again := o.form("/bills/"+b.ID, "/cancel")
	token := values.Get("token")
	if token == again.Get("token") {
		t.Error("a token looks the same twice")
	}
	o.user = "budi"
	_, budis := o.form("/bills/"+b.ID, "/cancel")
	o.user = "siti"
	stranger := open(t, func(c *console.Config) { c.Keys = [][]byte{[]byte("the key of another console, there")} })
	_, strangers := stranger.form("/bills/"+stranger.sell("A-1", "1").ID, "/cancel")
	for name, wrong := range map[string]string{
		"none": "", "half of one": token[:len(token)/2], "a changed one": "A" + token[1:] + "A", "no base64": "§", "nought": strings.Repeat("A", len(token)),
		"another user's": budis.Get("token"), "another console's": strangers.Get("token"),
	} {
		values.Set("token", wrong)
		o.send(o.request(http.MethodPost, path, values)).want(403, "out of date")
		if now := o.read(b); now.Status != bill.Wait {
			t.Fatalf("%s cancelled it: %s", name, now.Status)
		}
	}
	values.Del("token")
	o.send(o.request(http.MethodPost, path+"?token="+url.QueryEscape(token), values)).want(403)
	values.Set("token", token)
	o.send(o.request(http.MethodPost, path, values)).want(303)
}

// A balancer leads a form to another node than the one that drew its page, and
// secrets are changed at one node after the other.
func TestAFormIsGoodAtEveryNodeThatHasItsKey(t *testing.T) {
	o := open(t)
	for name, test := range map[string]struct {
		at     *office
		status int
	}{
		"the same key":            {o.node(ownKey), 303},
		"a newer key beside it":   {o.node("the key after it", ownKey), 303},
		"another key":             {o.node("the key after it"), 403},
		"another key and no more": {o.node("one other key", "two other keys"), 403},
	} {
		b := o.sell("A-"+name, "1")
		path, values := o.form("/bills/"+b.ID, "/cancel")
		test.at.send(test.at.request(http.MethodPost, path, values)).want(test.status)
		if ended := o.read(b).Status == bill.Canceled; ended != (test.status == 303) {
			t.Errorf("%s: ended %v", name, ended)
		}
	}
}

func TestAConsoleWithoutAKeyDoesNotOpen(t *testing.T) {
	if _, err := console.New(console.Config{}); err == nil {
		t.Error("it opens, and everybody could make its forms")
	}
}

func TestAFormThatIsTooLargeOrNoneIsRefused(t *testing.T) {
	o := open(t)
	b := o.sell("A-1", "1")
	path, values := o.form("/bills/"+b.ID, "/resolve")
	values.Set("note", strings.Repeat("x", 1<<17))
	o.send(o.request(http.MethodPost, path, values)).want(400, "could not be read")
	values.Set("note", "x")
	req := o.request(http.MethodPost, path, values)
	req.Header.Set("Content-Type", "text/plain")
	o.send(req).want(403)
}
