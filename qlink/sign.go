package qlink

import (
	"crypto/sha1" //nolint:gosec // section 2 of the gateway's document prescribes SHA-1
	"crypto/subtle"
	"encoding/hex"
	"errors"
)

// ContentMode says how a body stands in the text that is signed. The zero value means
// ContentString.
type ContentMode string

const (
	// ContentString puts the body in as a JSON string, as the document says.
	ContentString ContentMode = "string"
	// ContentObject puts the body in verbatim, as gateways of the same family do.
	ContentObject ContentMode = "object"
	// ContentAuto signs like ContentString and verifies either.
	ContentAuto ContentMode = "auto"
)

// ErrSignature says that a signature is missing, malformed or made with another key or
// over another body; deliberately never which.
var ErrSignature = errors.New("the signature does not match")

// SignedText returns the text of which the secret's holder makes the signature, without
// the secret that is appended to it (section 2), for diagnosis.
func SignedText(mode ContentMode, appKey string, body []byte) string {
	return string(appendSignedText(nil, mode == ContentObject, appKey, body, 0))
}

// Sign returns the signature of a body in lower-case hexadecimal (section 2). An empty
// body is signed as a request with no content.
func Sign(mode ContentMode, appKey, secret string, body []byte) string {
	text := appendSignedText(signedTextBuffer(appKey, secret, body), mode == ContentObject, appKey, body, 0)
	sum := digest(text, secret)
	return hex.EncodeToString(sum[:])
}

// Verify checks a signature over the raw bytes of a body, in upper or lower case, against
// every secret and every way in which a JSON library may have escaped the body. It
// returns ErrSignature unless one of them matches. An empty secret never does.
//
// A body that no library escapes differently costs one hash for each secret and mode.
func Verify(mode ContentMode, appKey string, secrets []string, body []byte, sign string) error {
	var claimed [sha1.Size]byte
	if len(sign) != hex.EncodedLen(sha1.Size) {
		return ErrSignature
	}
	if _, err := hex.Decode(claimed[:], []byte(sign)); err != nil {
		return ErrSignature
	}
	if mode != ContentObject && matches(false, appKey, secrets, body, claimed) {
		return nil
	}
	if (mode == ContentObject || mode == ContentAuto) && matches(true, appKey, secrets, body, claimed) {
		return nil
	}
	return ErrSignature
}

// matches compares in constant time, so that nobody can find a signature digit by digit.
// Returning at the first match tells only the sender of a genuine message something.
func matches(object bool, appKey string, secrets []string, body []byte, claimed [sha1.Size]byte) bool {
	present := classesIn(appKey)
	if !object {
		present |= classesIn(body)
	}
	buffer := signedTextBuffer(appKey, longest(secrets), body)
	for _, set := range candidates(present) {
		text := appendSignedText(buffer, object, appKey, body, set)
		for _, secret := range secrets {
			if secret == "" {
				continue
			}
			sum := digest(text, secret)
			if subtle.ConstantTimeCompare(sum[:], claimed[:]) == 1 {
				return true
			}
		}
	}
	return false
}

func appendSignedText(dst []byte, object bool, appKey string, body []byte, set charSet) []byte {
	dst = append(dst, `{"appKey":"`...)
	dst = appendEscaped(dst, appKey, set)
	dst = append(dst, '"')
	switch {
	case len(body) == 0:
	case object:
		dst = append(dst, `,"content":`...)
		dst = append(dst, body...)
	default:
		dst = append(dst, `,"content":"`...)
		dst = appendEscaped(dst, body, set)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// signedTextBuffer has room for the usual signed text with its secret: an escape for
// every eighth byte, which is what the quotation marks of a JSON body come to.
func signedTextBuffer(appKey, secret string, body []byte) []byte {
	const frame = len(`{"appKey":"","content":""}`)
	return make([]byte, 0, frame+len(appKey)+len(secret)+len(body)+len(body)/4)
}

func longest(secrets []string) (longest string) {
	for _, s := range secrets {
		if len(s) > len(longest) {
			longest = s
		}
	}
	return longest
}

func digest(text []byte, secret string) [sha1.Size]byte {
	return sha1.Sum(append(text, secret...)) //nolint:gosec // prescribed, see the import
}
