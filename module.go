// Package caddyqlink makes Caddy take payments through QLink: the app qlink
// holds the payment accounts and the store of bills, the HTTP handler qlink
// serves the buyer's page, the endpoints and QLink's notifications, and turns
// a shop's answer that is an order into a bill.
//
// It is glue and decides nothing: it reads the configuration, in Caddyfile and
// JSON, leases the store, and hands resolved values to the engine (package
// payment) and the endpoints (package handlers). A plug-in's user imports it
// for its side effects alone.
package caddyqlink

import (
	"context"
	"encoding/json" //nolint:depguard // Caddy loads guest modules from json.RawMessage alone; nothing is decoded here
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // small images have no zone database, and the gateway's times are in a named zone

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/page"
	"github.com/caddy-qlink/caddy-qlink/payment"
	_ "github.com/caddy-qlink/caddy-qlink/store/badger" // the default store
)

func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(MatchBill{})
}

const (
	storeNamespace = "qlink.stores"
	defaultStore   = storeNamespace + ".badger"
	defaultName    = "default" // of an account and of a shop
	defaultPrefix  = handlers.DefaultPrefix
)

// App holds what all sites share: the payment accounts at QLink and the store
// of bills.
type App struct {
	// StoreRaw is where bills are kept. Default: the module badger, in Caddy's
	// data directory. All configurations that name the same store share it; a
	// reload that names another one is refused while bills are open.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=qlink.stores inline_key=module"`

	// Accounts are the payment accounts by name, at least one. A bill belongs to
	// the account that made it: do not rename accounts with open bills.
	Accounts map[string]*Account `json:"accounts,omitempty"`

	// Reconcile says how bills are asked after at the gateway.
	Reconcile *Reconcile `json:"reconcile,omitempty"`

	// Limits bound what is kept open and how full the disk may get.
	Limits *Limits `json:"limits,omitempty"`

	// Notify are the URLs that are told how bills end, where neither account nor
	// site names any. Default: none.
	Notify []Notify `json:"notify,omitempty"`

	// Retention is how long after its end the details of a bill are kept (what
	// was bought, how to pay, metadata, history, and notifications that were
	// delivered), such as 90d; at least 4d, since ended bills are asked after for
	// three. Open bills and what the shop was not told are never touched, and the
	// bill's stub stays: a paid order is paid for ever, and a later payment is
	// still told, with metadata {}. Default: never.
	Retention string `json:"retention,omitempty"`

	logger      *zap.Logger
	accounts    []*payment.Account // by name
	audience    *audience
	gated       *gated
	vault       *vault
	engine      *payment.Engine
	minInterval time.Duration
	ended       chan struct{} // closed by Stop: the streams of the admin API end
	end         func()

	// What the doctor examines besides.
	sites        *sites
	minFreeSpace uint64
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "qlink",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision resolves and checks the configuration. It opens nothing: `caddy
// validate` provisions too, beside a live server.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	if err := measured.register(ctx); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	r := newResolver()
	s, err := a.settings(r)
	if err != nil {
		return err
	}
	a.audience, a.gated = newAudience(), new(gated)
	a.sites = new(sites)
	if a.audience.app, err = resolveNotify(r, a.Notify); err != nil {
		return err
	}
	if err := a.provisionAccounts(ctx, r); err != nil {
		return err
	}
	if err := a.provisionStore(ctx); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if a.vault.listeners, err = provisionListeners(ctx); err != nil {
		return err
	}
	key := a.vault.key
	a.minInterval = s.minInterval
	a.minFreeSpace = s.minFreeSpace
	a.ended = make(chan struct{})
	a.end = sync.OnceFunc(func() { close(a.ended) })
	a.engine = payment.New(payment.Config{
		Accounts:      a.accounts,
		Store:         a.vault.lease,
		Notify:        a.audience.targets,
		MinInterval:   s.minInterval,
		MaxInterval:   s.maxInterval,
		UnknownAfter:  s.unknownAfter,
		OpenTotal:     s.openTotal,
		OpenPerClient: s.openPerClient,
		MinFreeSpace:  s.minFreeSpace,
		Retention:     s.retention,
		Metrics:       measured,
		Emit:          func(kind bill.NotificationType, b bill.Bill) { running.emit(key, kind, b) },
		Logger:        a.logger,
		Now:           time.Now,
		NewID:         uuid.NewString,
		Rand:          rand.Int64N,
	})
	a.vault.engine, a.vault.work, a.vault.tidy = a.engine, a.engine.Run, a.closeIdleConnections
	return nil
}

