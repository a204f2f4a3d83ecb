// Package handlers is the HTTP of the module: the endpoints under the prefix,
// the take-over of a shop's answer that is an order, and QLink's webhook.
//
// It decides nothing about money: it reads what a buyer, a shop or the gateway
// sent, asks the engine (package payment, through the interface Payments) and
// words the answer. It never writes a bill and keeps no state between requests
// but the count of failed signatures; nothing it starts outlives the request. It knows plain net/http
// and no Caddy: the root package finds out which requests are ours and calls
// ServeEndpoint and Checkout.
package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/page/content"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Payments is the engine as these handlers use it; *payment.Engine is one.
type Payments interface {
	Ready(ctx context.Context, client string) error
	Create(ctx context.Context, s payment.Scope, o bill.Order, h payment.HandOver) (payment.Created, error)
	Bill(ctx context.Context, s payment.Scope, id string) (bill.Bill, error)
	Details(ctx context.Context, s payment.Scope, id string) (bill.Details, error)
	Showing(ctx context.Context, s payment.Scope, id string, within time.Duration) (payment.Showing, error)
	Ways(ctx context.Context, s payment.Scope, b bill.Bill) ([]payment.Way, error)
	Wait(ctx context.Context, s payment.Scope, id string, version uint64) (bill.Bill, error)
	Watch(ctx context.Context, s payment.Scope, id string) (payment.Watching, error)
	Cancel(ctx context.Context, s payment.Scope, id string, reason bill.CancelReason) (bill.Bill, error)
	Refresh(ctx context.Context, s payment.Scope, id string) (bill.Bill, error)
	Choose(ctx context.Context, s payment.Scope, id, payType, payChannel string) (bill.Bill, error)
	Retry(ctx context.Context, s payment.Scope, id string, within time.Duration, h payment.HandOver) (payment.Created, error)
	Order(ctx context.Context, s payment.Scope, orderCode string) (payment.Order, error)
	CancelOrder(ctx context.Context, s payment.Scope, orderCode string) (bill.Bill, error)
	Settle(ctx context.Context, accounts []*payment.Account, n qlink.Notification, bodySHA256 string) error
}

// Renderer draws what a buyer's browser is shown; *page.Renderer is one. A nil
// caption asks for the bare code.
type Renderer interface {
	Payment(p content.Payment) (content.Document, error)
	Failure(f content.Failure) (content.Document, error)
	QRSVG(payload string, caption *content.Caption) ([]byte, error)
	QRPNG(payload string, caption *content.Caption) ([]byte, error)
}

// Defaults of what an API leaves out.
const (
	DefaultPrefix      = "/qlink"
	DefaultMaxAge      = 5 * time.Minute
	DefaultMinInterval = 5 * time.Second
	DefaultBodyTimeout = 30 * time.Second
	DefaultHeartbeat   = 15 * time.Second
	DefaultSendTimeout = 10 * time.Second
)

// API is what a Handler works with. Payments, Scope.Account and Page are
// required.
type API struct {
	Payments Payments
	Scope    payment.Scope      // what the endpoints answer for
	Accounts []*payment.Account // all that exist: a webhook may be for any of them
	Page     Renderer

	Prefix         string        // where the endpoints live; "": DefaultPrefix
	PublicURL      string        // scheme, host and path under which buyers see Prefix's parent; "": BaseURL's
	ReturnURL      string        // back to the shop, with {order_code} and {bill}; "": "/"
	Merchant       string        // the shop's name for its buyers; "": the public host
	APISecrets     []string      // of the signed endpoints; none: they do not exist
	MaxAge         time.Duration // of a signature, either way; 0: DefaultMaxAge
	AllowedOrigins []string      // of browsers, besides our own
	MinInterval    time.Duration // between two questions about one bill; 0: DefaultMinInterval
	Retry          time.Duration // for so long after the hand-over a buyer may start a new attempt; 0: never

	// PaidCookie reports whether browsers that are shown a paid bill are to
	// remember it in the cookie qlink_paid, since a Gate will ask for it; nil: no.
	PaidCookie func() bool

	// BodyTimeout is how long a client may take to send a request's body to an
	// endpoint; 0: DefaultBodyTimeout. What goes through to the shop is not
	// bound by it.
	BodyTimeout time.Duration
	// Heartbeat is how often an event stream gives a sign of life; 0:
	// DefaultHeartbeat. Proxies cut silent connections.
	Heartbeat time.Duration
	// SendTimeout is how long a client may take to receive an event; 0:
	// DefaultSendTimeout. It is dropped then, and may come back.
	SendTimeout time.Duration
	// Forgeries counts failed signatures, over all handlers that share it; nil:
	// one of its own.
	Forgeries *Forgeries

	// BaseURL returns what PublicURL stands for as the request shows it, without
	// a slash at its end; nil: the scheme of the connection and the Host header.
	BaseURL func(*http.Request) string
	// RequestURI returns path and query exactly as the client sent them, before
	// any rewrite: what a signature covers; nil: the request's own field.
	RequestURI func(*http.Request) string
	// ClientIP returns the address of whoever sent the request, with or without a
	// port, for the log and for what is counted by client; nil: the peer's.
	ClientIP func(*http.Request) string
	// Draining is closed when the server shuts down: long polls answer at once,
	// event streams end.
	Draining <-chan struct{}

	Metrics Metrics          // nil: none
	Logger  *zap.Logger      // nil: none
	Now     func() time.Time // nil: time.Now
}

