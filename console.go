package caddyqlink

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-qlink/caddy-qlink/console"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

func init() {
	caddy.RegisterModule(Console{})
}

// Console serves operators in a browser: figures, search, every bill with its
// whole history, and what can be done about it. It asks for no password: put
// basic_auth or forward_auth before it. A request that nobody is signed in for
// is answered 403, and a configuration in which nobody could be does not load.
// See docs/console.md.
type Console struct {
	// Prefix is the path that the console lives under; / for a site, or a
	// handle_path, of its own. Default: /console.
	Prefix string `json:"prefix,omitempty"`

	// User is the placeholder that holds the name of who is signed in; acts stand
	// in the history under it. Behind forward_auth it is a header that copy_headers
	// names, such as {http.request.header.Remote-User}; it counts only under the
	// name by which the authority answered with it. Default: {http.auth.user.id},
	// which basic_auth sets.
	User string `json:"user,omitempty"`

	// Unprotected serves also where nobody is signed in, for where something
	// else keeps strangers out, such as a matcher of addresses. Whoever gets
	// through sees every bill, and may cancel it. Default: false.
	Unprotected bool `json:"unprotected,omitempty"`

	// ReadOnly shows everything and does nothing. Default: false.
	ReadOnly bool `json:"read_only,omitempty"`

	prefix string
	user   string
	pages  *console.Console
}

// CaddyModule returns the Caddy module information.
func (Console) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.qlink_console",
		New: func() caddy.Module { return new(Console) },
	}
}

const (
	defaultConsole = "/console"
	defaultUser    = "{http.auth.user.id}"
)

// formPurpose tells the keys of the console's forms from all others that may be
// derived from a secret.
const formPurpose = "caddy-qlink console forms v1"

// formKeys makes the tokens of forms: those of every account, by name. A reload
// and a restart leave the pages that are open as good as they were, and so does
// a balancer that leads a form to another node than its page.
func formKeys(accounts []*payment.Account) (keys [][]byte, err error) {
	for _, account := range accounts {
		derived, err := account.Keys(formPurpose)
		if err != nil {
			return nil, err
		}
		keys = append(keys, derived...)
	}
	return keys, nil
}

// Provision checks the configuration, and that somebody can be signed in where
// the console is.
func (c *Console) Provision(ctx caddy.Context) error {
	s := consoleSite{prefix: defaultConsole}
	if err := resolve(newResolver(), consoleOptions, c, &s); err != nil {
		return err
	}
	if err := setUser(&s, cmp.Or(c.User, defaultUser)); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	c.prefix, c.user = s.prefix, s.user
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server != nil && !c.Unprotected {
		if err := checkGuard(server, c.user); err != nil {
			return err
		}
	}
	app, err := configuredApp(ctx)
	if err != nil {
		return err
	}
	keys, err := formKeys(app.accounts)
	if err != nil {
		return err
	}
	c.pages, err = console.New(console.Config{
		Payments: app.engine, User: c.signedIn, Client: clientIP, Host: publicHost, Now: time.Now,
		Unprotected: c.Unprotected, ReadOnly: c.ReadOnly, Keys: keys, Logger: ctx.Logger(),
	})
	return err
}

// ServeHTTP answers what is below the prefix and passes all else on. Unlike
// those of the handler qlink, its addresses are matched as they are here alone:
// what stands before it and looks at paths has looked at this one.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	here, ok := under(c.prefix, r.URL)
	if !ok || !isClean(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	if last, lacks := lacksSlash(r, here); lacks {
		w.Header().Set("Location", "./"+last+"/")
		w.WriteHeader(http.StatusPermanentRedirect)
		return nil
	}
	c.pages.Serve(w, r, here)
	return nil
}

// isClean reports whether a path means what it says: matchers that stand before
// us may have read one with dots, or two slashes, as another.
func isClean(sent string) bool {
	return path.Clean(sent) == strings.TrimSuffix(sent, "/") || sent == "/"
}