func (a *App) provisionAccounts(ctx caddy.Context, r resolver) error {
	if len(a.Accounts) == 0 {
		return errors.New("there is no account")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Accounts)) {
		err := checkName(name)
		if err == nil && a.Accounts[name] == nil {
			err = errors.New("is null")
		}
		var account *payment.Account
		if err == nil {
			account, err = a.Accounts[name].provision(ctx, r, name, a.logger)
		}
		if err == nil {
			a.audience.accounts[name], err = resolveNotify(r, a.Accounts[name].Notify)
		}
		if err != nil {
			return fmt.Errorf("account %q: %w", name, err)
		}
		a.accounts = append(a.accounts, account)
	}
	return nil
}

func (a *App) provisionStore(ctx caddy.Context) error {
	opener, err := a.loadStore(ctx)
	if err != nil {
		return err
	}
	a.vault, err = newVault(opener, a.logger)
	return err
}

func (a *App) loadStore(ctx caddy.Context) (opener bill.Opener, err error) {
	var module any
	if a.StoreRaw == nil {
		module, err = ctx.LoadModuleByID(defaultStore, nil)
	} else {
		module, err = ctx.LoadModule(a, "StoreRaw")
	}
	if err != nil {
		return nil, err
	}
	opener, ok := module.(bill.Opener)
	if !ok {
		return nil, fmt.Errorf("%T is no store", module)
	}
	return opener, nil
}

// account returns the configured account of that name.
func (a *App) account(name string) (*payment.Account, bool) {
	i := slices.IndexFunc(a.accounts, func(c *payment.Account) bool { return c.Name == name })
	if i < 0 {
		return nil, false
	}
	return a.accounts[i], true
}

// Start opens the store. A store that is locked, damaged or misconfigured is
// an error; one that cannot be reached now is not: the endpoints answer 503
// until it can.
func (a *App) Start() error {
	if err := running.checkMove(a.vault); err != nil {
		return err
	}
	if err := a.vault.start(); err != nil {
		return err
	}
	for _, account := range a.accounts {
		measured.prepare(account.Name)
	}
	running.add(a.vault)
	return nil
}

// stopWait bounds how long an exit waits for follow-ups. What they would have
// done is stored and due.
const stopWait = 5 * time.Second

// Stop gives the store back. Requests and follow-ups under way have leases of
// their own; only the end of the process has to wait for them.
func (a *App) Stop() error {
	a.end()
	running.remove(a.vault)
	defer a.vault.stop()
	if !caddy.Exiting() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	if err := a.engine.Stop(ctx); err != nil {
		a.logger.Warn("follow-ups of the last notifications are put off", zap.Error(err))
	}
	return nil
}

// Cleanup closes the connections to gateways that are idle. Calls under way
// keep theirs.
func (a *App) Cleanup() error {
	a.closeIdleConnections()
	return nil
}

