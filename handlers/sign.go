package handlers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// SignatureHeader carries the signature of a request to a signed endpoint.
const SignatureHeader = "QLink-Signature"

// maxTimeDigits bounds a signature's time: eleven digits reach the year 5138.
const maxTimeDigits = 11

// Sign returns the value of SignatureHeader for a request: uri is its path
// with the query, exactly as sent; at has a precision of seconds.
func Sign(secret string, at time.Time, method, uri string, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(authenticator(secret, seconds, method, uri, body))
}

func authenticator(secret, seconds, method, uri string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(seconds + "." + method + "." + uri + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// signed is a signature that has been verified.
type signed struct {
	Secret string // of which it was made
	At     time.Time
}

// verify checks a request's signature against every secret. It returns
// errSignature, or errStale where the signature is genuine but too old or too
// far in the future: only who has the secret learns that.
func (h *Handler) verify(r *http.Request, body []byte) (signed, error) {
	values := r.Header.Values(SignatureHeader)
	if len(values) != 1 {
		return signed{}, errSignature
	}
	seconds, claimed, ok := parseSignature(values[0])
	if !ok {
		return signed{}, errSignature
	}
	uri := sentURI(h.RequestURI(r))
	secret := ""
	for _, candidate := range h.APISecrets {
		if hmac.Equal(authenticator(candidate, seconds, r.Method, uri, body), claimed) && candidate != "" {
			secret = candidate
		}
	}
	if secret == "" {
		return signed{}, errSignature
	}
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return signed{}, errSignature
	}
	s := signed{Secret: secret, At: time.Unix(at, 0).UTC()}
	if age := h.Now().Sub(s.At); age > h.MaxAge || age < -h.MaxAge {
		return signed{}, errStale
	}
	return s, nil
}

// parseSignature reads exactly "t=<digits>,v1=<64 hexadecimal digits>": one
// way to write it, so that nothing is read in two ways.
func parseSignature(value string) (seconds string, mac []byte, ok bool) {
	first, second, found := strings.Cut(value, ",")
	seconds, hasTime := strings.CutPrefix(first, "t=")
	hexMAC, hasMAC := strings.CutPrefix(second, "v1=")
	if !found || !hasTime || !hasMAC || !isUnixTime(seconds) {
		return "", nil, false
	}
	if len(hexMAC) != hex.EncodedLen(sha256.Size) {
		return "", nil, false
	}
	mac, err := hex.DecodeString(hexMAC)
	if err != nil {
		return "", nil, false
	}
	return seconds, mac, true
}

func isUnixTime(text string) bool {
	return text != "" && len(text) <= maxTimeDigits && text[0] != '0' && strings.Trim(text, "0123456789") == ""
}

// sentURI takes path and query out of a request line that names the whole
// address, as some proxies write it.
func sentURI(uri string) string {
	if strings.HasPrefix(uri, "/") {
		return uri
	}
	u, err := url.Parse(uri)
	if err != nil {
		return uri
	}
	return u.RequestURI()
}