// lacksSlash tells whether the first page was asked for by an address without a
// slash at its end, from which its links would lead elsewhere, and returns the
// last part of that address.
func lacksSlash(r *http.Request, here string) (last string, lacks bool) {
	asked := sentURL(r)
	if asked == nil {
		asked = r.URL
	}
	sent := asked.EscapedPath()
	return path.Base(sent), here == "" || here == "/" && !strings.HasSuffix(sent, "/")
}

// signedIn is who is signed in, as what stands before us has found; "": nobody.
// A header counts only where forward_auth was asked about this very request and
// answered with it: every client may send one.
func (c *Console) signedIn(r *http.Request) string {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	name := strings.TrimSpace(replacer.ReplaceAll(c.user, ""))
	if header, ok := strings.CutPrefix(c.user, "{http.request.header."); ok && !c.Unprotected {
		header = http.CanonicalHeaderKey(strings.TrimSuffix(header, "}"))
		if answered, _ := replacer.GetString("http.reverse_proxy.header." + header); strings.TrimSpace(answered) != name {
			return ""
		}
	}
	return name
}

// publicHost is host and port as the browser has them in its address.
func publicHost(r *http.Request) string {
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		if host := forwarded(r, "X-Forwarded-Host"); isHost(host) {
			return host
		}
	}
	return r.Host
}

// consoleSite is the handler's configuration as understood.
type consoleSite struct{ prefix, user string }

var consoleOptions = []option[Console, consoleSite]{
	{"prefix", func(c *Console) *string { return &c.Prefix }, setConsolePrefix},
}

func setConsolePrefix(s *consoleSite, v string) error {
	if v == "/" {
		s.prefix = ""
		return nil
	}
	var under site
	err := setPrefix(&under, v)
	s.prefix = under.prefix
	return err
}

// aUser is a placeholder that something which signs people in may set: none that
// every request has.
var aUser = regexp.MustCompile(`^\{http\.(auth\.user|request\.header|vars)\.[^{}]+\}$`)

func setUser(s *consoleSite, v string) error {
	if !aUser.MatchString(v) {
		return fmt.Errorf("%q is no placeholder that names who is signed in, such as {http.auth.user.id}, {http.request.header.Remote-User} "+
			"or {http.vars.user}", v)
	}
	s.user = v
	return nil
}

// parseConsole is what RegisterHandlerDirective would make of
// UnmarshalCaddyfile.
func parseConsole(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	c := new(Console)
	if err := c.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return h.NewRoute(matcher, c), nil
}

// UnmarshalCaddyfile sets up the console from Caddyfile tokens, the matcher
// taken off. Syntax:
//
//	qlink_console [<matcher>] {
//		prefix <path>              # that it lives under; / for a site of its own; default /console
//		user   <placeholder>       # that names who is signed in; default {http.auth.user.id}, as basic_auth sets it
//		read_only                  # show everything, do nothing
//		unprotected                # serve also where nobody is signed in
//	}
func (c *Console) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Err("qlink_console takes no value but a matcher")
	}
	return parseBlock(d, "qlink_console", c, consoleOptions, func(name string) error {
		switch name {
		case "user":
			return c.unmarshalUser(d)
		case "read_only":
			return unmarshalFlag(d, name, &c.ReadOnly)
		case "unprotected":
			return unmarshalFlag(d, name, &c.Unprotected)
		default:
			return unknownOption(d, "qlink_console", name)
		}
	})
}

// unmarshalUser takes a value that is a placeholder of requests, not of the
// configuration.
func (c *Console) unmarshalUser(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case c.User != "":
		return d.Err("user is set twice")
	case len(args) != 1:
		return d.Err("user wants exactly one value")
	}
	if err := setUser(new(consoleSite), args[0]); err != nil {
		return d.Errf("user: %w", err)
	}
	c.User = args[0]
	return nil
}

// unmarshalFlag takes an option that has no value.
func unmarshalFlag(d *caddyfile.Dispenser, name string, into *bool) error {
	switch {
	case *into:
		return d.Errf("%s is set twice", name)
	case d.NextArg():
		return d.Errf("%s takes no value", name)
	}
	*into = true
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Console)(nil)
	_ caddyhttp.MiddlewareHandler = (*Console)(nil)
	_ caddyfile.Unmarshaler       = (*Console)(nil)
)
