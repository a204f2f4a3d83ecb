package qlink

import (
	"slices"
	"strings"
	"unicode"
)

// aboutKey says whether the gateway's words are a complaint about the signature or the key.
// No list of its messages is published, so this looks for words: "design" and "assigned"
// are none, "SIGN_ERROR", "invalidSign" and "验签失败" are. To be wrong here is harmless, as
// KindAuth proves nothing about the payment.
func aboutKey(message string) bool {
	for _, term := range []string{"签名", "验签", "密钥", "鉴权"} {
		if strings.Contains(message, term) {
			return true
		}
	}
	list := words(message)
	if strings.Contains(message, "重复") || slices.ContainsFunc(list, func(word string) bool {
		return slices.Contains([]string{"unique", "duplicate", "duplicated", "repeated"}, word)
	}) {
		return false // of a tradeUuid: "must be unique under an appKey"
	}
	for i, word := range list {
		switch word {
		case "sign", "signature", "signatures", "signerror", "invalidsign", "appkey", "appsecret",
			"secret", "unauthorized", "unauthenticated", "authentication", "authorization", "credential", "credentials":
			return true
		case "key":
			if i > 0 && slices.Contains([]string{"app", "api", "access", "secret", "invalid", "unknown"}, list[i-1]) {
				return true
			}
		}
	}
	return false
}

// words splits at whatever is no letter and before each capital after a small letter, and
// returns the parts in lower case.
func words(s string) []string {
	var b strings.Builder
	previous := ' '
	for _, r := range s {
		if unicode.IsUpper(r) && unicode.IsLower(previous) {
			b.WriteByte(' ')
		}
		if unicode.IsLetter(r) {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteByte(' ')
		}
		previous = r
	}
	return strings.Fields(b.String())
}
