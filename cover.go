package caddyqlink

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-json-experiment/json"
	"go.uber.org/zap"
)

// warnUncovered tells of a directive whose path matcher keeps its own
// endpoints away from it: QLink's notifications would go to the shop, and no
// order would ever be paid. Of other matchers nobody can tell without a
// request.
func warnUncovered(h *Handler, matcher caddy.ModuleMap, file string, line int) {
	prefix := strings.TrimSuffix(h.Prefix, "/")
	if prefix == "" {
		prefix = defaultPrefix
	}
	if hasPlaceholder(prefix) {
		return
	}
	raw, byPath := matcher["path"]
	if !byPath || covers(raw, prefix) {
		return
	}
	caddy.Log().Named("qlink").Warn("the matcher of qlink does not cover its prefix: its endpoints, the notifications of payments among them, will not be served",
		zap.String("prefix", prefix), zap.String("file", file), zap.Int("line", line))
}

// covers asks Caddy's own matcher about a path of every kind.
func covers(raw []byte, prefix string) bool {
	var paths caddyhttp.MatchPath
	if err := json.Unmarshal(raw, &paths); err != nil {
		return true
	}
	if slices.ContainsFunc(paths, hasPlaceholder) || paths.Provision(caddy.Context{}) != nil {
		return true
	}
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	for _, path := range []string{"/payNotification", "/pay/x", "/bills", "/bills/x/cancel", "/orders/x"} {
		r := (&http.Request{Method: http.MethodPost, URL: &url.URL{Path: prefix + path}}).WithContext(ctx)
		if matches, err := paths.MatchWithError(r); err != nil || !matches {
			return false
		}
	}
	return true
}
