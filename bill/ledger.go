package bill

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
)

// NewLedger names the place at the gateway where payments are booked: one
// endpoint and appKey. It is a hash, so that neither is stored with every
// bill; spellings of one endpoint (case of the host, its default port, a slash
// at the end) share a ledger.
func NewLedger(endpoint, appKey string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme == "" {
		return "", errors.New("the endpoint is not an absolute URL")
	}
	if appKey == "" {
		return "", errors.New("the app key is empty")
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch port := u.Port(); {
	case scheme == "http" && port == "80", scheme == "https" && port == "443":
		host = strings.TrimSuffix(host, ":"+port)
	}
	place := scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/")
	sum := sha256.Sum256([]byte(place + "\n" + appKey))
	return hex.EncodeToString(sum[:16]), nil
}
