package caddyqlink

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

// API lets shops' servers hand over and look up orders, signed with a secret
// that they share with this handler.
type API struct {
	// Secret is what requests are signed with; the first is the current one,
	// every one verifies. Required.
	Secret []string `json:"secret,omitempty"`

	// MaxAge is how old a signature may be. Default: 5m.
	MaxAge string `json:"max_age,omitempty"`
}

// site is a handler's configuration as understood.
type site struct {
	account   string
	shop      string
	prefix    string
	publicURL string
	returnURL string
	checkout  []string
	origins   []string
	retry     time.Duration // 0: off
	api       *api
	notify    []payment.Target
	page      hosted
}

type api struct {
	secrets []string
	maxAge  time.Duration
}

const defaultMaxAge = 5 * time.Minute

var siteOptions = []option[Handler, site]{
	{"account", func(h *Handler) *string { return &h.Account }, func(s *site, v string) error {
		s.account = v
		return checkName(v)
	}},
	{"shop", func(h *Handler) *string { return &h.Shop }, text(func(s *site) *string { return &s.shop })},
	{"prefix", func(h *Handler) *string { return &h.Prefix }, setPrefix},
	{"public_url", func(h *Handler) *string { return &h.PublicURL }, setPublicURL},
	{"retry", func(h *Handler) *string { return &h.Retry }, span(func(s *site) *time.Duration { return &s.retry })},
}

// returnURL is apart from the others: its placeholders are two of our own
// besides Caddy's.
var returnURL = option[Handler, site]{"return_url", func(h *Handler) *string { return &h.ReturnURL }, setReturnURL}

var apiOptions = []option[API, api]{
	{"max_age", func(a *API) *string { return &a.MaxAge }, span(func(a *api) *time.Duration { return &a.maxAge })},
}

// site resolves and checks the handler's own options.
func (h *Handler) site() (site, error) {
	s := site{account: defaultName, shop: defaultName, prefix: defaultPrefix, returnURL: "/"}
	r := newResolver()
	err := resolve(r, siteOptions, h, &s)
	if err == nil {
		err = resolve(r.keeping("order_code", "bill"), []option[Handler, site]{returnURL}, h, &s)
	}
	if err == nil {
		err = h.resolveCheckout(r, &s)
	}
	if err == nil {
		err = h.resolveOrigins(r, &s)
	}
	if err == nil && h.API != nil {
		if s.api, err = h.API.resolve(r); err != nil {
			err = fmt.Errorf("api: %w", err)
		}
	}
	if err == nil {
		s.notify, err = resolveNotify(r, h.Notify)
	}
	if err == nil {
		if s.page, err = h.Page.hosted(r); err != nil {
			err = fmt.Errorf("page: %w", err)
		}
	}
	return s, err
}

// keeping returns a resolver that leaves these placeholders as they are.
func (r resolver) keeping(names ...string) resolver {
	kept := newResolver()
	for _, name := range names {
		kept.replacer.Set(name, "{"+name+"}")
	}
	return kept
}

func (h *Handler) resolveCheckout(r resolver, s *site) (err error) {
	if s.checkout, err = r.values(h.Checkout); err != nil {
		return fmt.Errorf("checkout: %w", err)
	}
	for _, path := range s.checkout {
		if err := checkPath(path); err != nil {
			return fmt.Errorf("checkout: %w", err)
		}
	}
	return nil
}

// checkPath accepts what Caddy's path matcher can match at all.
func checkPath(path string) error {
	if path == "" || path[0] != '/' && path[0] != '*' {
		return fmt.Errorf("%q is no path: it must begin with a slash or an asterisk", path)
	}
	return nil
}

func (h *Handler) resolveOrigins(r resolver, s *site) error {
	written, err := r.values(h.AllowedOrigins)
	if err != nil {
		return fmt.Errorf("allowed_origins: %w", err)
	}
	if s.origins, err = origins(written); err != nil {
		return fmt.Errorf("allowed_origins: %w", err)
	}
	return nil
}

func (a *API) resolve(r resolver) (*api, error) {
	out := api{maxAge: defaultMaxAge}
	err := resolve(r, apiOptions, a, &out)
	if err != nil {
		return nil, err
	}
	if out.secrets, err = r.secrets(a.Secret); err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	if len(out.secrets) == 0 {
		return nil, errors.New("secret is missing")
	}
	return &out, nil
}
