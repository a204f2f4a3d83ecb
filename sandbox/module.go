package sandbox

import (
	"context"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Sandbox{})
}

// Sandbox is a QLink gateway to try a shop with: no account, no money. It
// answers everything under its prefix and passes all else on.
//
// Every value takes Caddy's global placeholders ({env.X}, {file./path}),
// resolved at load.
type Sandbox struct {
	// Apps are the merchants the sandbox knows. Default: one app, app-test,
	// with the secret s3cr3t-test.
	Apps []App `json:"apps,omitempty"`

	// Prefix is the path everything lives under, the gateway's operations at
	// {prefix}/pay. Default: /sandbox.
	Prefix string `json:"prefix,omitempty"`

	// Webhook is the URL notifications are posted to, for apps that name none.
	// Default: none, and nobody is told.
	Webhook string `json:"webhook,omitempty"`

	// WebhookDelay is how long a notification waits after the change it tells
	// of. Default: 0s.
	WebhookDelay string `json:"webhook_delay,omitempty"`

	// WebhookTries is how often a notification is posted until it is answered
	// with a 2xx. Default: 5.
	WebhookTries string `json:"webhook_tries,omitempty"`

	// WebhookRetry is the wait before the second try; each further wait is
	// twice the one before, a minute at most. Default: 1s.
	WebhookRetry string `json:"webhook_retry,omitempty"`

	// Ledger is the file the ledger is kept in; a relative one lies in Caddy's
	// data directory. Default: in memory.
	Ledger string `json:"ledger,omitempty"`

	// Name tells ledgers in memory apart: handlers with the same name share
	// one. It means nothing where Ledger is set. Default: default.
	Name string `json:"name,omitempty"`

	// TimeZone is the IANA zone of every time at the gateway. Default:
	// Asia/Shanghai.
	TimeZone string `json:"time_zone,omitempty"`

	// Edition is the gateway's: standard or global. Default: standard.
	Edition string `json:"edition,omitempty"`

	// SignatureContent says how the body stands in the signed text: string or
	// object. Default: string.
	SignatureContent string `json:"signature_content,omitempty"`

	// Escaping is that of the gateway's JSON library: any of the known ones,
	// or strictly minimal, c1, html, slash or go. Default: any.
	Escaping string `json:"escaping,omitempty"`

	// Envelope is what answers come in: bare, beside, result, data, content or
	// content_text. Default: beside, and result in the global edition.
	Envelope string `json:"envelope,omitempty"`

	// StatusAnswer is the form of getPayStatus's payload: auto (an object for
	// one payment, an array for more), object (the first found alone, as the
	// document shows it) or array. Default: auto.
	StatusAnswer string `json:"status_answer,omitempty"`

	// Repeat says what a tradeUuid seen before gets: refuse or answer (as
	// before, where the content is the same). Default: refuse.
	Repeat string `json:"repeat,omitempty"`

	// FateDelay is how long after /apply a magic order code's fate comes.
	// Default: 1s.
	FateDelay string `json:"fate_delay,omitempty"`

	// Merchant stands in QR payloads and on the buyer's page. Default: QLink
	// Sandbox.
	Merchant string `json:"merchant,omitempty"`
	// City does, too. Default: Jakarta.
	City string `json:"city,omitempty"`

	// PublicURL is the scheme, host and path under which buyers see the
	// prefix's parent. Default: the scheme and host of the call.
	PublicURL string `json:"public_url,omitempty"`

	// Accounts are the payment accounts that exist. Default: any.
	Accounts []string `json:"accounts,omitempty"`

	// Types are the payment types that queryPayAccount lists and /apply takes.
	// Default: a choice of usual ones is listed, and any code is taken.
	Types []Offer `json:"types,omitempty"`
	// Channels are those of payment channels, likewise.
	Channels []Offer `json:"channels,omitempty"`

	conf  config
	held  *hold
	mux   *http.ServeMux
	guard *http.CrossOriginProtection
}

// App is one merchant's credentials.
type App struct {
	// Key is its appKey.
	Key string `json:"key,omitempty"`
	// Secret is what it signs with.
	Secret string `json:"secret,omitempty"`
	// Webhook is this app's own notification URL.
	Webhook string `json:"webhook,omitempty"`
}

