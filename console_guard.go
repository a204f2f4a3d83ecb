package caddyqlink

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/go-json-experiment/json"
)

// Errors of a console that nobody could be signed in for, or anybody could.
var (
	errUnguarded = errors.New("nothing before the console signs anybody in: put basic_auth into its site, or forward_auth with copy_headers " +
		"and here the option user; where something else keeps strangers out, the option unprotected opens it")
	errForgeable = errors.New("the option user names a header that every client may send: name one that forward_auth of the site copies (copy_headers), " +
		"or that request_header takes away; where a server before this one sets it for every request, the option unprotected opens the console")
)

// checkGuard looks for what sets the console's user, in the routes that lead to
// it. It finds what cannot work, not everything that does not: each request is
// looked at again.
func checkGuard(server *caddyhttp.Server, user string) error {
	g := guard{named: server.NamedRoutes}
	missing := errUnguarded
	if header, ok := strings.CutPrefix(user, "{http.request.header."); ok {
		g.header, missing = strings.TrimSuffix(header, "}"), errForgeable
	} else if !strings.HasPrefix(user, "{http.auth.") {
		return nil
	}
	if !g.before(server.Routes) {
		return missing
	}
	return nil
}

// guard looks for the handler that signs people in, or where header is not "",
// for one that keeps clients from sending it.
type guard struct {
	header string
	named  map[string]*caddyhttp.Route
}

// before searches a server's routes while they are being loaded: the one that
// leads to the console is under way then and still has its text; what stands
// behind it does not matter, and one that ends a request does not lead on.
func (g guard) before(routes caddyhttp.RouteList) bool {
	under := slices.IndexFunc(routes, func(r caddyhttp.Route) bool { return r.HandlersRaw != nil })
	if under < 0 { // in a named route: all others are loaded, and any may lead to it
		return g.inRoutes(routes)
	}
	for _, route := range routes[:under] {
		if !route.Terminal && g.inRoute(route) {
			return true
		}
	}
	return g.inRoute(routes[under])
}

func (g guard) inRoutes(routes caddyhttp.RouteList) bool {
	return slices.ContainsFunc(routes, g.inRoute)
}

func (g guard) inRoute(route caddyhttp.Route) bool {
	for _, raw := range route.HandlersRaw {
		var value any
		if err := json.Unmarshal(raw, &value); err != nil || g.inText(value) {
			return true // what cannot be read here cannot be told: requests will
		}
	}
	return slices.ContainsFunc(route.Handlers, g.isLoaded)
}

// isLoaded looks at a handler that is loaded.
func (g guard) isLoaded(handler caddyhttp.MiddlewareHandler) bool {
	switch h := handler.(type) {
	case *caddyauth.Authentication:
		return g.header == ""
	case *headers.Handler:
		return h.Request != nil && g.keepsAway(h.Request.Delete, h.Request.Set)
	case *caddyhttp.Subroute:
		return g.inRoutes(h.Routes)
	case *reverseproxy.Handler: // forward_auth is one
		return slices.ContainsFunc(h.HandleResponse, func(answer caddyhttp.ResponseHandler) bool { return g.inRoutes(answer.Routes) })
	case *caddyhttp.Invoke:
		return g.inNamed(h.Name)
	}
	return false
}

// inNamed looks at a route that another one invokes.
func (g guard) inNamed(name string) bool {
	route, ok := g.named[name]
	if !ok {
		return false
	}
	g.named = maps.Clone(g.named)
	delete(g.named, name) // one that invokes itself is looked at once
	return g.inRoute(*route)
}

func (g guard) keepsAway(deleted []string, set http.Header) bool {
	isIt := func(name string) bool { return g.header != "" && strings.EqualFold(name, g.header) }
	for name := range set {
		if isIt(name) {
			return true
		}
	}
	return slices.ContainsFunc(deleted, isIt)
}

// inText looks at a handler's configuration, and at those within.
func (g guard) inText(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, g.inText)
	case map[string]any:
		if g.isText(v) {
			return true
		}
		for _, member := range v {
			if g.inText(member) {
				return true
			}
		}
	}
	return false
}

func (g guard) isText(handler map[string]any) bool {
	switch handler["handler"] {
	case "authentication":
		return g.header == ""
	case "invoke":
		name, _ := handler["name"].(string)
		return g.inNamed(name)
	case "headers":
		var h headers.Handler
		text, err := json.Marshal(handler["request"])
		if err == nil && json.Unmarshal(text, &h.Request) == nil && h.Request != nil {
			return g.keepsAway(h.Request.Delete, h.Request.Set)
		}
	}
	return false
}