func (a *App) closeIdleConnections() {
	for _, account := range a.accounts {
		if c, ok := account.Gateway.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// Handler takes payments for one site. It answers what lies under its prefix
// (the buyer's page, the status of bills, QLink's notifications), turns the
// answer of a checkout route into a bill where it is an order, and passes all
// else on.
//
// Directives that come before it in Caddy's order also come before its
// endpoints: keep basic_auth and the like off the prefix, since neither buyers
// nor QLink could get through. Rewrites (try_files, handle_path) do not
// matter: prefix and checkout match the current path or the one that the
// client sent.
type Handler struct {
	// Account is the name of the account that bills are made with.
	// Default: default.
	Account string `json:"account,omitempty"`

	// Shop is part of an order's key, so that two shops on one account may use
	// the same order codes. Default: default.
	Shop string `json:"shop,omitempty"`

	// Prefix is the path everything of ours lives under. QLink has to be told
	// {prefix}/payNotification. Default: /qlink.
	Prefix string `json:"prefix,omitempty"`

	// Checkout are the routes, in the syntax of Caddy's path matcher, where the
	// next handler may answer a POST with an order. Default: none.
	Checkout []string `json:"checkout,omitempty"`

	// API turns on the signed endpoints for shops' servers. Default: off.
	API *API `json:"api,omitempty"`

	// PublicURL is the scheme, host and path under which buyers see the prefix's
	// parent. Default: the request's, where X-Forwarded-Proto and
	// X-Forwarded-Host of trusted proxies count.
	PublicURL string `json:"public_url,omitempty"`

	// ReturnURL leads from the page back to the shop; {order_code} and {bill}
	// are filled in, URL-escaped. It proves nothing to the shop: it is for
	// display. Default: /.
	ReturnURL string `json:"return_url,omitempty"`

	// AllowedOrigins are the other sites whose pages may use the endpoints in
	// buyers' browsers, such as https://shop.example.com. Default: none.
	AllowedOrigins []string `json:"allowed_origins,omitempty"`

	// Notify are the URLs that are told how this account's and shop's bills end,
	// instead of those of the account or the app. Default: theirs.
	Notify []Notify `json:"notify,omitempty"`

	// Retry is for how long after the hand-over of an order, by the shop, a buyer
	// whose payment has ended unpaid may start a new attempt by himself, of the
	// same amount; an order that the shop has cancelled or changed since is not
	// tried again. Default: off, so that the way to pay again leads through the
	// shop.
	Retry string `json:"retry,omitempty"`

	// Page is how the hosted payment page looks and speaks. Default: plain, in
	// the buyer's language.
	Page *Page `json:"page,omitempty"`

	prefix    string
	checkout  caddyhttp.MatchPath
	endpoints *handlers.Handler
	drain     drain
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.qlink",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision resolves and checks the configuration, and finds the account.
func (h *Handler) Provision(ctx caddy.Context) error {
	s, err := h.site()
	if err != nil {
		return err
	}
	app, account, err := configuredAccount(ctx, s.account)
	if err != nil {
		return err
	}
	h.prefix = s.prefix
	h.checkout = slices.Clone(s.checkout)
	if err := h.checkout.Provision(ctx); err != nil {
		return fmt.Errorf("checkout: %w", err)
	}
	h.drain = newDrain(ctx)
	app.audience.join(s.account, s.shop, s.notify)
	app.sites.join(ctx, h, account, s)
	pages, err := page.New(s.page.Config)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	h.endpoints, err = handlers.New(h.endpointsAPI(ctx, app, account, pages, s))
	return err
}

func (h *Handler) endpointsAPI(ctx caddy.Context, app *App, account *payment.Account, pages *page.Renderer, s site) handlers.API {
	api := handlers.API{
		Payments:       app.engine,
		Scope:          payment.Scope{Account: account, Shop: s.shop},
		Accounts:       app.accounts,
		Page:           pages,
		Merchant:       s.page.name,
		Prefix:         s.prefix,
		PublicURL:      s.publicURL,
		ReturnURL:      s.returnURL,
		AllowedOrigins: s.origins,
		Retry:          s.retry,
		PaidCookie:     func() bool { return app.gated.has(s.account, s.shop) },
		MinInterval:    app.minInterval,
		BodyTimeout:    bodyTimeout,
		Forgeries:      &forgeries,
		BaseURL:        h.baseURL,
		RequestURI:     sentURI,
		ClientIP:       clientIP,
		Draining:       h.drain.started,
		Metrics:        measured,
		Logger:         ctx.Logger(),
		Now:            time.Now,
	}
	if s.api != nil {
		api.APISecrets, api.MaxAge = s.api.secrets, s.api.maxAge
	}
	return api
}

// bodyTimeout is how long clients may take to send a body. Tests shorten it.
var bodyTimeout = handlers.DefaultBodyTimeout

// forgeries is one for all sites and configurations of the process, so that
// neither another path nor a reload gives a forger a new start.
var forgeries handlers.Forgeries

// configuredApp returns the app that the handler belongs to.
func configuredApp(ctx caddy.Context) (*App, error) {
	app, err := ctx.AppIfConfigured("qlink")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, errors.New("there is no app qlink: put a qlink block with an account into the global options (in JSON: apps.qlink)")
	}
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// configuredAccount returns one of its accounts, too.
func configuredAccount(ctx caddy.Context, name string) (*App, *payment.Account, error) {
	app, err := configuredApp(ctx)
	if err != nil {
		return nil, nil, err
	}
	account, ok := app.account(name)
	if !ok {
		return nil, nil, fmt.Errorf("account: the app qlink has no account %q", name)
	}
	return app, account, nil
}

// Cleanup ends long polls where the server did not.
func (h *Handler) Cleanup() error {
	h.drain.start()
	return nil
}

// warnPlainHTTP tells of what the documented URLs cannot help.
func warnPlainHTTP(logger *zap.Logger, account *payment.Account, endpoint string) {
	if account.LiveMode && strings.HasPrefix(endpoint, "http:") {
		logger.Warn("a live account's gateway is called over plain http: who sits on the path can forge its answers; put a tunnel or a TLS proxy in between before the first sale, and name it as endpoint (orders are told apart by endpoint: one paid under the old name is payable again under a new one)",
			zap.String("account", account.Name))
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*App)(nil)
	_ caddy.App                   = (*App)(nil)
	_ caddy.CleanerUpper          = (*App)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
