package handlers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// PaidCookie is the name of the cookie in which a browser keeps passes: which
// bills it has been shown as paid.
const PaidCookie = "qlink_paid"

const (
	passAge    = 30 * 24 * time.Hour
	maxPasses  = 32 // in one cookie, the newest first: 2.5 KB of the 4 KB that browsers keep
	maxCookies = 4  // of that name in one request: a neighbour under the same domain may have set one, too
)

// A pass is one version byte, the bill's id, when it expires in Unix seconds
// (big-endian), and the signature over those and the scope; in base64, whose
// padding its length leaves out, so that there is one way to write it.
const (
	passVersion = 1
	passSigned  = 1 + 16 + 8
	passSize    = passSigned + sha256.Size
)

// passes signs and verifies the passes of one account and shop.
//
// A pass opens nothing by itself: it says that this browser has held the
// unguessable id of a bill that was paid. Of which order, of how much, and that
// it is paid at all, the store says each time. So neither a copied list of
// order codes nor a secret that has leaked opens more than bills whose ids are
// known.
//
// The keys are derived from the account's secrets, of which the first signs and
// every one verifies, as with notifications: see payment.Account.Keys.
type passes struct {
	keys  [][]byte
	scope []byte // account and shop, which every signature covers
}

// passInfo tells these keys from all others that may be derived from a secret.
const passInfo = "caddy-qlink " + PaidCookie + " v1"

func newPasses(s payment.Scope) (p passes, err error) {
	if p.keys, err = s.Account.Keys(passInfo); err != nil {
		return passes{}, err
	}
	for _, name := range []string{s.Account.Name, s.Shop} {
		p.scope = binary.AppendUvarint(p.scope, uint64(len(name)))
		p.scope = append(p.scope, name...)
	}
	return p, nil
}

// pass is one that can be read; whether it is genuine is another question.
type pass struct {
	id      string
	expires time.Time
	raw     []byte
}

// parsePass reads one pass.
func parsePass(text string) (pass, bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(passSize) {
		return pass{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != passSize || raw[0] != passVersion {
		return pass{}, false
	}
	return pass{
		id:      uuid.UUID(raw[1:17]).String(),
		expires: time.Unix(int64(binary.BigEndian.Uint64(raw[17:passSigned])), 0), //nolint:gosec // what overflows is in the past, or not genuine
		raw:     raw,
	}, true
}

// sign returns the pass for a bill, "" where there is nothing to sign with.
func (p passes) sign(id string, expires time.Time) string {
	parsed, err := uuid.Parse(id)
	if err != nil || len(p.keys) == 0 {
		return ""
	}
	raw := append([]byte{passVersion}, parsed[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(expires.Unix())) //nolint:gosec // no time of ours is before 1970
	return base64.RawURLEncoding.EncodeToString(append(raw, p.signature(p.keys[0], raw)...))
}

func (p passes) signature(key, signed []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	mac.Write(p.scope)
	return mac.Sum(nil)
}

// valid reports whether h is genuine, of this account and shop, and has not
// expired.
func (p passes) valid(h pass, now time.Time) bool {
	genuine := false
	for _, key := range p.keys {
		if hmac.Equal(p.signature(key, h.raw[:passSigned]), h.raw[passSigned:]) {
			genuine = true
		}
	}
	return genuine && now.Before(h.expires)
}

// held returns the passes of a request that can be read, genuine or not.
func held(r *http.Request) []pass {
	var all []pass
	cookies := r.CookiesNamed(PaidCookie)
	for _, c := range cookies[:min(len(cookies), maxCookies)] {
		texts := strings.SplitN(c.Value, ".", maxPasses+1)
		for _, text := range texts[:min(len(texts), maxPasses)] {
			if h, ok := parsePass(text); ok {
				all = append(all, h)
			}
		}
	}
	return all
}

// bills returns the ids of the bills for which a request has a valid pass.
func (p passes) bills(r *http.Request, now time.Time) []string {
	var ids []string
	for _, h := range held(r) {
		if p.valid(h, now) && !slices.Contains(ids, h.id) {
			ids = append(ids, h.id)
		}
	}
	return ids
}

// with returns the cookie's value for a browser that holds these passes and is
// to hold one for the bill, "" where it has a good one already. Passes that
// other accounts and shops of this host have signed are kept.
func (p passes) with(holds []pass, id string, now time.Time) string {
	added := p.sign(id, now.Add(passAge))
	texts := []string{added}
	for _, h := range holds {
		text := base64.RawURLEncoding.EncodeToString(h.raw)
		switch {
		case h.id == id && p.valid(h, now) && h.expires.Sub(now) > passAge/2:
			return ""
		case h.id != id && now.Before(h.expires) && len(texts) < maxPasses && !slices.Contains(texts, text):
			texts = append(texts, text)
		}
	}
	if added == "" {
		return ""
	}
	return strings.Join(texts, ".")
}

// admit gives a browser that is shown a paid bill a pass for it. It has to come
// before the answer's headers are written.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, b bill.Bill) {
	if b.Status != bill.Success || h.PaidCookie == nil || !h.PaidCookie() {
		return
	}
	value := h.passes.with(held(r), b.ID, h.Now())
	if value == "" {
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever buyers come by https: over plain http it would never come back
		Name: PaidCookie, Value: value, Path: "/", MaxAge: int(passAge / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(h.base(r), "https:"),
	})
}
