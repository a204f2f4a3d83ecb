package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"strings"
)

// A form carries a token that only a page of ours, drawn for the same user, can
// hold: browsers send passwords along with whatever form another site makes up.
// Of several nodes with the same keys, each takes the forms of every other.

// mac is the same for all forms of a user.
func (v *visit) mac(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("console form\x00" + v.user))
	return h.Sum(nil)
}

// token returns one, which looks different each time: a compressed page that
// repeats what it was asked must not tell the token by its length.
func (v *visit) token() string {
	token := make([]byte, 2*sha256.Size)
	mask, mixed := token[:sha256.Size], token[sha256.Size:]
	_, _ = rand.Read(mask) // it never fails
	subtle.XORBytes(mixed, mask, v.mac(v.Keys[0]))
	return base64.RawURLEncoding.EncodeToString(token)
}

func (v *visit) validToken(token string) bool {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(data) != 2*sha256.Size {
		return false
	}
	mask, mixed := data[:sha256.Size], data[sha256.Size:]
	subtle.XORBytes(mixed, mask, mixed)
	genuine := false
	for _, key := range v.Keys {
		if hmac.Equal(mixed, v.mac(key)) {
			genuine = true
		}
	}
	return genuine
}

// fromHere reports whether a browser says that a form was on a page of this
// very origin. One that says nothing at all is none that an operator uses.
func (v *visit) fromHere() bool {
	sites, origins := v.r.Header.Values("Sec-Fetch-Site"), v.r.Header.Values("Origin")
	switch {
	case len(sites) > 1 || len(origins) > 1:
		return false
	case len(sites) == 1:
		return sites[0] == "same-origin"
	case len(origins) == 0:
		return false
	}
	// Over plain http, and in browsers of some years ago, there is only this one.
	origin, err := url.Parse(origins[0])
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, v.Host(v.r))
}
