package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// maxWait bounds a long poll: proxies cut silent connections soon after.
const maxWait = 60 * time.Second

// status answers GET /bills/{id}, at once or, where the client asks to wait,
// when the bill differs from what the client knows; or as /events does.
func (h *Handler) status(w http.ResponseWriter, r *http.Request, id string) {
	if prefersEvents(r) {
		h.events(w, r, id)
		return
	}
	wait, preferred, err := requestedWait(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	b, err := h.Payments.Bill(r.Context(), h.Scope, id)
	if err == nil && wait > 0 {
		b, err = h.await(r, b, wait)
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if preferred && wait > 0 {
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	}
	h.writeBill(w, r, b)
}

// writeBill answers with a bill, or that it has not changed.
func (h *Handler) writeBill(w http.ResponseWriter, r *http.Request, b bill.Bill) {
	body := h.encodeView(r, &b)
	tag := tagOf(&b, body)
	h.admit(w, r, b)
	w.Header().Set("ETag", tag)
	if hasTag(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	write(w, r, http.StatusOK, typeJSON, body)
}

// tagOf returns the entity tag of a bill's JSON: the version, for people to
// read, and a hash, since the same version has another payUrl under another
// host.
func tagOf(b *bill.Bill, body []byte) string {
	sum := sha256.Sum256(body)
	tag := make([]byte, 0, 40)
	tag = strconv.AppendUint(append(tag, '"'), b.Version, 10)
	tag = hex.AppendEncode(append(tag, '-'), sum[:6])
	return string(append(tag, '"'))
}

// await waits until the bill is not the one the client knows. A client that
// names what it knows, and is behind, is answered at once; so is one that asks
// after a bill that has ended, whose next change may never come.
func (h *Handler) await(r *http.Request, b bill.Bill, wait time.Duration) (bill.Bill, error) {
	known := r.Header.Values("If-None-Match")
	tag := tagOf(&b, h.encodeView(r, &b))
	if len(known) > 0 && !hasTag(known, tag) || len(known) == 0 && b.Status.Final() {
		return b, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-h.Draining:
			cancel()
		case <-stop:
		}
	}()
	return h.Payments.Wait(ctx, h.Scope, b.ID, b.Version)
}

// requestedWait is how long the client is ready to wait, and whether that is a
// preference of the header: ?wait wins over it, since who writes it means it.
func requestedWait(r *http.Request) (wait time.Duration, preferred bool, err error) {
	if r.URL.RawQuery == "" { // as usual: there is nothing to parse
		return preferredWait(r), true, nil
	}
	query := r.URL.Query()
	if !query.Has("wait") {
		return preferredWait(r), true, nil
	}
	wait, ok := parseWait(query.Get("wait"))
	if !ok {
		return 0, false, errBadWait
	}
	return wait, false, nil
}

// parseWait reads seconds or a duration.
func parseWait(text string) (time.Duration, bool) {
	if wait, ok := parseSeconds(text); ok {
		return wait, true
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, false
	}
	return min(wait, maxWait), true
}

func parseSeconds(text string) (time.Duration, bool) {
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, false
	}
	return min(time.Duration(seconds)*time.Second, maxWait), true
}

// preferredWait reads the preference "wait" (RFC 7240, section 4.3). The first
// one counts, and one that cannot be read is ignored, as the RFC says.
func preferredWait(r *http.Request) time.Duration {
	for element := range strings.SplitSeq(strings.Join(r.Header.Values("Prefer"), ","), ",") {
		preference, _, _ := strings.Cut(element, ";")
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		wait, ok := parseSeconds(strings.Trim(strings.TrimSpace(value), `"`))
		if !ok {
			return 0
		}
		return wait
	}
	return 0
}

// hasTag compares weakly, as If-None-Match does: a tag may have been weakened
// on its way by who compressed the answer.
func hasTag(lists []string, tag string) bool {
	for element := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		element = strings.TrimSpace(element)
		if element == "*" || strings.TrimPrefix(element, "W/") == tag {
			return true
		}
	}
	return false
}