// Handler serves one site's endpoints. It is safe for concurrent use.
type Handler struct {
	API

	publicBase string // PublicURL without the slash at its end
	passes     passes
}

// New checks an API and returns its handler. Errors name the field.
func New(api API) (*Handler, error) {
	if api.Payments == nil || api.Scope.Account == nil || api.Page == nil {
		return nil, errors.New("handlers: Payments, Scope.Account and Page are required")
	}
	h := &Handler{API: api}
	h.setDefaults()
	if !strings.HasPrefix(h.Prefix, "/") || strings.HasSuffix(h.Prefix, "/") {
		return nil, fmt.Errorf("handlers: Prefix %q must begin with a slash and not end with one", h.Prefix)
	}
	if slices.Contains(h.APISecrets, "") {
		return nil, errors.New("handlers: APISecrets holds an empty secret")
	}
	if h.PublicURL != "" {
		if _, err := webAddress(h.PublicURL); err != nil {
			return nil, fmt.Errorf("handlers: PublicURL: %w", err)
		}
		h.publicBase = strings.TrimRight(h.PublicURL, "/")
	}
	if err := checkReturnURL(h.ReturnURL); err != nil {
		return nil, fmt.Errorf("handlers: ReturnURL: %w", err)
	}
	origins, err := parseOrigins(h.AllowedOrigins)
	if err != nil {
		return nil, fmt.Errorf("handlers: AllowedOrigins: %w", err)
	}
	h.AllowedOrigins = origins
	if h.passes, err = newPasses(h.Scope); err != nil {
		return nil, fmt.Errorf("handlers: %w", err)
	}
	return h, nil
}

func (h *Handler) setDefaults() {
	setDefault(&h.Prefix, DefaultPrefix)
	setDefault(&h.ReturnURL, "/")
	setDefault(&h.MaxAge, DefaultMaxAge)
	setDefault(&h.MinInterval, DefaultMinInterval)
	setDefault(&h.BodyTimeout, DefaultBodyTimeout)
	setDefault(&h.Heartbeat, DefaultHeartbeat)
	setDefault(&h.SendTimeout, DefaultSendTimeout)
	if h.Forgeries == nil {
		h.Forgeries = new(Forgeries)
	}
	if h.BaseURL == nil {
		h.BaseURL = connectionBase
	}
	if h.RequestURI == nil {
		h.RequestURI = func(r *http.Request) string { return r.RequestURI }
	}
	if h.ClientIP == nil {
		h.ClientIP = func(r *http.Request) string { return r.RemoteAddr }
	}
	if h.Metrics == nil {
		h.Metrics = uncounted{}
	}
	if h.Logger == nil {
		h.Logger = zap.NewNop()
	}
	if h.Now == nil {
		h.Now = time.Now
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func connectionBase(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// webAddress parses an absolute http(s) address that has no user info, query
// or fragment.
func webAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not an http(s) address without user info, query or fragment", text)
	}
	return u, nil
}
