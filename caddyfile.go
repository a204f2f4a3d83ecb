package caddyqlink

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("qlink", parseApp)
	httpcaddyfile.RegisterDirective("qlink", parseHandler)
	httpcaddyfile.RegisterDirective("qlink_console", parseConsole)
	// The later one comes first: qlink, qlink_console, both behind basic_auth and
	// forward_auth.
	httpcaddyfile.RegisterDirectiveOrder("qlink_console", httpcaddyfile.After, "intercept")
	httpcaddyfile.RegisterDirectiveOrder("qlink", httpcaddyfile.After, "intercept")
}

func parseApp(d *caddyfile.Dispenser, earlier any) (any, error) {
	d.Next() // so that errors carry a line
	if earlier != nil {
		return nil, d.Err("there is a second qlink block; put everything into one")
	}
	d.Reset()
	a := new(App)
	if err := a.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "qlink", Value: caddyconfig.JSON(a, nil)}, nil
}

// parseHandler is what RegisterHandlerDirective would make of
// UnmarshalCaddyfile, but keeps the matcher to check that it covers the prefix.
func parseHandler(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	h.Reset()
	h.Next()
	warnUncovered(handler, matcher, h.File(), h.Line())
	return h.NewRoute(matcher, handler), nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Every value may be
// or hold placeholders ({env.X}, {file./path}), resolved at load. Syntax:
//
//	qlink {
//		# where bills are kept: a module of the namespace qlink.stores
//		store badger {                             # the default
//			path <dir>                             # default: {data dir of Caddy}/qlink
//		}
//
//		# a payment account at QLink; repeatable
//		account [<name>] {                         # default name: default
//			# which gateway, and as whom
//			environment test|prod                  # picks the documented base URL …
//			endpoint    <url>                      # … or any other; wins over environment
//			mode        test|live                  # default: test with environment test or a loopback endpoint, else live
//			app_key     <key>
//			app_secret  <secret> [<previous>...]   # the first signs; every one verifies
//			pay_account <account>
//
//			# for orders that name none
//			pay_type    <code>
//			pay_channel <code>
//			country     <ISO 3166-1 alpha-2>
//			currency    <ISO 4217>
//			offer       [<pay_type>/<pay_channel>...]  # the buyer chooses (wins over pay_channel); none named: what the gateway lists
//
//			# how the gateway speaks
//			time_zone         <IANA name>          # default Asia/Shanghai
//			edition           standard|global      # default standard
//			service_provider  <name>               # edition global only
//			signature_content string|object|auto   # default string; auto sends string, accepts both
//			body_escape       ascii|none           # default ascii
//			account_field     payAccount|glinkAccount|both  # default payAccount
//			apply_param       <name> <value>       # repeatable
//			header            <name> <value>       # repeatable
//			status_batch      <n>                  # default 50
//			timeout           <duration>           # of one call, default 10s
//			transport <name> {                     # Caddy's own, such as http
//				...
//			}
//
//			# what becomes of bills
//			expire_after    <duration> [<pay_channel>...]  # default 24h; 0 is never; repeatable per channel
//			unknown_bills   reject|accept          # default reject
//			confirm_success on|off                 # default off; on: a payment counts once a query agrees
//			notify          <url> {                # as below, for this account's bills
//				...
//			}
//		}
//
//		# how unsettled bills are asked after
//		reconcile {
//			min_interval  <duration>               # default 5s
//			max_interval  <duration>               # default 10m
//			unknown_after <duration>               # default 30s
//		}
//
//		limits {
//			open_total      <n>                    # default 100000; 0 is no limit
//			open_per_client <n>                    # of one buyer's address; default none; 0 is no limit
//			min_free_space  <size>                 # default 256MiB; 0 is no limit
//		}
//
//		# who is told how bills end; repeatable; the most specific place wins: site, account, app
//		notify <url> {
//			secret <whsec_...> [<previous>...]     # whsec_ and base64; every one signs
//			events <type>...                       # default: every type but bill.created
//		}
//
//		retention <duration>                       # after a bill's end its details are deleted; 4d at least; default never
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	if d.NextArg() {
		return d.Err("qlink takes no value, only a block")
	}
	err := parseBlock(d, "qlink", a, appOptions, func(name string) error {
		switch name {
		case "store":
			return a.unmarshalStore(d)
		case "account":
			return a.unmarshalAccount(d)
		case "reconcile":
			return unmarshalOnce(d, name, &a.Reconcile, reconcileOptions)
		case "limits":
			return unmarshalOnce(d, name, &a.Limits, limitsOptions)
		case "notify":
			return unmarshalNotify(d, &a.Notify)
		default:
			return unknownOption(d, "qlink", name)
		}
	})
	if err == nil && len(a.Accounts) == 0 {
		err = d.Err("qlink needs an account")
	}
	return err
}

