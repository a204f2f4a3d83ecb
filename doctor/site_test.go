package doctor_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/doctor"
)

const ourRefusal = `{"success":false,"message":"appKey or sign is missing, repeated or wrong"}`

// ourSite serves what the webhook's address does, behind what is in front.
func ourSite(t *testing.T, inFront func(http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	module := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/qlink/payNotification" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if r.Header.Get("sign") != "" || r.Header.Get("appKey") != "" {
			t.Error("the doctor signs")
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprint(w, ourRefusal)
	})
	server := httptest.NewServer(inFront(module))
	t.Cleanup(server.Close)
	return server
}

func directly(h http.Handler) http.Handler { return h }

func answering(status int, header, value, body string) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		})
	}
}

func examineAt(t *testing.T, base string) findings {
	t.Helper()
	return examine(t, doctor.Config{Sites: []doctor.Site{{Account: "default", Base: base, Prefix: "/qlink"}}})
}

func TestAnAddressThatIsOursIsToldForQLink(t *testing.T) {
	base := ourSite(t, directly).URL
	all := examineAt(t, base+"/")
	all.want(t, doctor.CheckWebhookAddress, doctor.OK, "QLink has to be told "+base+"/qlink/payNotification")
	all.want(t, doctor.CheckCertificate, doctor.Skipped)
}

func TestOurAnswerToTooManyForgeriesIsOursToo(t *testing.T) {
	examineAt(t, ourSite(t, answering(429, "Retry-After", "1", `{"success":false,"message":"too many"}`)).URL).
		want(t, doctor.CheckWebhookAddress, doctor.OK)
}

func TestWhatStandsBeforeTheWebhookIsAFault(t *testing.T) {
	for _, c := range []struct {
		what    string
		inFront func(http.Handler) http.Handler
		words   string
	}{
		{"basic_auth", answering(401, "WWW-Authenticate", `Basic realm="x"`, ""), "basic_auth"},
		{"forward_auth", answering(403, "X-A", "b", "no"), "forward_auth"},
		{"a refusal that only looks like ours", answering(401, "X-A", "b", `{"success":true,"message":"x"}`), "refuses everybody"},
		{"a redirect", answering(308, "Location", "https://127.0.0.1:1/", ""), "redirect (HTTP 308)"},
		{"the shop", answering(200, "X-A", "b", `{"success":false,"message":"x"}`), "matcher of qlink covers its prefix"},
		{"no such page", answering(404, "X-A", "b", "404"), "something else answers (HTTP 404)"},
		{"a proxy", answering(502, "X-A", "b", ""), "proxy does not get through"},
	} {
		t.Run(c.what, func(t *testing.T) {
			examineAt(t, ourSite(t, c.inFront).URL).
				want(t, doctor.CheckWebhookAddress, doctor.Failed, c.words, "/qlink/payNotification")
		})
	}
}

func TestASiteThatIsGoneIsAFault(t *testing.T) {
	server := ourSite(t, directly)
	server.Close()
	examineAt(t, server.URL).want(t, doctor.CheckWebhookAddress, doctor.Failed, "cannot be reached")
}

func TestASiteThatNobodyHasNamedIsSkippedWithWords(t *testing.T) {
	examineAt(t, "").want(t, doctor.CheckWebhookAddress, doctor.Skipped, "/qlink/payNotification", "--site", "public_url")
}

func TestAnAssumedAddressIsSaidToBeOne(t *testing.T) {
	server := ourSite(t, answering(404, "X-A", "b", ""))
	examine(t, doctor.Config{Sites: []doctor.Site{{Base: server.URL, Prefix: "/qlink", Assumed: true}}}).
		want(t, doctor.CheckWebhookAddress, doctor.Failed, "told from the site's host names")
}

func TestALiveSiteOutOfReachOfTheWorldIsWarnedOf(t *testing.T) {
	server := ourSite(t, directly)
	examine(t, doctor.Config{Sites: []doctor.Site{{LiveMode: true, Base: server.URL, Prefix: "/qlink"}}}).
		want(t, doctor.CheckWebhookAddress, doctor.Warning, "nobody outside can reach")
	examine(t, doctor.Config{
		Sites:     []doctor.Site{{LiveMode: true, Base: "http://shop.example.com", Prefix: "/qlink"}},
		Transport: leadingTo{server},
	}).want(t, doctor.CheckWebhookAddress, doctor.Warning, "plain http")
}

// leadingTo takes every name for one server's.
type leadingTo struct{ server *httptest.Server }

func (l leadingTo) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = l.server.Listener.Addr().String()
	return transportOf(l.server).RoundTrip(r)
}

func TestASitesCertificateIsLookedAt(t *testing.T) {
	plain := ourSite(t, directly)
	server := httptest.NewTLSServer(plain.Config.Handler)
	t.Cleanup(server.Close)
	site := []doctor.Site{{Base: server.URL, Prefix: "/qlink"}}
	ends := server.Certificate().NotAfter
	all := examine(t, doctor.Config{Sites: site, Transport: transportOf(server), Now: func() time.Time { return ends.Add(-24 * time.Hour) }})
	all.want(t, doctor.CheckWebhookAddress, doctor.OK)
	all.want(t, doctor.CheckCertificate, doctor.Warning, "1 days are left")
	all = examine(t, doctor.Config{Sites: site})
	all.want(t, doctor.CheckWebhookAddress, doctor.Failed, "certificate")
	all.want(t, doctor.CheckCertificate, doctor.Failed, "no authority")
}
