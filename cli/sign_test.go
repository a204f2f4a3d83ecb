package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

const (
	body      = `{"tradeUuid":"t-1","url":"http://a/b","name":"Küche","n":1}`
	appSecret = "an-app-secret"
	apiSecret = "an-api-secret"
	hookKey   = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
)

// write puts a text into a file of its own.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSignMakesTheHeadersThatTheOtherSideVerifies(t *testing.T) {
	secret, file := write(t, appSecret+"\n"), write(t, body)
	offline(t, "", "sign", "gateway", "--app-key", "k", "--secret-file", secret, file).
		want(t, 0, "appKey: k\nsign: "+qlink.Sign(qlink.ContentString, "k", appSecret, []byte(body))+"\n")
	offline(t, body, "sign", "gateway", "--app-key", "k", "--secret-file", secret, "--mode", "object", "--json").
		want(t, 0, `{"appKey":"k","sign":"`+qlink.Sign(qlink.ContentObject, "k", appSecret, []byte(body))+"\"}\n")
	offline(t, body, "sign", "gateway", "--app-key", "k", "--text").want(t, 0, qlink.SignedText(qlink.ContentString, "k", []byte(body))+"\n")

	at := time.Unix(1764000000, 0)
	offline(t, apiSecret, "sign", "order", "--path", "/qlink/bills?a=1", "--at", "1764000000", file).
		want(t, 0, "QLink-Signature: "+handlers.Sign(apiSecret, at, "POST", "/qlink/bills?a=1", []byte(body))+"\n")
	t.Setenv("QLINK_TEST_SECRET", apiSecret)
	offline(t, "not read", "sign", "order", "--method", "get", "--path", "/qlink/orders/O1", "--no-body", "--secret-env", "QLINK_TEST_SECRET", "--at", "2025-11-24T16:00:00Z").
		want(t, 0, "QLink-Signature: "+handlers.Sign(apiSecret, at, "GET", "/qlink/orders/O1", nil)+"\n")
}

func TestANotificationIsSignedAsTheLibraryVerifies(t *testing.T) {
	second := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 24))
	r := offline(t, body, "sign", "notification", "--secret-file", write(t, hookKey+"\n"+second+"\n"), "--json")
	var headers map[string]string
	if err := json.Unmarshal([]byte(r.out), &headers); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	sent := make(http.Header)
	for name, value := range headers {
		sent.Set(name, value)
	}
	for _, secret := range []string{hookKey, second} {
		hook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := hook.Verify([]byte(body), sent); err != nil {
			t.Errorf("%v: %v", err, headers)
		}
	}
	offline(t, body, "sign", "notification", "--secret-file", write(t, "no-key")).complains(t, 2, "is not whsec_")
}

