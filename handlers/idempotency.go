package handlers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

const (
	idempotencyHeader = "Idempotency-Key"
	maxIdempotencyKey = 255
)

// idempotency names a signed request by its Idempotency-Key, nil where it has
// none. The name is a hash with the secret itself, not its place in the list:
// rotating secrets changes no name. Shops that share a secret do not share
// keys.
func (h *Handler) idempotency(r *http.Request, secret string, body []byte) (*payment.Idempotency, error) {
	values := r.Header.Values(idempotencyHeader)
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) != 1 || !isIdempotencyKey(values[0]) {
		return nil, errIdempotencyKey
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join([]string{idempotencyHeader, h.Scope.Account.Ledger, h.Scope.Shop, values[0]}, "\x00")))
	return &payment.Idempotency{Key: hex.EncodeToString(mac.Sum(nil)), Body: digest(body)}, nil
}

func isIdempotencyKey(text string) bool {
	return text != "" && len(text) <= maxIdempotencyKey &&
		!strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// digest is the SHA-256 of a body in hexadecimal.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}