func (a *App) unmarshalStore(d *caddyfile.Dispenser) error {
	if a.StoreRaw != nil {
		return d.Err("store is set twice")
	}
	if !d.NextArg() {
		return d.Err("store wants the name of a store, such as badger")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, storeNamespace+"."+name)
	if err != nil {
		return err
	}
	if _, ok := module.(bill.Opener); !ok {
		return d.Errf("%s is no store", name)
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

func (a *App) unmarshalAccount(d *caddyfile.Dispenser) error {
	name := defaultName
	switch args := d.RemainingArgs(); len(args) {
	case 0:
	case 1:
		name = args[0]
		if err := checkName(name); err != nil {
			return d.Errf("account: %w", err)
		}
	default:
		return d.Err("account takes one name at most")
	}
	if _, twice := a.Accounts[name]; twice {
		return d.Errf("account %q is there twice", name)
	}
	account := new(Account)
	if err := account.unmarshalBlock(d); err != nil {
		return err
	}
	if a.Accounts == nil {
		a.Accounts = make(map[string]*Account)
	}
	a.Accounts[name] = account
	return nil
}

func (a *Account) unmarshalBlock(d *caddyfile.Dispenser) error {
	return parseBlock(d, "account", a, accountOptions, func(name string) error {
		switch name {
		case "app_secret":
			return unmarshalSecrets(d, name, &a.AppSecret)
		case "apply_param":
			return a.unmarshalApplyParam(d)
		case "header":
			return a.unmarshalHeader(d)
		case "expire_after":
			return a.unmarshalExpiry(d)
		case "transport":
			return a.unmarshalTransport(d)
		case "notify":
			return unmarshalNotify(d, &a.Notify)
		case "offer":
			return a.unmarshalOffer(d)
		default:
			return unknownOption(d, "account", name)
		}
	})
}

func (a *Account) unmarshalApplyParam(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 || args[0] == "" {
		return d.Err("apply_param wants a name and a value")
	}
	if _, twice := a.ApplyParams[args[0]]; twice {
		return d.Errf("apply_param %q is set twice", args[0])
	}
	if a.ApplyParams == nil {
		a.ApplyParams = make(map[string]string)
	}
	a.ApplyParams[args[0]] = args[1]
	return nil
}

func (a *Account) unmarshalHeader(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 || args[0] == "" || args[1] == "" {
		return d.Err("header wants a name and a value")
	}
	if a.Header == nil {
		a.Header = make(http.Header)
	}
	a.Header.Add(args[0], args[1])
	return nil
}

func (a *Account) unmarshalExpiry(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("expire_after wants a duration")
	}
	if !hasPlaceholder(args[0]) {
		if _, err := duration(args[0]); err != nil {
			return d.Errf("expire_after: %w", err)
		}
	}
	rule := Expiry{After: args[0], Channels: args[1:]}
	for _, earlier := range a.ExpireAfter {
		switch {
		case len(earlier.Channels) == 0 && len(rule.Channels) == 0:
			return d.Err("expire_after is set twice for all pay channels")
		case slices.ContainsFunc(earlier.Channels, func(c string) bool { return slices.Contains(rule.Channels, c) }):
			return d.Err("expire_after is set twice for one pay channel")
		}
	}
	a.ExpireAfter = append(a.ExpireAfter, rule)
	return nil
}

func (a *Account) unmarshalTransport(d *caddyfile.Dispenser) error {
	if a.TransportRaw != nil {
		return d.Err("transport is set twice")
	}
	if !d.NextArg() {
		return d.Err("transport wants the name of a transport, such as http")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport."+name)
	if err != nil {
		return err
	}
	if _, ok := module.(http.RoundTripper); !ok {
		return d.Errf("%s is no transport", name)
	}
	a.TransportRaw = caddyconfig.JSONModuleObject(module, "protocol", name, nil)
	return nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens, the matcher
// taken off. Every value may be or hold placeholders ({env.X}, {file./path}),
// resolved at load. Syntax:
//
//	qlink [<matcher>] {                            # the matcher must cover prefix
//		# whose orders
//		account <name>                             # default: default
//		shop    <name>                             # part of an order's key; default: default
//
//		# where
//		prefix   <path>                            # of the endpoints; default /qlink
//		checkout <path>...                         # whose upstream answer may be an order; path matcher syntax; repeatable
//		public_url <url>                           # scheme, host and path under which buyers see prefix's parent; default: the request's
//		return_url <url>                           # back to the shop; {order_code} and {bill} inside; default /
//		allowed_origins <origin>...                # shops on other origins
//
//		# the signed server-to-server endpoints
//		api {
//			secret  <secret> [<previous>...]       # every one verifies
//			max_age <duration>                     # of a signature; default 5m
//		}
//
//		# who is told how bills end, instead of those that account or app name; repeatable
//		notify <url> {
//			secret <whsec_...> [<previous>...]     # whsec_ and base64; every one signs
//			events <type>...                       # default: every type but bill.created
//		}
//
//		retry <duration>                           # for so long after the hand-over a buyer may start a new attempt; default off
//		# how the hosted payment page looks and speaks
//		page {
//			name     <merchant>                    # default: the public host
//			logo     <file>                        # SVG, PNG, JPEG, GIF or WebP; 16 KiB at most
//			theme    auto|light|dark               # default auto
//			accent   <rrggbb> [<rrggbb>]           # of buttons and links; the second in the dark theme
//			support  <contact>                     # an e-mail address, telephone number, http(s) address, or any text
//			language <tag>                         # of all pages; default: each buyer's own
//			texts    <file>...                     # over the built-in ones: id.json; repeatable
//			template <file>                        # in the place of the built-in page
//			frame_ancestors <origin>...            # who may embed the page; default nobody
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Err("qlink takes no value but a matcher")
	}
	return parseBlock(d, "qlink", h, siteOptions, func(name string) error {
		switch name {
		case returnURL.name:
			return unmarshalReturnURL(d, h)
		case "checkout":
			return h.unmarshalCheckout(d)
		case "allowed_origins":
			return h.unmarshalOrigins(d)
		case "api":
			return h.unmarshalAPI(d)
		case "notify":
			return unmarshalNotify(d, &h.Notify)
		case "page":
			return h.unmarshalPage(d)
		default:
			return unknownOption(d, "qlink", name)
		}
	})
}

// unmarshalReturnURL checks a value whose only placeholders are our own.
func unmarshalReturnURL(d *caddyfile.Dispenser, h *Handler) error {
	args := d.RemainingArgs()
	switch {
	case h.ReturnURL != "":
		return d.Err("return_url is set twice")
	case len(args) != 1 || args[0] == "":
		return d.Err("return_url wants exactly one value")
	}
	if !hasPlaceholder(ownPlaceholders.Replace(args[0])) {
		if err := setReturnURL(new(site), args[0]); err != nil {
			return d.Errf("return_url: %w", err)
		}
	}
	h.ReturnURL = args[0]
	return nil
}

func (h *Handler) unmarshalCheckout(d *caddyfile.Dispenser) error {
	paths := d.RemainingArgs()
	if len(paths) == 0 {
		return d.Err("checkout wants a path")
	}
	for _, path := range paths {
		if err := checkPath(path); err != nil && !hasPlaceholder(path) {
			return d.Errf("checkout: %w", err)
		}
	}
	h.Checkout = append(h.Checkout, paths...)
	return nil
}

func (h *Handler) unmarshalOrigins(d *caddyfile.Dispenser) error {
	return unmarshalList(d, "allowed_origins", &h.AllowedOrigins, func(list []string) error {
		_, err := origins(list)
		return err
	})
}

func (h *Handler) unmarshalAPI(d *caddyfile.Dispenser) error {
	switch {
	case h.API != nil:
		return d.Err("api is set twice")
	case d.NextArg():
		return d.Err("api takes no value, only a block")
	}
	h.API = new(API)
	err := parseBlock(d, "api", h.API, apiOptions, func(name string) error {
		switch name {
		case "secret":
			return unmarshalSecrets(d, name, &h.API.Secret)
		default:
			return unknownOption(d, "api", name)
		}
	})
	if err == nil && len(h.API.Secret) == 0 {
		err = d.Err("api needs a secret")
	}
	return err
}

// unmarshalNotify reads one notify of any of the three places.
func unmarshalNotify(d *caddyfile.Dispenser, into *[]Notify) error {
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Err("notify wants exactly one URL")
	}
	n := Notify{URL: args[0]}
	if !hasPlaceholder(n.URL) {
		if _, err := notifyURL(n.URL); err != nil {
			return d.Errf("notify: url: %w", err)
		}
	}
	if slices.ContainsFunc(*into, func(o Notify) bool { return sameURL(o.URL, n.URL) }) {
		return d.Errf("notify: %w", errSameURL)
	}
	err := parseBlock(d, "notify", &n, []option[Notify, payment.Target]{}, func(name string) error {
		switch name {
		case "secret":
			return unmarshalKeys(d, name, &n.Secret)
		case "events":
			return unmarshalEvents(d, &n.Events)
		default:
			return unknownOption(d, "notify", name)
		}
	})
	if err == nil && len(n.Secret) == 0 {
		err = d.Err("notify needs a secret")
	}
	*into = append(*into, n)
	return err
}

