package sandbox

import (
	"crypto/sha1" //nolint:gosec // section 2 of the gateway's document prescribes SHA-1
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// escaping is how one JSON library writes the content's text: besides quotes,
// backslashes and controls it escapes those for which escapes is true.
type escaping struct {
	name    string
	what    string // for people
	escapes func(rune) bool
}

// strict are the escapings the sandbox can insist on, and then asciiOnly, which
// no known gateway has and merchants often do. They are written a second time
// here, apart from package qlink's, so that the one checks the other.
var (
	strict = []escaping{
		{"minimal", `only ", \ and controls escaped`, func(rune) bool { return false }},
		{"c1", "U+007F to U+00A0, U+2028 and U+2029 escaped too", func(r rune) bool {
			return (r >= 0x7f && r <= 0xa0) || lineSeparator(r)
		}},
		{"html", "<, >, &, =, ', U+2028 and U+2029 escaped too", func(r rune) bool {
			return strings.ContainsRune("<>&='", r) || lineSeparator(r)
		}},
		{"slash", "/ escaped too", func(r rune) bool { return r == '/' }},
		{"go", "<, >, &, U+2028 and U+2029 escaped too", func(r rune) bool {
			return strings.ContainsRune("<>&", r) || lineSeparator(r)
		}},
	}
	asciiOnly = escaping{"ascii", "everything but ASCII escaped", func(r rune) bool { return r > 0x7e }}
)

func lineSeparator(r rune) bool { return r == 0x2028 || r == 0x2029 }

func escapingNames() []string {
	names := make([]string, 0, len(strict))
	for _, e := range strict {
		names = append(names, e.name)
	}
	return names
}

// quote writes s as a JSON string.
func (e escaping) quote(s string) string {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case short[r] != "":
			b.WriteString(short[r])
		case r == '/' && e.escapes(r):
			b.WriteString(`\/`)
		case r < ' ' || e.escapes(r):
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// text is the text a sign is made of, the secret apart (document, section 2).
func (e escaping) text(appKey string, body []byte) string {
	if len(body) == 0 {
		return `{"appKey":` + e.quote(appKey) + `}`
	}
	return `{"appKey":` + e.quote(appKey) + `,"content":` + e.quote(string(body)) + `}`
}

func objectText(appKey string, body []byte) string {
	return `{"appKey":` + strict[0].quote(appKey) + `,"content":` + string(body) + `}`
}

// signs reports whether sign is the one of a text that has the secret in it.
func signs(textWithSecret, sign string) bool {
	sum := sha1.Sum([]byte(textWithSecret)) //nolint:gosec // the document prescribes SHA-1
	return subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(strings.ToLower(sign))) == 1
}

// judge tells who calls, or what is wrong with how he says so. It never tells
// a secret, nor a sign that would have been right.
func (s *Sandbox) judge(h http.Header, body []byte, earlier func(sign string) *Call) (*app, *refusal) {
	for _, name := range []string{"appKey", "sign"} {
		switch values := h.Values(name); {
		case len(values) == 0 || (len(values) == 1 && values[0] == ""):
			return nil, unsigned("the header %s is missing", name)
		case len(values) > 1:
			return nil, unsigned("the header %s is there %d times", name, len(values))
		}
	}
	key, sign := h.Get("appKey"), h.Get("sign")
	merchant := s.conf.app(key)
	if merchant == nil {
		r := unsigned("the appKey %q is not known here", key)
		r.code = "UNKNOWN_APP_KEY"
		return nil, r
	}
	if problem := signForm(sign); problem != "" {
		return nil, unsigned("sign: %s", problem)
	}
	if !s.accepts(merchant, body, sign) {
		return nil, unsigned("sign: %s", s.diagnose(merchant, body, sign, earlier))
	}
	if s.conf.global && h.Get("serviceProvider") == "" {
		return nil, &refusal{code: "INVALID_PARAMETER", message: "the header serviceProvider is required in the global edition"}
	}
	return merchant, nil
}

// unsigned is a refusal that is about the caller's credentials. Its status is
// 401, so that nobody takes it for a refusal of the order.
func unsigned(format string, args ...any) *refusal {
	return &refusal{status: http.StatusUnauthorized, code: "INVALID_SIGN", message: fmt.Sprintf(format, args...)}
}

var hexForm = regexp.MustCompile(`^[0-9a-fA-F]*$`)

// signForm says what is wrong with a sign that cannot be a SHA-1 in hex.
func signForm(sign string) string {
	isHex := hexForm.MatchString(sign)
	switch {
	case isHex && len(sign) == 40:
		return ""
	case isHex && len(sign) == 32:
		return "32 hex digits look like an MD5; SHA-1 has 40"
	case isHex && len(sign) == 64:
		return "64 hex digits look like a SHA-256; SHA-1 has 40"
	case len(sign) == 28 && strings.HasSuffix(sign, "="):
		return "this looks like Base64; it must be hex, 40 digits"
	}
	return "it must be 40 hex digits"
}

// accepts is the gateway's own check.
func (s *Sandbox) accepts(a *app, body []byte, sign string) bool {
	if i := slices.IndexFunc(strict, func(e escaping) bool { return e.name == s.conf.escaping }); i >= 0 && s.conf.content == qlink.ContentString {
		return signs(strict[i].text(a.key, body)+a.secret, sign)
	}
	return qlink.Verify(s.conf.content, a.key, []string{a.secret}, body, sign) == nil
}

// suspect is a mistake, and the texts one would have signed by it.
type suspect struct {
	mistake string
	texts   []string // with the secret
}

// diagnose finds the mistake that explains a wrong sign.
func (s *Sandbox) diagnose(a *app, body []byte, sign string, earlier func(string) *Call) string {
	for _, group := range [][]suspect{s.otherContents(a, body), otherTexts(a, body), s.otherSecrets(a, body)} {
		for _, g := range group {
			if slices.ContainsFunc(g.texts, func(t string) bool { return signs(t, sign) }) {
				return g.mistake
			}
		}
	}
	if c := earlier(sign); c != nil {
		return fmt.Sprintf("it belongs to the %s call received at %s, whose body was another: "+
			"the body was altered after signing, or the sign was kept", c.Operation, c.Time.Format("15:04:05Z"))
	}
	form := "a JSON string"
	if s.conf.content == qlink.ContentObject {
		form = "it is, unquoted"
	}
	return fmt.Sprintf("it does not match: the secret is wrong, or the body was altered after signing. "+
		`Expected is the SHA-1 of {"appKey":%q,"content":<the %d bytes of the body as %s>}<the app's secret>`, a.key, len(body), form)
}

// otherContents are right signs in a form that this gateway does not take.
func (s *Sandbox) otherContents(a *app, body []byte) []suspect {
	list := []suspect{}
	if s.conf.content == qlink.ContentString {
		list = append(list, suspect{
			"the content was signed as an object; this gateway wants the body as a JSON string (signature_content string)",
			[]string{objectText(a.key, body) + a.secret},
		})
	}
	for _, e := range append(slices.Clone(strict), asciiOnly) {
		mistake := fmt.Sprintf("the content was escaped in another way: it verifies with escaping %s (%s)", e.name, e.what)
		if s.conf.escaping != "any" {
			mistake += ", and this gateway has " + s.conf.escaping
		}
		if s.conf.content == qlink.ContentObject {
			mistake = "the content was signed as a JSON string; this gateway wants the body as it is, unquoted (signature_content object)"
		}
		list = append(list, suspect{mistake, []string{e.text(a.key, body) + a.secret}})
	}
	return list
}

// otherTexts are the usual ways to build the signed text wrongly.
func otherTexts(a *app, body []byte) []suspect {
	key, content := strict[0].quote(a.key), strict[0].quote(string(body))
	right := strict[0].text(a.key, body)
	list := []suspect{
		{"the signed text holds white space; it must have none outside the content", []string{
			`{"appKey": ` + key + `, "content": ` + content + `}` + a.secret,
			`{"appKey": ` + key + `, "content": ` + asciiOnly.quote(string(body)) + `}` + a.secret,
			`{"appKey": ` + key + `, "content": ` + string(body) + `}` + a.secret,
		}},
		{"content comes first in the signed text; appKey must", []string{
			`{"content":` + content + `,"appKey":` + key + `}` + a.secret,
			`{"content":` + string(body) + `,"appKey":` + key + `}` + a.secret,
		}},
		{"the secret stands before the signed text; it must stand behind it", []string{a.secret + right, a.secret + objectText(a.key, body)}},
		{"the signed text lacks the secret at its end", []string{right, objectText(a.key, body)}},
		{"the body alone was signed, without appKey and content around it", []string{string(body) + a.secret}},
		{"the call was signed as one without content, but it has a body", []string{strict[0].text(a.key, nil) + a.secret}},
		{"the secret was followed by a line break", []string{right + a.secret + "\n", right + a.secret + "\r\n", objectText(a.key, body) + a.secret + "\n"}},
	}
	if rewritten := jsontext.Value(slices.Clone(body)); rewritten.Compact() == nil && string(rewritten) != string(body) {
		list = append(list, suspect{
			"the body was signed without its white space; the bytes that are sent must be signed",
			[]string{strict[0].text(a.key, rewritten) + a.secret, objectText(a.key, rewritten) + a.secret},
		})
	}
	return list
}

// otherSecrets are right texts with a secret that is not this app's.
func (s *Sandbox) otherSecrets(a *app, body []byte) []suspect {
	var list []suspect
	for _, b := range s.conf.apps {
		if b.key != a.key {
			list = append(list, suspect{
				fmt.Sprintf("it was made with the secret of another app, %q", b.key),
				[]string{strict[0].text(a.key, body) + b.secret, objectText(a.key, body) + b.secret},
			})
		}
	}
	return list
}

// callWithSign finds an accepted call that bore the sign.
func (l *ledger) callWithSign(sign string) *Call {
	for i := range slices.Backward(l.calls) {
		if c := &l.calls[i]; strings.EqualFold(c.Sign, sign) && c.Verdict == accepted {
			return c
		}
	}
	return nil
}