// Offer is a payment type or channel.
type Offer struct {
	// Code is its payTypeCode or payChannelCode.
	Code string `json:"code,omitempty"`
	// Name is what buyers read. Default: the code.
	Name string `json:"name,omitempty"`
	// Action is what a channel's actionValue is: qr, url, code, deeplink or
	// none. Default: told from the code. It means nothing for a type.
	Action string `json:"action,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Sandbox) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.qlink_sandbox",
		New: func() caddy.Module { return new(Sandbox) },
	}
}

// Provision resolves the configuration and reserves the ledger. It opens
// nothing: `caddy validate` provisions too, and must leave no file and no
// goroutine. The ledger opens when the configuration has started, or with the
// first request where that comes earlier.
func (s *Sandbox) Provision(ctx caddy.Context) error {
	conf, err := s.resolve()
	if err != nil {
		return err
	}
	s.conf = conf
	s.guard = http.NewCrossOriginProtection()
	s.mux = s.routes()
	s.held = ledgers.hold(conf.ledgerKey(), func() (*ledger, error) { return openLedger(conf.ledger) })
	return s.openOnceStarted(ctx)
}

// openOnceStarted has the ledger opened when Caddy says that the configuration
// runs, so that webhooks left over from the process before are posted without
// waiting for somebody to call.
func (s *Sandbox) openOnceStarted(ctx caddy.Context) error {
	events, err := ctx.AppIfConfigured("events")
	if err != nil {
		// Nobody emits events where there is no such app: the first request opens.
		return nil //nolint:nilerr // an absent app is no failure
	}
	return events.(*caddyevents.App).On("started", startedFunc(func() {
		_, release, err := s.held.lease()
		if err != nil {
			ctx.Logger().Error("opening the sandbox's ledger; trying again with each request", zap.Error(err))
			return
		}
		release()
	}))
}

// startedFunc is a function as the handler of an event.
type startedFunc func()

// Handle calls the function.
func (f startedFunc) Handle(context.Context, caddy.Event) error {
	f()
	return nil
}

// Cleanup gives up the ledger, which closes when no configuration and no
// request uses it any more.
func (s *Sandbox) Cleanup() error {
	if s.held == nil {
		return nil
	}
	return s.held.release()
}

// ServeHTTP answers what lies under the prefix.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.URL.Path == s.conf.prefix {
		http.Redirect(w, r, s.conf.prefix+"/", http.StatusMovedPermanently)
		return nil
	}
	if !strings.HasPrefix(r.URL.Path, s.conf.prefix+"/") {
		return next.ServeHTTP(w, r)
	}
	w.Header().Set("Cache-Control", "no-store")
	s.mux.ServeHTTP(w, r)
	return nil
}

// routes is everything the sandbox answers to.
func (s *Sandbox) routes() *http.ServeMux {
	mux, p := http.NewServeMux(), s.conf.prefix
	mux.HandleFunc(p+"/pay/{operation}", s.serveGateway)

	mux.HandleFunc("GET "+p+"/{$}", s.leased(s.servePayments))
	mux.HandleFunc("GET "+p+"/style.css", serveStyle)
	mux.HandleFunc("POST "+p+"/payments/{id}/{fate}", s.leased(s.serveDecision))
	mux.HandleFunc("GET "+p+"/pay-page/{id}", s.leased(s.serveBuyer))
	mux.HandleFunc("POST "+p+"/pay-page/{id}/{fate}", s.leased(s.serveDecision))

	c := p + "/control"
	mux.HandleFunc("GET "+c+"/ledger", s.leased(s.getLedger))
	mux.HandleFunc("GET "+c+"/payments", s.leased(s.getPayments))
	mux.HandleFunc("GET "+c+"/payments/{id}", s.leased(s.getPayment))
	mux.HandleFunc("POST "+c+"/payments/{id}/{fate}", s.leased(s.postFate))
	mux.HandleFunc("POST "+c+"/payments/{id}/webhook", s.leased(s.postWebhook))
	mux.HandleFunc("GET "+c+"/faults", s.leased(s.getFaults))
	mux.HandleFunc("POST "+c+"/faults", s.leased(s.postFaults))
	mux.HandleFunc("DELETE "+c+"/faults", s.leased(s.deleteFaults))
	mux.HandleFunc("DELETE "+c+"/faults/{id}", s.leased(s.deleteFaults))
	mux.HandleFunc("GET "+c+"/settings", s.leased(s.getSettings))
	mux.HandleFunc("POST "+c+"/settings", s.leased(s.postSettings))
	mux.HandleFunc("DELETE "+c+"/settings", s.leased(s.deleteSettings))
	mux.HandleFunc(c+"/", serveNoControl)
	return mux
}

// leased hands the open ledger to an endpoint for the time of one request.
// Forms and control calls sent by another site's page are refused: the sandbox
// often runs where a developer browses.
func (s *Sandbox) leased(endpoint func(http.ResponseWriter, *http.Request, *ledger)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := s.guard.Check(r); err != nil {
			writeProblem(w, http.StatusForbidden, "cross_origin", "another site's page may not decide payments here")
			return
		}
		led, release, err := s.held.lease()
		if err != nil {
			writeProblem(w, http.StatusServiceUnavailable, "ledger_unavailable", err.Error())
			return
		}
		defer release()
		endpoint(w, r, led)
	}
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Sandbox)(nil)
	_ caddy.CleanerUpper          = (*Sandbox)(nil)
	_ caddyhttp.MiddlewareHandler = (*Sandbox)(nil)
	_ caddyevents.Handler         = (startedFunc)(nil)
)
