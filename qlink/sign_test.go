package qlink

import (
	"bytes"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

type vector struct {
	AppKey     string `json:"appKey"`
	Secret     string `json:"secret"`
	Content    string `json:"content"`
	Mode       string `json:"mode"`
	SignedText string `json:"signedText"`
	Sign       string `json:"sign"`
}

func (v vector) mode() ContentMode {
	if v.Mode == "object" {
		return ContentObject
	}
	return ContentString
}

// vectors were made with Python's json and hashlib.
func vectors(tb testing.TB) []vector {
	tb.Helper()
	raw, err := os.ReadFile("testdata/signature-vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var rows []vector
	if err := json.Unmarshal(raw, &rows); err != nil {
		tb.Fatal(err)
	}
	if len(rows) == 0 {
		tb.Fatal("no vectors")
	}
	return rows
}

func TestEveryVectorVerifiesInItsModeAndInAuto(t *testing.T) {
	for _, v := range vectors(t) {
		for _, mode := range []ContentMode{v.mode(), ContentAuto} {
			if err := Verify(mode, v.AppKey, []string{v.Secret}, []byte(v.Content), v.Sign); err != nil {
				t.Errorf("%s of %s in mode %s: %v", v.Mode, v.Content, mode, err)
			}
		}
	}
}

func TestEveryVectorIsReproduced(t *testing.T) {
	names := map[string]string{"empty": "minimal", "object": "minimal"}
	for _, v := range vectors(t) {
		name, ok := names[v.Mode]
		if !ok {
			name = strings.TrimPrefix(v.Mode, "string/")
		}
		text := appendSignedText(nil, v.mode() == ContentObject, v.AppKey, []byte(v.Content), escapingNamed(t, name))
		if got := string(text) + v.Secret; got != v.SignedText {
			t.Errorf("%s signs\n%s, want\n%s", v.Mode, got, v.SignedText)
		}
		if name != "minimal" {
			continue
		}
		if got := Sign(v.mode(), v.AppKey, v.Secret, []byte(v.Content)); got != v.Sign {
			t.Errorf("%s of %s is signed %s, want %s", v.Mode, v.Content, got, v.Sign)
		}
		if got := SignedText(v.mode(), v.AppKey, []byte(v.Content)); got+v.Secret != v.SignedText {
			t.Errorf("SignedText is %s, want %s", got, v.SignedText)
		}
	}
}

func escapingNamed(tb testing.TB, name string) charSet {
	tb.Helper()
	for _, e := range escapings {
		if e.name == name {
			return e.set
		}
	}
	tb.Fatalf("no escaping is named %q", name)
	return 0
}

// signedLike signs as a gateway does whose library has this escaping.
func signedLike(set charSet, appKey, secret string, body []byte) string {
	sum := digest(appendSignedText(nil, false, appKey, body, set), secret)
	return hex.EncodeToString(sum[:])
}

// story 23: what is hashed is the bytes that came, however the sender had escaped them.
func TestEveryEscapingVerifies(t *testing.T) {
	body := []byte("{\"d\":\"<a href='x/y'> & = nbsp\u00a0 c1\u009f del\x7f ls\u2028 ps\u2029 描述 😀 \\\"q\\\"\"}")
	signs := map[string]string{}
	for _, e := range escapings {
		sign := signedLike(e.set, "k", "s3cr3t", body)
		if err := Verify(ContentString, "k", []string{"s3cr3t"}, body, sign); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		if other, ok := signs[sign]; ok {
			t.Errorf("%s and %s sign this body alike: it tests nothing", e.name, other)
		}
		signs[sign] = e.name
	}
}

// Two JSON libraries not written here confirm the escapings that they have.
func TestEscapingsAreThoseOfOtherLibraries(t *testing.T) {
	goLike := escapingNamed(t, "go")
	rapid.Check(t, func(t *rapid.T) {
		s := anyText().Draw(t, "s")
		goText, err := stdjson.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := `"` + string(appendEscaped(nil, s, goLike)) + `"`; got != string(goText) {
			t.Fatalf("go: %s, want %s", got, goText)
		}
		minimal, err := jsontext.AppendQuote(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := `"` + string(appendEscaped(nil, s, 0)) + `"`; got != string(minimal) {
			t.Fatalf("minimal: %s, want %s", got, minimal)
		}
	})
}

func TestAnOrdinaryBodyCostsOneHash(t *testing.T) {
	if got := candidates(classesIn(`{"tradeUuid":"u","status":"SUCCESS","payTime":"2025-08-04 13:45:21","d":"描述"}`)); len(got) != 1 {
		t.Errorf("%d candidates for a body that no library escapes differently", len(got))
	}
	if got := candidates(classesIn("<'/\u00a0\u2028>")); len(got) != len(escapings) {
		t.Errorf("%d candidates for a body with everything, want %d", len(got), len(escapings))
	}
}

func otherDigit(sign string, at int) string {
	digit := "0"
	if sign[at] == '0' {
		digit = "1"
	}
	return sign[:at] + digit + sign[at+1:]
}

// story 20, story 21, story 24
func TestAForgedSignatureIsRefused(t *testing.T) {
	body := []byte(`{"tradeUuid":"u","status":"SUCCESS","unknown":1}`)
	sign := Sign(ContentString, "k", "s3cr3t", body)
	for name, err := range map[string]error{
		"no signature":         Verify(ContentAuto, "k", []string{"s3cr3t"}, body, ""),
		"too short":            Verify(ContentAuto, "k", []string{"s3cr3t"}, body, sign[:38]),
		"too long":             Verify(ContentAuto, "k", []string{"s3cr3t"}, body, sign+"00"),
		"no hexadecimal":       Verify(ContentAuto, "k", []string{"s3cr3t"}, body, strings.Repeat("z", 40)),
		"another secret":       Verify(ContentAuto, "k", []string{"s3cr3T"}, body, sign),
		"another key":          Verify(ContentAuto, "K", []string{"s3cr3t"}, body, sign),
		"another last digit":   Verify(ContentAuto, "k", []string{"s3cr3t"}, body, otherDigit(sign, 39)),
		"another first digit":  Verify(ContentAuto, "k", []string{"s3cr3t"}, body, otherDigit(sign, 0)),
		"no secrets":           Verify(ContentAuto, "k", nil, body, sign),
		"an empty secret":      Verify(ContentAuto, "k", []string{""}, body, Sign(ContentString, "k", "", body)),
		"an empty object's":    Verify(ContentAuto, "k", []string{""}, body, Sign(ContentObject, "k", "", body)),
		"no body":              Verify(ContentAuto, "k", []string{"s3cr3t"}, nil, sign),
		"a dropped field":      Verify(ContentAuto, "k", []string{"s3cr3t"}, []byte(`{"tradeUuid":"u","status":"SUCCESS"}`), sign),
		"the other mode":       Verify(ContentObject, "k", []string{"s3cr3t"}, body, sign),
		"object where string":  Verify(ContentString, "k", []string{"s3cr3t"}, body, Sign(ContentObject, "k", "s3cr3t", body)),
		"no mode means string": Verify("", "k", []string{"s3cr3t"}, body, Sign(ContentObject, "k", "s3cr3t", body)),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABodyAlteredByOneByteIsRefused(t *testing.T) {
	body := []byte(`{"tradeUuid":"u/1","status":"SUCCESS"}`)
	for _, mode := range []ContentMode{ContentString, ContentObject} {
		sign := Sign(mode, "k", "s3cr3t", body)
		for i := range body {
			for _, flip := range []byte{0x01, 0x20, 0x80} {
				altered := bytes.Clone(body)
				altered[i] ^= flip
				if Verify(ContentAuto, "k", []string{"s3cr3t"}, altered, sign) == nil {
					t.Fatalf("%s: %q passes for %q", mode, altered, body)
				}
			}
		}
	}
}

func TestUpperCaseSignaturesAndEverySecretVerify(t *testing.T) {
	body := []byte(`{"a":"b"}`)
	for _, secret := range []string{"new", "previous"} {
		sign := strings.ToUpper(Sign(ContentAuto, "k", secret, body))
		if err := Verify("", "k", []string{"new", "", "previous"}, body, sign); err != nil {
			t.Errorf("%s: %v", secret, err)
		}
	}
}

func TestAnAppKeyCannotReachOutOfItsString(t *testing.T) {
	if Sign(ContentString, `k","content":"{}`, "s", nil) == Sign(ContentString, "k", "s", []byte("{}")) {
		t.Error("an app key stands for a body")
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.AppKey, v.Secret, []byte(v.Content), v.Sign)
	}
	f.Add("k", "s", []byte("\x1f"), "")
	f.Add("k", "s", []byte("\xe2\x80"), strings.Repeat("0", 40))
	f.Fuzz(func(t *testing.T, appKey, secret string, body []byte, sign string) {
		if Verify(ContentAuto, appKey, []string{secret}, body, sign) == nil && secret == "" {
			t.Fatal("an empty secret verified")
		}
		for _, mode := range []ContentMode{ContentString, ContentObject} {
			err := Verify(mode, appKey, []string{secret}, body, Sign(mode, appKey, secret, body))
			if (err == nil) != (secret != "") {
				t.Fatalf("our own signature with secret %q: %v", secret, err)
			}
		}
		for _, e := range escapings {
			if secret != "" && Verify("", appKey, []string{secret}, body, signedLike(e.set, appKey, secret, body)) != nil {
				t.Fatalf("escaping %s is not known", e.name)
			}
		}
	})
}

var benchmarkBody = []byte(`{"tradeUuid":"6f1c2d0e-8a57-4a7b-9d0c-2f4b5a6c7d8e","billCode":"B20250804001","orderCode":"O20250804001",` +
	`"paymentRequestId":"pr-1","status":"SUCCESS","payTime":"2025-08-04 13:45:21","errorCode":""}`)

func BenchmarkSign(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Sign(ContentString, "app-1001", "s3cr3t", benchmarkBody)
	}
}

func BenchmarkVerify(b *testing.B) {
	secrets := []string{"s3cr3t"}
	for name, body := range map[string][]byte{
		"ordinary": benchmarkBody,
		"escaped":  append(bytes.Clone(benchmarkBody), "<'/\u00a0\u2028>"...),
	} {
		sign := strings.Repeat("0", 40) // a forged one costs most
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Verify(ContentString, "app-1001", secrets, body, sign) == nil {
					b.Fatal("verified")
				}
			}
		})
	}
}
