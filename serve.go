package caddyqlink

import (
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ServeHTTP answers what is ours and passes all else on.
//
// Caddy's order puts rewrites before us, and basic_auth and forward_auth
// between the two. So a request is ours if its path is, either the current one
// or the one that the client sent; where both are, the rewrite has the last
// word. That opens nothing that was closed: whoever is sent to us by a rewrite
// was sent by the operator, whoever asked for our path by himself was let
// through by everything that comes before us, and an order counts only where
// the next handler, which sees the current path, answers with one.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if own, path := h.own(r); own != nil {
		h.endpoints.ServeEndpoint(w, own, path) // for hours, where it is a stream: nothing large is on the stack here
		return nil
	}
	checkout, err := h.isCheckout(r)
	if err != nil {
		return err
	}
	if !checkout {
		return next.ServeHTTP(w, r)
	}
	return h.serveCheckout(w, r, next)
}

// own returns the request to an endpoint of ours, and what follows the prefix in
// its path; nil where it is none.
func (h *Handler) own(r *http.Request) (own *http.Request, path string) {
	if path, ok := under(h.prefix, r.URL); ok {
		return r, path
	}
	if sent := sentURL(r); sent != nil {
		if path, ok := under(h.prefix, sent); ok {
			return withURL(r, sent), path
		}
	}
	return nil, ""
}

func (h *Handler) serveCheckout(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	// What comes next may rewrite r in place, and has to get r itself, since
	// Caddy's placeholders are bound to it. The answer to an order is about the
	// path as it was here.
	here := *r.URL
	return h.endpoints.Checkout(w, withURL(r, &here), func(w http.ResponseWriter, _ *http.Request) error {
		return next.ServeHTTP(w, r)
	})
}

// under returns what follows the prefix in a path, percent-encoded. A prefix
// holds no character that has to be encoded.
func under(prefix string, u *url.URL) (string, bool) {
	path, ok := strings.CutPrefix(u.EscapedPath(), prefix)
	return path, ok && (path == "" || path[0] == '/')
}

func (h *Handler) isCheckout(r *http.Request) (bool, error) {
	if r.Method != http.MethodPost && r.Method != http.MethodOptions || len(h.checkout) == 0 {
		return false, nil
	}
	matches, err := h.checkout.MatchWithError(r)
	if sent := sentURL(r); !matches && err == nil && sent != nil {
		return h.checkout.MatchWithError(withURL(r, sent))
	}
	return matches, err
}

// sent is the request before any rewrite, as far as Caddy keeps it.
func sent(r *http.Request) (http.Request, bool) {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	return original, ok
}

func sentURL(r *http.Request) *url.URL {
	original, _ := sent(r)
	return original.URL
}

// sentURI is path and query in the client's very bytes: what is signed.
func sentURI(r *http.Request) string {
	if original, ok := sent(r); ok {
		return original.RequestURI
	}
	return r.RequestURI
}

func withURL(r *http.Request, u *url.URL) *http.Request {
	changed := r.WithContext(r.Context())
	changed.URL = u
	return changed
}

// baseURL is the address under which the client sees the prefix's parent. What
// a client says of itself counts only where it is a trusted proxy.
func (h *Handler) baseURL(r *http.Request) string {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		if p := forwarded(r, "X-Forwarded-Proto"); p == "http" || p == "https" {
			scheme = p
		}
		if f := forwarded(r, "X-Forwarded-Host"); isHost(f) {
			host = f
		}
	}
	return scheme + "://" + host + h.strippedPath(r)
}

// forwarded returns the last value of a header: what the proxy that talks to
// us said, as Caddy's reverse_proxy reads it.
func forwarded(r *http.Request, header string) string {
	values := r.Header.Values(header)
	if len(values) == 0 {
		return ""
	}
	last := values[len(values)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}

func isHost(v string) bool {
	u, err := url.Parse("http://" + v)
	return err == nil && v != "" && u.Host == v
}

// strippedPath returns what handle_path or uri strip_prefix took off the path
// that the client sent: the prefix's parent lies under it. An untouched or
// wholly rewritten path, and a prefix that names the stripped part itself,
// have none.
func (h *Handler) strippedPath(r *http.Request) string {
	original := sentURL(r)
	if original == nil {
		return ""
	}
	stripped, ok := strings.CutSuffix(original.EscapedPath(), r.URL.EscapedPath())
	if !ok || strings.HasPrefix(h.prefix+"/", stripped+"/") {
		return ""
	}
	return stripped
}

// clientIP is the client's address as Caddy found it behind trusted proxies.
func clientIP(r *http.Request) string {
	if ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ip != "" {
		return ip
	}
	return r.RemoteAddr
}

// drain tells long polls to answer, since their server shuts down. The
// configuration's context comes too late for that: it ends after the server's
// shutdown, which waits for the polls.
type drain struct {
	started <-chan struct{}
	once    func()
}

func newDrain(ctx caddy.Context) drain {
	started := make(chan struct{})
	d := drain{started: started, once: sync.OnceFunc(func() { close(started) })}
	// Caddy hands the server to the handlers it provisions; no other way leads
	// to its shutdown.
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server != nil {
		server.RegisterOnShutdown(d.once)
	}
	return d
}

// start may be called twice, and on the zero value.
func (d drain) start() {
	if d.once != nil {
		d.once()
	}
}
