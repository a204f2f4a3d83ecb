package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// parseOrigins brings origins into the form in which browsers send them.
func parseOrigins(texts []string) ([]string, error) {
	origins := make([]string, 0, len(texts))
	for _, text := range texts {
		u, err := webAddress(text)
		if err != nil {
			return nil, err
		}
		if strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("%q is not an origin: it has a path", text)
		}
		origins = append(origins, originOf(u))
	}
	return origins, nil
}

// originOf writes scheme and host in lower case, without the scheme's own
// port.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	defaultPort := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	return u.Scheme + "://" + strings.TrimSuffix(host, defaultPort)
}

func (h *Handler) allowed(origin string) bool {
	return slices.Contains(h.AllowedOrigins, origin)
}

// fromHere decides whether a browser's POST comes from this site or an allowed
// one. Programs, which send neither header, pass: an id is secret enough.
func (h *Handler) fromHere(r *http.Request) bool {
	origins, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	if len(origins) > 1 || len(sites) > 1 {
		return false
	}
	origin, site := strings.Join(origins, ""), strings.Join(sites, "")
	sameSite := site == "same-origin" || site == "none"
	switch {
	case h.allowed(origin):
		return true
	case site != "" && !sameSite:
		return false
	case origin == "":
		return true
	case origin == "null":
		// Sent for a form on a page whose referrer policy hides where it is.
		return sameSite
	}
	return h.ownHost(r, origin)
}

// ownHost compares the host alone: behind a proxy that ends TLS the scheme of
// the connection is not what the buyer sees.
func (h *Handler) ownHost(r *http.Request, origin string) bool {
	theirs, err := url.Parse(origin)
	if err != nil || theirs.Host == "" {
		return false
	}
	for _, base := range []string{h.base(r), h.BaseURL(r)} {
		ours, err := url.Parse(base)
		if err == nil && sameHost(ours, theirs) {
			return true
		}
	}
	return false
}

func sameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && explicitPort(a) == explicitPort(b)
}

func explicitPort(u *url.URL) string {
	if port := u.Port(); port != "80" && port != "443" {
		return port
	}
	return ""
}

// answerCORS lets pages of allowed origins read answers, and answers their
// preflights. It reports whether the request has been answered.
func (h *Handler) answerCORS(w http.ResponseWriter, r *http.Request, e endpoint) bool {
	h.setCORS(w, r)
	if !isPreflight(r) {
		return false
	}
	if !h.allowed(r.Header.Get("Origin")) {
		h.fail(w, r, errOrigin)
		return true
	}
	allowMethods(w, e.methods())
	return true
}

func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// allowMethods ends a preflight.
func allowMethods(w http.ResponseWriter, methods []string) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	header.Set("Access-Control-Allow-Headers", "Accept, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, "+SignatureHeader)
	header.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// setCORS allows an allowed origin to read the answer. Credentials are
// included because a shop's own checkout route, whose answer we replace, is
// called with the shop's cookies.
func (h *Handler) setCORS(w http.ResponseWriter, r *http.Request) {
	if len(h.AllowedOrigins) == 0 {
		return
	}
	header := w.Header()
	header.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); h.allowed(origin) {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
		header.Set("Access-Control-Expose-Headers", "ETag, Location, Preference-Applied, Retry-After")
	}
}
