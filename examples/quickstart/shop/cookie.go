package shop

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

const (
	cookieName = "quickstart_cart"
	cookieLife = 30 * 24 * time.Hour
)

// cartID reads the id of the buyer's cart from the request's cookie; "" where
// there is none or it was not signed with key. An id that a stranger made up,
// or planted in somebody's browser, thus never opens a cart.
func cartID(r *http.Request, key []byte) string {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	id, seal, _ := strings.Cut(cookie.Value, ".")
	if !hmac.Equal([]byte(seal), []byte(sealOf(id, key))) {
		return ""
	}
	return id
}

// ensureCartID is cartID, but gives a buyer without a cart a new one.
func ensureCartID(w http.ResponseWriter, r *http.Request, key []byte) string {
	id := cartID(r, key)
	if id == "" {
		id = rand.Text()
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever the buyer came over TLS; the demonstration has plain http
		Name:     cookieName,
		Value:    id + "." + sealOf(id, key),
		Path:     "/",
		MaxAge:   int(cookieLife.Seconds()),
		HttpOnly: true,
		// Lax, not Strict: the way back from a bank's page must find the cart.
		SameSite: http.SameSiteLaxMode,
		Secure:   r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
	return id
}

func sealOf(id string, key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
