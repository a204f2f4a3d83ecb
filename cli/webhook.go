package cli

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// Standard Webhooks' form of a secret; it bounds keys, in bytes.
const (
	keyPrefix = "whsec_"
	minKey    = 24
	maxKey    = 64
)

// errKey never quotes a secret.
var errKey = errors.New("is not whsec_ and the base64 of 24 to 64 bytes")

func webhookKey(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, keyPrefix)
	if !ok {
		return nil, errKey
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, errKey
	}
	return key, nil
}

// webhookSignature is one entry of the header webhook-signature. The timestamp
// is taken as text, so that what somebody else wrote is what is verified.
func webhookSignature(key []byte, id, timestamp string, body []byte) string {
	return "v1," + base64.StdEncoding.EncodeToString(webhookMAC(key, id, timestamp, body))
}

func webhookMAC(key []byte, id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}
