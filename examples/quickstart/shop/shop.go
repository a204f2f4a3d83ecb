// Package shop is the quickstart's storefront: a small but real web shop that
// is paid through the qlink module. It shows what a shop has to do, and that it
// is little: decide the price itself, answer a checkout with an order, and
// learn that the order is paid, from the module's notification or by asking.
//
// It is a Caddy handler only so that the whole demonstration is one program. It
// imports nothing of this repository and never calls the module but over HTTP,
// as a shop in any language would; it never sees QLink, and never takes a price
// or a payment from a browser's word. Only cmd/caddy links it in.
package shop

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(Shop))
}

const (
	// maxForm is more than any form of the shop takes, in bytes.
	maxForm = 16 << 10

	// askTimeout bounds how long a buyer waits for the module's answer.
	askTimeout = 5 * time.Second
)

// Shop is a demonstration storefront: a handful of products, a cart, orders. It
// answers every request that reaches it. Its site should listen on loopback
// alone, with the qlink handler and a reverse_proxy before it.
type Shop struct {
	// The folder for carts and orders. Default: qlink-quickstart-shop in
	// Caddy's data folder. Nothing is made there before the first request.
	Data string `json:"data,omitempty"`

	// The base URL of the qlink handler's prefix, as this shop reaches it: for
	// example http://localhost:8080/qlink.
	QLink string `json:"qlink,omitempty"`

	// The secret of the qlink handler's api, which signs the shop's questions.
	Secret string `json:"secret,omitempty"`

	// The secret of the qlink handler's notify, whsec_ and all: POST
	// /notifications then hears how bills end. Default: nobody tells the shop,
	// and it asks when somebody looks at an order.
	NotificationSecret string `json:"notification_secret,omitempty"`

	// Where the footer's link to the gateway simulator leads. Default: no link.
	Sandbox string `json:"sandbox,omitempty"`

	dir     string
	sandbox string
	till    *till
	ledger  atomic.Pointer[ledger]
	routes  http.Handler
	logger  *zap.Logger

	verifier *standardwebhooks.Webhook // nil: nobody tells
}

// CaddyModule returns the Caddy module information.
func (*Shop) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.qlink_quickstart_shop",
		New: func() caddy.Module { return new(Shop) },
	}
}

// Provision resolves the settings. It opens nothing: caddy validate runs it
// too, beside a server that uses the same folder.
func (s *Shop) Provision(ctx caddy.Context) error {
	s.logger = ctx.Logger()
	resolved := func(option, value string) (string, error) {
		value, err := caddy.NewReplacer().ReplaceOrErr(value, true, true)
		if err != nil {
			return "", fmt.Errorf("%s: %w", option, err)
		}
		return value, nil
	}
	var errs [5]error
	var base, secret, notifying string
	s.dir, errs[0] = resolved("data", s.Data)
	base, errs[1] = resolved("qlink", s.QLink)
	secret, errs[2] = resolved("secret", s.Secret)
	s.sandbox, errs[3] = resolved("sandbox", s.Sandbox)
	notifying, errs[4] = resolved("notification_secret", s.NotificationSecret)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if s.dir == "" {
		s.dir = filepath.Join(caddy.AppDataDir(), "qlink-quickstart-shop")
	}
	if secret == "" {
		return errors.New("secret: the secret of the qlink handler's api is needed")
	}
	prefix, err := url.Parse(base)
	if err != nil {
		return fmt.Errorf("qlink: %w", err)
	}
	if prefix.Host == "" || (prefix.Scheme != "http" && prefix.Scheme != "https") {
		return fmt.Errorf("qlink: %q is not the http or https URL of the qlink handler's prefix", base)
	}
	if notifying != "" {
		if s.verifier, err = newVerifier(notifying); err != nil {
			return fmt.Errorf("notification_secret: %w", err)
		}
	}
	s.till = newTill(prefix, []byte(secret))
	s.routes = s.newRoutes()
	return nil
}

// Cleanup lets go of idle connections. The ledger stays: requests that are
// still running, and the next configuration, use it.
func (s *Shop) Cleanup() error {
	if s.till != nil {
		s.till.client.CloseIdleConnections()
	}
	return nil
}

// ServeHTTP answers every request; next is never called.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	most := int64(maxForm)
	if r.URL.Path == notifiedPath {
		most = maxNotification
	}
	r.Body = http.MaxBytesReader(w, r.Body, most)
	s.routes.ServeHTTP(w, r)
	return nil
}

// newRoutes lays out the shop. Requests that change something are refused when
// a page of another site sent them.
func (s *Shop) newRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.withLedger(s.showShelf))
	mux.HandleFunc("GET /cart", s.withLedger(s.showCart))
	mux.HandleFunc("POST /cart/add", s.withLedger(s.addToCart))
	mux.HandleFunc("POST /cart/set", s.withLedger(s.setInCart))
	mux.HandleFunc("POST /checkout", s.withLedger(s.checkout))
	mux.HandleFunc("GET /orders/{code}", s.withLedger(s.showOrder))
	if s.verifier != nil {
		mux.HandleFunc("POST "+notifiedPath, s.withLedger(s.notified))
	}
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", assets))
	return http.NewCrossOriginProtection().Handler(mux)
}

// withLedger opens the ledger on first use, here and not in Provision.
func (s *Shop) withLedger(next func(http.ResponseWriter, *http.Request, *ledger)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l := s.ledger.Load()
		if l == nil {
			var err error
			if l, err = sharedLedger(s.dir); err != nil {
				s.fail(w, r, err)
				return
			}
			s.ledger.Store(l)
		}
		next(w, r, l)
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Shop)(nil)
	_ caddy.CleanerUpper          = (*Shop)(nil)
	_ caddyhttp.MiddlewareHandler = (*Shop)(nil)
)