func unmarshalKeys(d *caddyfile.Dispenser, name string, into *[]string) error {
	if err := unmarshalSecrets(d, name, into); err != nil {
		return err
	}
	for i, secret := range *into {
		if slices.Contains((*into)[:i], secret) {
			return d.Errf("%s: the same secret is there twice", name)
		}
		if _, err := payment.ParseKey(secret); err != nil && !hasPlaceholder(secret) {
			return d.Errf("%s: %w", name, err)
		}
	}
	return nil
}

func unmarshalEvents(d *caddyfile.Dispenser, into *[]string) error {
	if *into != nil {
		return d.Err("events is set twice; put all types on one line")
	}
	if *into = d.RemainingArgs(); len(*into) == 0 {
		return d.Err("events wants a type, such as bill.paid")
	}
	if slices.ContainsFunc(*into, hasPlaceholder) {
		return nil
	}
	if err := checkEvents(*into); err != nil {
		return d.Errf("events: %w", err)
	}
	return nil
}

// parseBlock reads the options of a block: the single-valued ones by their
// table, any other by more, which also refuses what nobody knows.
func parseBlock[T, R any](d *caddyfile.Dispenser, block string, into *T, options []option[T, R], more func(name string) error) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		var err error
		if o, single := find(options, name); single {
			err = unmarshalValue(d, into, o)
		} else {
			err = more(name)
		}
		if err != nil {
			return err
		}
		if inner := d.Nesting(); d.NextBlock(inner) {
			return d.Errf("%s of %s takes no block", name, block)
		}
	}
	return nil
}

