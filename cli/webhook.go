package cli

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

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
