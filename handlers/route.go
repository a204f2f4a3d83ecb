package handlers

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxBody bounds a request's body, in bytes. An order may be an eighth of it:
// see bill.MaxOrderSize.
const maxBody = 1 << 20

// endpoint is a resource: what it does by method, and what of its path varies.
type endpoint struct {
	get  func(*Handler, http.ResponseWriter, *http.Request, string)
	post func(*Handler, http.ResponseWriter, *http.Request, string)
	arg  string // a bill's id or an order's code

	buyer   bool // browsers may call it: CORS applies
	webhook bool // errors are worded as the gateway expects them
}

// ServeEndpoint answers a request for a path under the prefix; path is what
// follows the prefix, still percent-encoded ("/orders/A%2F1"). It always
// answers.
func (h *Handler) ServeEndpoint(w http.ResponseWriter, r *http.Request, path string) {
	setCommonHeaders(w.Header())
	h.boundBody(w, r)
	defer linger(w, r)
	e, ok := h.find(path)
	if !ok {
		h.fail(w, r, errNoRoute)
		return
	}
	if e.buyer && h.answerCORS(w, r, e) {
		return
	}
	switch {
	case e.get != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		e.get(h, w, r, e.arg)
	case e.post != nil && r.Method == http.MethodPost:
		e.post(h, w, r, e.arg)
	default:
		w.Header().Set("Allow", strings.Join(e.methods(), ", "))
		if e.webhook {
			h.refuseNotification(w, http.StatusMethodNotAllowed, "the method must be POST")
			return
		}
		h.fail(w, r, errMethod)
	}
}

// find is the whole table of endpoints.
func (h *Handler) find(path string) (endpoint, bool) {
	segments, ok := decodeSegments(path)
	if !ok {
		return endpoint{}, false
	}
	switch {
	case match(segments, "payNotification"):
		return endpoint{post: (*Handler).notification, webhook: true}, true
	case match(segments, "health"):
		return endpoint{get: (*Handler).health}, true
	case match(segments, "pay", "*"):
		return endpoint{get: (*Handler).payPage, arg: canonicalID(segments[1]), buyer: true}, true
	case match(segments, "bills", "*"):
		return endpoint{get: (*Handler).status, arg: canonicalID(segments[1]), buyer: true}, true
	case match(segments, "bills", "*", "*"):
		return h.findOfBill(canonicalID(segments[1]), segments[2])
	case len(h.APISecrets) == 0:
		return endpoint{}, false
	case match(segments, "bills"):
		return endpoint{post: (*Handler).create, buyer: true}, true
	case match(segments, "orders", "*"):
		return endpoint{get: (*Handler).order, arg: segments[1]}, true
	case match(segments, "orders", "*", "cancel"):
		return endpoint{post: (*Handler).cancelOrder, arg: segments[1]}, true
	}
	return endpoint{}, false
}

func (h *Handler) findOfBill(id, what string) (endpoint, bool) {
	e := endpoint{arg: id, buyer: true}
	switch what {
	case "events":
		e.get = (*Handler).events
	case "cancel":
		e.post = (*Handler).cancelBill
	case "refresh":
		e.post = (*Handler).refresh
	case "choose":
		e.post = (*Handler).choose
	case "retry":
		e.post = (*Handler).retry
	case "qr.svg":
		e.get = (*Handler).qrSVG
	case "qr.png":
		e.get = (*Handler).qrPNG
	default:
		return endpoint{}, false
	}
	return e, true
}

func (e endpoint) methods() []string {
	var allowed []string
	if e.get != nil {
		allowed = append(allowed, http.MethodGet, http.MethodHead)
	}
	if e.post != nil {
		allowed = append(allowed, http.MethodPost)
	}
	return allowed
}

// decodeSegments decodes each segment on its own, so that an encoded slash
// belongs to an order's code.
func decodeSegments(path string) ([]string, bool) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil || decoded == "" {
			return nil, false
		}
		segments[i] = decoded
	}
	return segments, true
}

// match compares segments with a pattern in which "*" is any one segment.
func match(segments []string, pattern ...string) bool {
	return slices.EqualFunc(segments, pattern, func(s, p string) bool { return p == "*" || s == p })
}

// canonicalID returns text if it is a UUID in canonical form, which all ids are,
// and else the empty id, which no bill has: a malformed id is answered like any
// unknown one.
func canonicalID(text string) string {
	if !isID(text) {
		return ""
	}
	return text
}

func isID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

func setCommonHeaders(header http.Header) {
	setHeaders(header, "Cache-Control", "no-store", "X-Content-Type-Options", "nosniff")
}
