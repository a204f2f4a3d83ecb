package cli

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

// bodies are the ways in which the other side may have had a body when it
// signed, other than as it was sent.
func bodies(body []byte) []guess[[]byte] {
	all := []guess[[]byte]{{"", body}}
	add := func(says string, other []byte) {
		for _, g := range all {
			if bytes.Equal(g.value, other) {
				return
			}
		}
		all = append(all, guess[[]byte]{says, other})
	}
	add("without the line end at the body's end", bytes.TrimRight(body, "\r\n"))
	add("with a line end behind the body", append(bytes.Clone(body), '\n'))
	add("with CR LF in place of the body's line ends", bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n")))
	add("with LF in place of the body's CR LF", bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
	add("without the byte order mark before the body", bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	add("over no body at all", nil)
	for _, g := range rewritten(body) {
		add(g.says, g.value)
	}
	return all
}

// rewritten are forms that libraries give a body when it is parsed and written
// again.
func rewritten(body []byte) (all []guess[[]byte]) {
	add := func(says string, options ...jsontext.Options) {
		v, err := jsontext.AppendFormat(nil, body, options...)
		if err != nil {
			return
		}
		v = bytes.TrimRight(v, "\n")
		all = append(all,
			guess[[]byte]{"over the body " + says, v},
			guess[[]byte]{"over the body " + says + ", its characters beyond ASCII escaped", asciiOnly(v)},
			guess[[]byte]{"over the body " + says + `, its slashes escaped`, slashed(v)},
			guess[[]byte]{"over the body " + says + `, its slashes and its characters beyond ASCII escaped`, slashed(asciiOnly(v))})
	}
	all = append(all,
		guess[[]byte]{"over the body with its characters beyond ASCII escaped", asciiOnly(body)},
		guess[[]byte]{"over the body with its slashes escaped", slashed(body)})
	add("without the white space between its tokens", jsontext.PreserveRawStrings(true))
	add("parsed and written again")
	add("parsed and written again, with a space after each comma and colon", jsontext.SpaceAfterColon(true), jsontext.SpaceAfterComma(true))
	for _, indent := range []string{"  ", "    ", "\t"} {
		add("parsed and written again, indented", jsontext.WithIndent(indent))
	}
	sorted := jsontext.Value(bytes.Clone(body))
	if sorted.Canonicalize() == nil {
		all = append(all, guess[[]byte]{"over the body parsed and written again, its names sorted", sorted})
	}
	return all
}

// asciiOnly escapes what lies beyond ASCII: in JSON it stands in strings alone.
func asciiOnly(body []byte) []byte {
	if !utf8.Valid(body) {
		return body
	}
	out := make([]byte, 0, len(body))
	for _, r := range string(body) {
		switch {
		case r < utf8.RuneSelf:
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func slashed(body []byte) []byte {
	plain := bytes.ReplaceAll(body, []byte(`\/`), []byte("/"))
	return bytes.ReplaceAll(plain, []byte("/"), []byte(`\/`))
}

// keys are the ways in which the other side may have had a secret.
func keys(secrets []string) (all []guess[string]) {
	for _, secret := range secrets {
		all = append(all, guess[string]{"", secret}) // every one of them verifies
	}
	for _, secret := range secrets {
		all = append(all,
			guess[string]{"with a line end behind the secret", secret + "\n"},
			guess[string]{"with CR LF behind the secret", secret + "\r\n"},
			guess[string]{"without the white space around the secret", strings.TrimSpace(secret)},
			guess[string]{"with quotation marks around the secret", `"` + secret + `"`})
		if raw, err := base64.StdEncoding.DecodeString(secret); err == nil {
			all = append(all, guess[string]{"with the secret decoded from base64", string(raw)})
		}
		if raw, err := hex.DecodeString(secret); err == nil {
			all = append(all, guess[string]{"with the secret decoded from hexadecimal", string(raw)})
		}
		if bare, ok := strings.CutPrefix(secret, payment.KeyPrefix); ok {
			all = append(all, guess[string]{"with the secret without its whsec_", bare})
			if raw, err := base64.StdEncoding.DecodeString(bare); err == nil {
				all = append(all, guess[string]{"with the secret as a Standard Webhooks key", string(raw)})
			}
		}
	}
	return all
}

// explains looks for the keys and texts that an HMAC-SHA256 was made with, the
// body behind the text, beginning with those that are right.
func explains(claimed, body []byte, keys, texts []guess[string]) (found bool, differs []string) {
	for _, body := range bodies(body) {
		for _, key := range keys {
			for _, text := range texts {
				mac := hmac.New(sha256.New, []byte(key.value))
				mac.Write([]byte(text.value))
				mac.Write(body.value)
				if hmac.Equal(mac.Sum(nil), claimed) {
					differs = fewest(differs, found, body.says, key.says, text.says)
					found = true
				}
			}
		}
	}
	return found, differs
}

// macOf decodes a signature however it was written, and says how where that is
// not as it should be.
func macOf(text string, size int, hexadecimal bool) (mac []byte, says string) {
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == size {
		if !hexadecimal {
			says = "in hexadecimal rather than base64"
		}
		return raw, says
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		raw, err := encoding.DecodeString(text)
		if err != nil || len(raw) != size {
			continue
		}
		switch {
		case hexadecimal:
			says = "in base64 rather than hexadecimal"
		case encoding != base64.StdEncoding:
			says = "in another base64 than the standard one with its padding"
		}
		return raw, says
	}
	return nil, ""
}
