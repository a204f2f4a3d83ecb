package sandbox

import (
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

func signOf(textWithSecret string) string {
	sum := sha1.Sum([]byte(textWithSecret))
	return hex.EncodeToString(sum[:])
}

func TestTheVerdictNamesTheMistake(t *testing.T) {
	const body = `{"payAccount": "帐号 <a/b> & 'c'"}`
	const key, secret = defaultAppKey, defaultAppSecret
	right := strict[0].text(key, []byte(body))
	for _, c := range []struct {
		name, sign, want string
		set              Sandbox
	}{
		{name: "as object", sign: qlink.Sign(qlink.ContentObject, key, secret, []byte(body)), want: "signed as an object"},
		{name: "as string", sign: signOf(right + secret), want: "signed as a JSON string", set: Sandbox{SignatureContent: "object"}},
		{name: "ASCII alone", sign: signOf(asciiOnly.text(key, []byte(body)) + secret), want: "verifies with escaping ascii"},
		{name: "another escaping", sign: signOf(strict[2].text(key, []byte(body)) + secret), want: "verifies with escaping html", set: Sandbox{Escaping: "minimal"}},
		{name: "white space", sign: signOf(`{"appKey": "` + key + `", "content": ` + asciiOnly.quote(body) + `}` + secret), want: "holds white space"},
		{name: "wrong order", sign: signOf(`{"content":` + strict[0].quote(body) + `,"appKey":"` + key + `"}` + secret), want: "content comes first"},
		{name: "secret in front", sign: signOf(secret + right), want: "secret stands before"},
		{name: "no secret", sign: signOf(right), want: "lacks the secret"},
		{name: "bare body", sign: signOf(body + secret), want: "body alone"},
		{name: "no content", sign: signOf(`{"appKey":"` + key + `"}` + secret), want: "one without content"},
		{name: "line break", sign: signOf(right + secret + "\n"), want: "line break"},
		{name: "compacted", sign: signOf(strict[0].text(key, []byte(strings.Replace(body, ": ", ":", 1))) + secret), want: "without its white space"},
		{name: "another app's", sign: signOf(right + "an0ther"), want: `secret of another app, "app-2"`,
			set: Sandbox{Apps: []App{{Key: key, Secret: secret}, {Key: "app-2", Secret: "an0ther"}}}},
		{name: "wrong secret", sign: signOf(right + "wrong"), want: "the secret is wrong, or the body was altered"},
		{name: "MD5", sign: strings.Repeat("a", 32), want: "look like an MD5"},
		{name: "SHA-256", sign: strings.Repeat("a", 64), want: "look like a SHA-256"},
		{name: "Base64", sign: strings.Repeat("A", 27) + "=", want: "looks like Base64"},
		{name: "nonsense", sign: "zzz", want: "must be 40 hex digits"},
		{name: "missing", sign: "", want: "header sign is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.set.Name = t.Name()
			g := newGateway(t, &c.set)
			h := credentials(body)
			h.Set("sign", c.sign)
			r, err := g.do(http.MethodPost, "/sandbox/pay/queryPayAccount", body, h)
			if err != nil {
				t.Fatal(err)
			}
			answer := r.object(t)
			if r.status != http.StatusUnauthorized || answer["success"] != false || !strings.Contains(answer["message"].(string), c.want) {
				t.Errorf("%d %s, want %q", r.status, r.body, c.want)
			}
			for _, hidden := range []string{secret, "an0ther", signOf(right + secret)} {
				if strings.Contains(r.body, hidden) {
					t.Errorf("the answer tells %s", hidden)
				}
			}
		})
	}
}

func TestMissingDoubledAndUnknownHeadersAreNamed(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	body := `{"payAccount":"a"}`
	for want, change := range map[string]func(http.Header){
		"header appKey is missing":         func(h http.Header) { h.Del("appKey") },
		"header appKey is there 2 times":   func(h http.Header) { h.Add("appKey", "x") },
		"header sign is there 2 times":     func(h http.Header) { h.Add("sign", h.Get("sign")) },
		`appKey "app-9" is not known here`: func(h http.Header) { h.Set("appKey", "app-9") },
	} {
		h := credentials(body)
		change(h)
		r, err := g.do(http.MethodPost, "/sandbox/pay/queryPayAccount", body, h)
		if err != nil || r.status != http.StatusUnauthorized || !strings.Contains(r.object(t)["message"].(string), want) {
			t.Errorf("want %q: %d %s %v", want, r.status, r.body, err)
		}
	}
}

func TestABodyAlteredAfterSigningIsRecognized(t *testing.T) {
	g := newGateway(t, &Sandbox{})
	g.apply("u1", "O1")
	r, err := g.do(http.MethodPost, "/sandbox/pay/apply", order("u1", "O2"), credentials(order("u1", "O1")))
	if err != nil || !strings.Contains(r.object(t)["message"].(string), "belongs to the apply call") {
		t.Errorf("%s %v", r.body, err)
	}
}

func TestUpperCaseSignsAreTaken(t *testing.T) {
	g := newGateway(t, &Sandbox{Escaping: "minimal"})
	body := `{"payAccount":"a"}`
	h := credentials(body)
	h.Set("sign", strings.ToUpper(h.Get("sign")))
	if r, err := g.do(http.MethodPost, "/sandbox/pay/queryPayAccount", body, h); err != nil || r.status != http.StatusOK {
		t.Errorf("%d %s %v", r.status, r.body, err)
	}
}

// The vectors come from libraries not written here.
func TestTheSandboxsOwnEscapingsAgreeWithTheVectors(t *testing.T) {
	text, err := os.ReadFile("../qlink/testdata/signature-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ AppKey, Secret, Content, Mode, SignedText, Sign string }
	if err := json.Unmarshal(text, &vectors, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		var got string
		switch name := strings.TrimPrefix(v.Mode, "string/"); name {
		case "empty":
			got = strict[0].text(v.AppKey, nil)
		case "object":
			got = objectText(v.AppKey, []byte(v.Content))
		default:
			for _, e := range strict {
				if e.name == name {
					got = e.text(v.AppKey, []byte(v.Content))
				}
			}
		}
		if got+v.Secret != v.SignedText || !signs(got+v.Secret, v.Sign) {
			t.Errorf("%s: %s, want %s", v.Mode, got, v.SignedText)
		}
	}
}