func TestASecretIsNeverPrinted(t *testing.T) {
	secret := "hunter2-hunter2-hunter2"
	for _, args := range []string{
		"sign notification FILE", "sign gateway --app-key k FILE", "sign order --path /x FILE", "verify notification --id i --timestamp 1 --signature v1,x FILE",
		"verify gateway --app-key k --sign 00 FILE", "verify order --path /x --signature t=1,v1=00 FILE",
	} {
		r := offline(t, secret, strings.Fields(strings.ReplaceAll(args, "FILE", write(t, body)))...)
		if strings.Contains(r.out+r.err, secret) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	for _, flag := range []string{"--secret=" + secret, "--secret-file=" + secret} {
		if r := offline(t, "", "sign", "gateway", "--app-key", "k", flag); r.code == 0 || flag == "--secret="+secret && strings.Contains(r.err, secret) {
			t.Errorf("%+v", r)
		}
	}
}

func TestSecretsComeFromOnePlace(t *testing.T) {
	offline(t, appSecret, "sign", "gateway", "--app-key", "k").complains(t, 2, "cannot both come from standard input")
	offline(t, "", "sign", "gateway", "--app-key", "k", "--secret-file", "-", write(t, body)).complains(t, 2, "the secret is empty")
	offline(t, body, "sign", "gateway", "--app-key", "k", "--secret-env", "QLINK_TEST_UNSET").complains(t, 2, "no variable QLINK_TEST_UNSET")
	offline(t, body, "sign", "gateway", "--app-key", "k", "--secret-env", "HOME", "--secret-file", "x").complains(t, 2, "not both")
	offline(t, body, "sign", "gateway", "--app-key", "k", "--secret-file", "/does/not/exist").complains(t, 1, "no such file")
	offline(t, strings.Repeat("x", 5<<20), "sign", "gateway", "--app-key", "k", "--secret-env", "HOME").complains(t, 1, "larger than")
}

func TestASecretIsMade(t *testing.T) {
	hook := offline(t, "", "secret")
	if !regexp.MustCompile(`^whsec_[A-Za-z0-9+/]{43}=\n$`).MatchString(hook.out) || hook.out == offline(t, "", "secret").out {
		t.Errorf("%+v", hook)
	}
	if r := offline(t, "", "secret", "--api", "--json"); !regexp.MustCompile(`^{"secret":"[A-Za-z0-9_-]{43}"}\n$`).MatchString(r.out) {
		t.Errorf("%+v", r)
	}
	path := filepath.Join(t.TempDir(), "secret")
	offline(t, "", "secret", "-o", path).want(t, 0, "")
	offline(t, body, "sign", "notification", "--secret-file", path).has(t, 0, "webhook-signature: v1,")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// gatewaySign is what another implementation sent.
func gatewayClaim(t *testing.T, sign, body string, flags ...string) result {
	t.Helper()
	return offline(t, body, append([]string{"verify", "gateway", "--app-key", "k", "--sign", sign, "--secret-file", write(t, appSecret+"\n")}, flags...)...)
}

func TestVerifyNamesHowTheGatewaySigned(t *testing.T) {
	inString := qlink.Sign(qlink.ContentString, "k", appSecret, []byte(body))
	inObject := qlink.Sign(qlink.ContentObject, "k", appSecret, []byte(body))
	gatewayClaim(t, inString, body).want(t, 0, "Verified: it was signed over the body as a JSON string.\n")
	gatewayClaim(t, strings.ToUpper(inObject), body).want(t, 0, "Verified: it was signed over the body as a JSON object.\n")
	gatewayClaim(t, inString, body, "--json").want(t, 0, `{"verified":true,"how":"it was signed over the body as a JSON string"}`+"\n")
	offline(t, body, "verify", "gateway", "--app-key", "k", "--sign", inString, "--secret-file", write(t, "older\n"+appSecret)).has(t, 0, "Verified")
}

func TestVerifySaysWhatTheGatewayDidOtherwise(t *testing.T) {
	sign := func(body, secret string) string { return qlink.Sign(qlink.ContentString, "k", secret, []byte(body)) }
	for differs, r := range map[string]result{
		"over the body as a JSON object":                           gatewayClaim(t, qlink.Sign(qlink.ContentObject, "k", appSecret, []byte(body)), body, "--mode", "string"),
		"without the line end at the body's end":                   gatewayClaim(t, sign(body, appSecret), body+"\n"),
		"with a line end behind the body":                          gatewayClaim(t, sign(body+"\n", appSecret), body),
		"over the body with its characters beyond ASCII escaped":   gatewayClaim(t, sign(strings.ReplaceAll(body, "ü", `\u00fc`), appSecret), body),
		"over the body with its slashes escaped":                   gatewayClaim(t, sign(strings.ReplaceAll(body, "/", `\/`), appSecret), body),
		"over the body without the white space between its tokens": gatewayClaim(t, sign(body, appSecret), strings.ReplaceAll(body, ",", ", ")),
		"over the body parsed and written again, its names sorted": gatewayClaim(t, sign(`{"n":1,"name":"Küche","tradeUuid":"t-1","url":"http://a/b"}`, appSecret), body),
		"with a space after each comma and colon":                  gatewayClaim(t, sign(strings.NewReplacer(",", ", ", `":`, `": `).Replace(body), appSecret), body),
		"with a line end behind the secret":                        gatewayClaim(t, sign(body, appSecret+"\n"), body),
		"with an empty app key":                                    gatewayClaim(t, qlink.Sign(qlink.ContentString, "", appSecret, []byte(body)), body),
		"in base64 rather than hexadecimal":                        gatewayClaim(t, base64Of(t, sign(body, appSecret)), body),
		"over no body at all":                                      gatewayClaim(t, sign("", appSecret), body),
	} {
		r.has(t, 3, "Not verified: the signature is genuine, but not over what it should be.\n", "  It was signed ", differs)
		if n := strings.Count(r.out, "\n"); n != 2 {
			t.Errorf("%s: more than the one difference: %s", differs, r.out)
		}
	}
	gatewayClaim(t, sign(body, "another"), body).want(t, 3, "Not verified: it was made with another secret, or over another body.\n")
	gatewayClaim(t, "nonsense", body).has(t, 3, "not 40 hexadecimal digits")
	gatewayClaim(t, strings.Repeat("0", 64), body).has(t, 3, "SHA-256")
	gatewayClaim(t, strings.Repeat("0", 32), body).has(t, 3, "MD5")
	gatewayClaim(t, sign(body+"\n", appSecret+"\n"), body, "--json").
		want(t, 3, `{"verified":false,"differs":["with a line end behind the body","with a line end behind the secret"],"reason":"the signature is genuine, but not over what it should be"}`+"\n")
}

func base64Of(t *testing.T, hexadecimal string) string {
	t.Helper()
	raw := make([]byte, len(hexadecimal)/2)
	for i := range raw {
		n, err := strconv.ParseUint(hexadecimal[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		raw[i] = byte(n)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func orderClaim(t *testing.T, signature, body string, flags ...string) result {
	t.Helper()
	return offline(t, body, append([]string{"verify", "order", "--path", "/qlink/bills?a=1", "--signature", signature, "--secret-file", write(t, apiSecret)}, flags...)...)
}

func TestVerifySaysWhatAShopDidOtherwise(t *testing.T) {
	now := time.Now()
	sign := func(secret, method, path, body string) string {
		return handlers.Sign(secret, now, method, path, []byte(body))
	}
	genuine := sign(apiSecret, "POST", "/qlink/bills?a=1", body)
	orderClaim(t, genuine, body).has(t, 0, "Verified: it was signed at 20")
	for differs, signature := range map[string]string{
		"without the path's query":                               sign(apiSecret, "POST", "/qlink/bills", body),
		"with a path without its first part":                     sign(apiSecret, "POST", "/bills?a=1", body),
		`for the method "post"`:                                  sign(apiSecret, "post", "/qlink/bills?a=1", body),
		"with a line end behind the body":                        sign(apiSecret, "POST", "/qlink/bills?a=1", body+"\n"),
		"with a line end behind the secret":                      sign(apiSecret+"\n", "POST", "/qlink/bills?a=1", body),
		"with a time in milliseconds":                            handlers.Sign(apiSecret, time.Unix(now.UnixMilli(), 0), "POST", "/qlink/bills?a=1", []byte(body)),
		"over the body with its characters beyond ASCII escaped": sign(apiSecret, "POST", "/qlink/bills?a=1", strings.ReplaceAll(body, "ü", `\u00fc`)),
		"over no body at all":                                    sign(apiSecret, "POST", "/qlink/bills?a=1", ""),
		"in base64 rather than hexadecimal":                      genuine[:strings.Index(genuine, "v1=")+3] + base64Of(t, genuine[strings.Index(genuine, "v1=")+3:]),
		"with quotation marks around the secret":                 sign(`"`+apiSecret+`"`, "POST", "/qlink/bills?a=1", body),
	} {
		orderClaim(t, signature, body).has(t, 3, "Not verified: the signature is genuine, but", "  It was signed "+differs)
	}
	for reason, signature := range map[string]string{
		"another secret, or over another body": sign("guess", "POST", "/qlink/bills?a=1", body),
		"stale: it is 10m":                     handlers.Sign(apiSecret, now.Add(-10*time.Minute), "POST", "/qlink/bills?a=1", []byte(body)),
		"from the future: 10m":                 handlers.Sign(apiSecret, now.Add(10*time.Minute+30*time.Second), "POST", "/qlink/bills?a=1", []byte(body)),
		"not of the form t=":                   "v1=00",
		"no number of seconds":                 "t=x,v1=00",
		"not 64 hexadecimal digits":            "t=1,v1=00",
	} {
		orderClaim(t, signature, body).has(t, 3, "Not verified: ", reason)
	}
	old := handlers.Sign(apiSecret, now.Add(-time.Hour), "POST", "/qlink/bills?a=1", []byte(body))
	orderClaim(t, old, body, "--max-age", "2h").has(t, 0, "Verified")
	orderClaim(t, old, body, "--max-age", "any").has(t, 0, "Verified")
	orderClaim(t, genuine, body, "--max-age", "0").complains(t, 2, "--max-age")
}

func TestVerifySaysWhatANotificationsSenderDidOtherwise(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(hookKey, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key []byte, at time.Time, body string) string {
		hook, err := standardwebhooks.NewWebhookRaw(key)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := hook.Sign("msg_1", at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	now := time.Now()
	claim := func(at time.Time, signature string) result {
		return offline(t, body, "verify", "notification", "--id", "msg_1", "--timestamp", strconv.FormatInt(at.Unix(), 10), "--signature", signature,
			"--secret-file", write(t, hookKey))
	}
	genuine := sign(raw, now, body)
	claim(now, genuine).has(t, 0, "Verified")
	claim(now, "v1,AAAA "+genuine+" v1a,xx").has(t, 0, "Verified")
	for differs, signature := range map[string]string{
		"with the secret's text as the key":  sign([]byte(hookKey), now, body),
		"with the secret without its whsec_": sign([]byte(strings.TrimPrefix(hookKey, "whsec_")), now, body),
		"without v1, before the signature":   strings.TrimPrefix(genuine, "v1,"),
		"with a line end behind the body":    sign(raw, now, body+"\n"),
	} {
		claim(now, signature).has(t, 3, "Not verified", "It was signed "+differs)
	}
	claim(now, sign(make([]byte, 32), now, body)).has(t, 3, "another secret")
	claim(now.Add(-time.Hour), sign(raw, now.Add(-time.Hour), body)).has(t, 3, "stale")
	claim(now.Add(time.Second), genuine).has(t, 3, "another secret")
	claim(now, "v2,x").has(t, 3, "another secret")
	offline(t, body, "verify", "notification", "--id", "i", "--timestamp", "1", "--signature", "v1,x", "--secret-file", write(t, "short")).has(t, 3, "the secret is not whsec_")
	offline(t, body, "verify", "notification", "--id", "i", "--timestamp", "x", "--signature", "v1,x", "--secret-file", write(t, "short")).has(t, 3, "no number of seconds")
}
