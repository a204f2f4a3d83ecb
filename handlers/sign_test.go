package handlers_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/handlers"
)

func TestAnUnsignedOrForgedRequestIsRefusedAndChangesNothing(t *testing.T) {
	genuine := handlers.Sign(apiSecret, noon, "POST", "/qlink/bills", []byte(goodOrder))
	sign := func(secret string, at time.Time, method, uri, body string) []string {
		return []string{handlers.Sign(secret, at, method, uri, []byte(body))}
	}
	for name, values := range map[string][]string{
		"missing":            nil,
		"empty":              {""},
		"twice":              {genuine, genuine},
		"joined":             {genuine + ", " + genuine},
		"another secret":     sign("guess", noon, "POST", "/qlink/bills", goodOrder),
		"the empty secret":   sign("", noon, "POST", "/qlink/bills", goodOrder),
		"another method":     sign(apiSecret, noon, "GET", "/qlink/bills", goodOrder),
		"another path":       sign(apiSecret, noon, "POST", "/qlink/bill", goodOrder),
		"another query":      sign(apiSecret, noon, "POST", "/qlink/bills?a=1", goodOrder),
		"another body":       sign(apiSecret, noon, "POST", "/qlink/bills", goodOrder+" "),
		"too old":            sign(apiSecret, noon.Add(-5*time.Minute-time.Second), "POST", "/qlink/bills", goodOrder),
		"in the future":      sign(apiSecret, noon.Add(5*time.Minute+time.Second), "POST", "/qlink/bills", goodOrder),
		"order of elements":  {swap(genuine)},
		"white space":        {strings.Replace(genuine, ",", ", ", 1)},
		"one more element":   {genuine + ",v1=00"},
		"time with a sign":   {strings.Replace(genuine, "t=", "t=+", 1)},
		"time with a zero":   {strings.Replace(genuine, "t=", "t=0", 1)},
		"time that is huge":  {strings.Replace(genuine, "t=", "t=99999999999999999999", 1)},
		"half a signature":   {genuine[:len(genuine)-32]},
		"no hexadecimal":     {genuine[:len(genuine)-1] + "g"},
		"an unknown version": {strings.Replace(genuine, "v1=", "v2=", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			r := post("/qlink/bills", goodOrder)
			r.Header[http.CanonicalHeaderKey(handlers.SignatureHeader)] = values
			w := s.do(r)
			wantStatus(t, w, 401)
			wantHeader(t, w.Header(), "WWW-Authenticate", "QLink-Signature")
			if s.engine.recorded() != "" {
				t.Errorf("engine was called: %s", s.engine.recorded())
			}
		})
	}
}

// Whoever lacks the secret is not told that a signature is merely old.
func TestAGenuineSignatureIsStaleBeyondItsAgeEitherWay(t *testing.T) {
	for _, age := range []time.Duration{5*time.Minute + time.Second, 24 * time.Hour, -5*time.Minute - time.Second} {
		for secret, code := range map[string]string{apiSecret: `"code":"stale_signature"`, "guess": `"code":"bad_signature"`} {
			s := newSite(t)
			r := post("/qlink/bills", goodOrder)
			r.Header.Set(handlers.SignatureHeader, handlers.Sign(secret, noon.Add(-age), "POST", "/qlink/bills", []byte(goodOrder)))
			w := s.do(r)
			wantStatus(t, w, 401)
			if !strings.Contains(w.Body.String(), code) || s.engine.recorded() != "" {
				t.Errorf("%s old, by %q: %s, engine: %q", age, secret, w.Body, s.engine.recorded())
			}
		}
	}
}

func swap(signature string) string {
	first, second, _ := strings.Cut(signature, ",")
	return second + "," + first
}

func TestEverySecretOpensWithinTheSignaturesAge(t *testing.T) {
	for _, secret := range []string{apiSecret, "former-secret"} {
		for _, age := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
			s := newSite(t)
			r := post("/qlink/bills", goodOrder)
			r.Header.Set(handlers.SignatureHeader, handlers.Sign(secret, noon.Add(-age), "POST", "/qlink/bills", []byte(goodOrder)))
			if w := s.do(r); w.Code == http.StatusUnauthorized {
				t.Errorf("secret %q, age %s: %s", secret, age, w.Body)
			}
		}
	}
}

func TestASignatureCoversTheAddressAsItWasSent(t *testing.T) {
	s := newSite(t, func(a *handlers.API) {
		a.RequestURI = func(*http.Request) string { return "/shop/qlink/orders/A%2f1?x=%7e" }
	})
	r := get("/qlink/orders/A%2F1")
	r.Header.Set(handlers.SignatureHeader, handlers.Sign(apiSecret, noon, "GET", "/shop/qlink/orders/A%2f1?x=%7e", nil))
	wantStatus(t, s.do(r), 200)
	if s.engine.gotCode != "A/1" {
		t.Errorf("order code = %q", s.engine.gotCode)
	}
}

func TestSigningIsAsTheContractWritesIt(t *testing.T) {
	// printf '1700000000.POST./qlink/bills?a=1.{}' | openssl dgst -sha256 -hmac s3cr3t
	want := "t=1700000000,v1=b1f6e31b907fcfa163bbacebaacd053715e692d5edf0e176b5cb9ee0e8ccdc86"
	if got := handlers.Sign("s3cr3t", time.Unix(1700000000, 0), "POST", "/qlink/bills?a=1", []byte("{}")); got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func TestWithoutSecretsTheSignedEndpointsDoNotExist(t *testing.T) {
	s := newSite(t, func(a *handlers.API) { a.APISecrets = nil })
	for _, r := range []*http.Request{
		signed(post("/qlink/bills", goodOrder), goodOrder), signed(get("/qlink/orders/O1"), ""), signed(post("/qlink/orders/O1/cancel", ""), ""),
	} {
		wantStatus(t, s.do(r), 404)
	}
	if s.engine.recorded() != "" {
		t.Error("the engine was called")
	}
}