// unmarshalValue takes a single value. One with a placeholder is checked at
// load, when its value is known.
func unmarshalValue[T, R any](d *caddyfile.Dispenser, into *T, o option[T, R]) error {
	args := d.RemainingArgs()
	switch {
	case *o.field(into) != "":
		return d.Errf("%s is set twice", o.name)
	case len(args) != 1 || args[0] == "":
		return d.Errf("%s wants exactly one value", o.name)
	}
	if !hasPlaceholder(args[0]) {
		if err := o.set(new(R), args[0]); err != nil {
			return d.Errf("%s: %w", o.name, err)
		}
	}
	*o.field(into) = args[0]
	return nil
}

// unmarshalSecrets takes a secret and its predecessors. No error quotes one.
func unmarshalSecrets(d *caddyfile.Dispenser, name string, into *[]string) error {
	args := d.RemainingArgs()
	switch {
	case *into != nil:
		return d.Errf("%s is set twice; put previous secrets on the same line", name)
	case len(args) == 0:
		return d.Errf("%s wants at least one value", name)
	}
	if slices.Contains(args, "") {
		return d.Errf("%s: a secret is empty", name)
	}
	*into = args
	return nil
}

// unmarshalOnce reads a block that may be there once and holds single values
// only, but for options of a later version.
func unmarshalOnce[T, R any](d *caddyfile.Dispenser, block string, into **T, options []option[T, R]) error {
	switch {
	case *into != nil:
		return d.Errf("%s is set twice", block)
	case d.NextArg():
		return d.Errf("%s takes no value, only a block", block)
	}
	*into = new(T)
	return parseBlock(d, block, *into, options, func(name string) error {
		return unknownOption(d, block, name)
	})
}

func unknownOption(d *caddyfile.Dispenser, block, name string) error {
	return d.Errf("%s has no option %q", block, name)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
