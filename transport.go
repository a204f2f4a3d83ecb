package caddyqlink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// transport loads the account's transport; nil where none is configured.
func (a *Account) transport(ctx caddy.Context, endpoint string) (http.RoundTripper, error) {
	if a.TransportRaw == nil {
		return nil, nil //nolint:nilnil // no transport is the usual case, and the client's default
	}
	module, err := ctx.LoadModule(a, "TransportRaw")
	if err != nil {
		return nil, err
	}
	next, ok := module.(http.RoundTripper)
	if !ok {
		return nil, fmt.Errorf("%T carries no HTTP requests", module)
	}
	tls, ok := module.(interface{ TLSEnabled() bool })
	if ok && tls.TLSEnabled() && strings.HasPrefix(endpoint, "http:") {
		return nil, errors.New("it is set up for TLS, but the endpoint is plain http")
	}
	return replacing{next}, nil
}

// replacing gives Caddy's transports what they take for granted: a replacer in
// the request's context. Calls to the gateway are made outside of any of
// Caddy's requests.
type replacing struct{ next http.RoundTripper }

// RoundTrip sends the request on.
func (t replacing) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	return t.next.RoundTrip(r.WithContext(ctx))
}
