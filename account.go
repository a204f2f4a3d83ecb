package caddyqlink

import (
	"cmp"
	"encoding/json" //nolint:depguard // Caddy loads guest modules from json.RawMessage alone; nothing is decoded here
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// Account is a payment account at QLink: which gateway, as whom, and with
// which defaults. Every value takes Caddy's global placeholders ({env.X},
// {file./path}), resolved at load; numbers and durations are written as
// strings for their sake.
type Account struct {
	// Environment picks the edition's documented gateway: test or prod. Either
	// this or endpoint is required.
	Environment string `json:"environment,omitempty"`

	// Endpoint is the gateway's base URL where it is another one than the
	// documented ones: the sandbox, or a tunnel to QLink. It wins over
	// environment.
	Endpoint string `json:"endpoint,omitempty"`

	// Mode is test or live; bills carry it, and pages made in test mode say so.
	// Default: test with environment test or an endpoint on this machine, else
	// live.
	Mode string `json:"mode,omitempty"`

	// AppKey is what QLink calls the appKey that it gave you. Required.
	AppKey string `json:"app_key,omitempty"`

	// AppSecret is the secret that goes with it. The first one signs requests,
	// every one verifies notifications: put a new secret first and keep the old
	// one until QLink has changed over. Required.
	AppSecret []string `json:"app_secret,omitempty"`

	// PayAccount is the account that is paid into. Required.
	PayAccount string `json:"pay_account,omitempty"`

	// PayType is the type of orders that name none, such as ONLINE. Default: none,
	// so that every order has to say, as it has for the three below.
	PayType string `json:"pay_type,omitempty"`

	// PayChannel is the channel of orders that name none, such as QRIS.
	PayChannel string `json:"pay_channel,omitempty"`

	// Country is that of orders that name none: ISO 3166-1 alpha-2.
	Country string `json:"country,omitempty"`

	// Currency is that of orders that name none: ISO 4217.
	Currency string `json:"currency,omitempty"`

	// Offer lets the buyer choose how to pay wherever an order names no channel,
	// whatever pay_channel says, and also where only one way is offered; {} offers
	// what the gateway lists. Default: nothing is to be chosen.
	Offer *Offer `json:"offer,omitempty"`

	// TimeZone is the IANA zone of the gateway's times. Default: Asia/Shanghai.
	TimeZone string `json:"time_zone,omitempty"`

	// Edition of QLink's interface: standard or global. Default: standard.
	Edition string `json:"edition,omitempty"`

	// ServiceProvider names the provider behind edition global, which requires
	// it.
	ServiceProvider string `json:"service_provider,omitempty"`

	// SignatureContent says how a body stands in the signed text: string, object
	// or auto, which sends string and accepts both. Default: string.
	SignatureContent string `json:"signature_content,omitempty"`

	// BodyEscape says how requests write characters that JSON libraries escape
	// differently: ascii (as \uXXXX) or none. Default: ascii.
	BodyEscape string `json:"body_escape,omitempty"`

	// AccountField is the name under which pay_account is sent: payAccount,
	// glinkAccount or both. Default: payAccount.
	AccountField string `json:"account_field,omitempty"`

	// ApplyParams are further top-level parameters of /apply, by name.
	ApplyParams map[string]string `json:"apply_params,omitempty"`

	// Header is added to every request to the gateway.
	Header http.Header `json:"header,omitempty"`

	// Timeout of one call to the gateway. Default: 10s.
	Timeout string `json:"timeout,omitempty"`

	// ExpireAfter says when unpaid bills are cancelled at the gateway, in
	// general and by pay channel. Default: 24h.
	ExpireAfter []Expiry `json:"expire_after,omitempty"`

	// ConfirmSuccess says whether a signed notification of a payment is believed
	// by itself (off), or the bill is paid once the gateway, asked, agrees (on).
	// Until then no cancel of it completes, and no new attempt of its order
	// starts. Default: off.
	ConfirmSuccess string `json:"confirm_success,omitempty"`

	// UnknownBills says what a notification about a bill that is not in the
	// store is answered with: reject (404, so that QLink tries again) or accept
	// (200, where one app key serves other systems too). Default: reject.
	UnknownBills string `json:"unknown_bills,omitempty"`

	// StatusBatch is how many bills one query to the gateway may name.
	// Default: 50.
	StatusBatch string `json:"status_batch,omitempty"`

	// Notify are the URLs that are told how this account's bills end, where the
	// site names none, instead of those of the app. Default: the app's.
	Notify []Notify `json:"notify,omitempty"`

	// TransportRaw is Caddy's own HTTP transport, for TLS, a proxy and the like.
	// Default: a plain one.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	understood terms // since Provision
}

// Expiry is one rule of expire_after.
type Expiry struct {
	// After is counted from the bill's creation, but from the choice for a
	// channel that the buyer chose; 0 is never.
	After string `json:"after"`
	// Channels are the pay channels it is for. Default: all that no other rule
	// names.
	Channels []string `json:"channels,omitempty"`
}

// terms is an account as understood.
type terms struct {
	environment string
	endpoint    string
	mode        string
	client      qlink.Config
	secrets     []string
	defaults    bill.Defaults

	expireAfter   time.Duration
	expireChannel map[string]time.Duration
	confirm       string
	unknown       string
	statusBatch   int
}

const (
	defaultTimeout     = 10 * time.Second
	defaultExpireAfter = 24 * time.Hour
	defaultStatusBatch = 50
)

var accountOptions = []option[Account, terms]{
	{"environment", func(a *Account) *string { return &a.Environment },
		word(func(t *terms) *string { return &t.environment }, "test", "prod")},
	{"endpoint", func(a *Account) *string { return &a.Endpoint }, func(t *terms, v string) error {
		_, err := absoluteURL(v)
		t.endpoint = v
		return err
	}},
	{"mode", func(a *Account) *string { return &a.Mode },
		word(func(t *terms) *string { return &t.mode }, "test", "live")},
	{"app_key", func(a *Account) *string { return &a.AppKey },
		text(func(t *terms) *string { return &t.client.AppKey })},
	{"pay_account", func(a *Account) *string { return &a.PayAccount },
		text(func(t *terms) *string { return &t.client.PayAccount })},
	{"pay_type", func(a *Account) *string { return &a.PayType },
		text(func(t *terms) *string { return &t.defaults.PayType })},
	{"pay_channel", func(a *Account) *string { return &a.PayChannel },
		text(func(t *terms) *string { return &t.defaults.PayChannel })},
	{"country", func(a *Account) *string { return &a.Country },
		func(t *terms, v string) error { return setCountry(&t.defaults, v) }},
	{"currency", func(a *Account) *string { return &a.Currency },
		func(t *terms, v string) error { return setCurrency(&t.defaults, v) }},
	{"time_zone", func(a *Account) *string { return &a.TimeZone },
		zone(func(t *terms) **time.Location { return &t.client.Location })},
	{"edition", func(a *Account) *string { return &a.Edition },
		word(func(t *terms) *qlink.Edition { return &t.client.Edition }, qlink.EditionStandard, qlink.EditionGlobal)},
	{"service_provider", func(a *Account) *string { return &a.ServiceProvider },
		text(func(t *terms) *string { return &t.client.ServiceProvider })},
	{"signature_content", func(a *Account) *string { return &a.SignatureContent },
		word(func(t *terms) *qlink.ContentMode { return &t.client.Content },
			qlink.ContentString, qlink.ContentObject, qlink.ContentAuto)},
	{"body_escape", func(a *Account) *string { return &a.BodyEscape },
		word(func(t *terms) *qlink.BodyEscape { return &t.client.Escape }, qlink.EscapeASCII, qlink.EscapeNone)},
	{"account_field", func(a *Account) *string { return &a.AccountField },
		word(func(t *terms) *qlink.AccountField { return &t.client.AccountField },
			qlink.AccountFieldPayAccount, qlink.AccountFieldGlinkAccount, qlink.AccountFieldBoth)},
	{"timeout", func(a *Account) *string { return &a.Timeout },
		span(func(t *terms) *time.Duration { return &t.client.Timeout })},
	{"confirm_success", func(a *Account) *string { return &a.ConfirmSuccess },
		word(func(t *terms) *string { return &t.confirm }, "on", "off")},
	{"unknown_bills", func(a *Account) *string { return &a.UnknownBills },
		word(func(t *terms) *string { return &t.unknown }, "reject", "accept")},
	{"status_batch", func(a *Account) *string { return &a.StatusBatch },
		count(func(t *terms) *int { return &t.statusBatch }, 1)},
}

// provision turns the configured account into the engine's. Its errors name
// the field, never a secret's value.
func (a *Account) provision(ctx caddy.Context, r resolver, name string, logger *zap.Logger) (*payment.Account, error) {
	t, err := a.terms(r)
	if err != nil {
		return nil, err
	}
	if t.client.Transport, err = a.transport(ctx, t.client.Endpoint); err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	gateway, err := qlink.NewClient(t.client)
	if err != nil {
		return nil, err
	}
	ledger, err := bill.NewLedger(t.client.Endpoint, t.client.AppKey)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	account := &payment.Account{
		Name:          name,
		Ledger:        ledger,
		AppKey:        t.client.AppKey,
		Secrets:       t.secrets,
		Content:       t.client.Content,
		Location:      t.client.Location,
		LiveMode:      t.mode == "live",
		Defaults:      t.defaults,
		Gateway:       gateway,
		ExpireAfter:   t.expireAfter,
		ExpireChannel: t.expireChannel,
		CallTimeout:   t.client.Timeout,
		StatusBatch:   t.statusBatch,
		AcceptUnknown: t.unknown == "accept",

		ConfirmSuccess: t.confirm == "on",
	}
	warnPlainHTTP(logger, account, t.client.Endpoint)
	a.understood = t
	return account, nil
}

// terms resolves and checks everything that needs no other module.
func (a *Account) terms(r resolver) (terms, error) {
	t := terms{expireAfter: defaultExpireAfter, statusBatch: defaultStatusBatch, expireChannel: make(map[string]time.Duration)}
	t.client.Timeout = defaultTimeout
	t.client.Content = qlink.ContentString
	var err error
	t.client.Location, err = time.LoadLocation("Asia/Shanghai")
	for _, step := range []func() error{
		func() error { return resolve(r, accountOptions, a, &t) },
		func() error { return a.resolveSecrets(r, &t) },
		func() error { return a.resolveOffer(r, &t) },
		func() error { return a.resolveExpiry(r, &t) },
		func() error { return a.resolveParams(r, &t) },
		func() error { return a.resolveHeader(r, &t) },
		t.complete,
	} {
		if err == nil {
			err = step()
		}
	}
	return t, err
}

func (a *Account) resolveSecrets(r resolver, t *terms) (err error) {
	if t.secrets, err = r.secrets(a.AppSecret); err != nil {
		return fmt.Errorf("app_secret: %w", err)
	}
	if len(t.secrets) > 0 {
		t.client.AppSecret = t.secrets[0]
	}
	return nil
}

func (a *Account) resolveExpiry(r resolver, t *terms) error {
	general := false
	for _, e := range a.ExpireAfter {
		after, err := r.value(e.After)
		if err != nil {
			return fmt.Errorf("expire_after: %w", err)
		}
		channels, err := r.values(e.Channels)
		if err != nil {
			return fmt.Errorf("expire_after: pay channel: %w", err)
		}
		d, err := duration(after)
		switch {
		case err != nil:
			return fmt.Errorf("expire_after: %w", err)
		case len(channels) == 0 && general:
			return errors.New("expire_after: there are two for all pay channels")
		case len(channels) == 0:
			general, t.expireAfter = true, d
		}
		for _, c := range channels {
			if _, twice := t.expireChannel[c]; twice {
				return fmt.Errorf("expire_after: there are two for pay channel %q", c)
			}
			t.expireChannel[c] = d
		}
	}
	return nil
}

func (a *Account) resolveParams(r resolver, t *terms) error {
	for _, name := range slices.Sorted(maps.Keys(a.ApplyParams)) {
		value, err := r.value(a.ApplyParams[name])
		if err != nil {
			return fmt.Errorf("apply_param %q: %w", name, err)
		}
		t.client.ApplyParams = append(t.client.ApplyParams, qlink.Param{Name: name, Value: value})
	}
	return nil
}

func (a *Account) resolveHeader(r resolver, t *terms) error {
	t.client.Header = make(http.Header)
	for name, values := range a.Header {
		for _, v := range values {
			value, err := r.secret(v) // an access token, as like as not
			if err != nil {
				return fmt.Errorf("header %q: %w", name, err)
			}
			t.client.Header.Add(name, value)
		}
	}
	return nil
}

// complete checks what has to be there and fills in what follows from other
// options.
func (t *terms) complete() error {
	switch {
	case t.environment == "" && t.endpoint == "":
		return errors.New("environment or endpoint is missing")
	case t.client.AppKey == "":
		return errors.New("app_key is missing")
	case len(t.secrets) == 0:
		return errors.New("app_secret is missing")
	case t.client.PayAccount == "":
		return errors.New("pay_account is missing")
	case t.client.Edition == qlink.EditionGlobal && t.client.ServiceProvider == "":
		return errors.New("service_provider is missing: edition global needs one")
	case t.client.Edition != qlink.EditionGlobal && t.client.ServiceProvider != "":
		return errors.New("service_provider: is for edition global only")
	case t.client.Edition == qlink.EditionGlobal && t.defaults.Choice && len(t.defaults.Offer) == 0 && t.defaults.PayType == "":
		return errors.New("offer: edition global lists no types: pay_type is missing, or the ways to offer")
	}
	t.client.Endpoint = cmp.Or(t.endpoint, documentedEndpoint(t.client.Edition, t.environment))
	if t.mode == "" {
		t.mode = "live"
		if t.environment == "test" || loopback(t.client.Endpoint) {
			t.mode = "test"
		}
	}
	return nil
}

func documentedEndpoint(edition qlink.Edition, environment string) string {
	switch {
	case edition == qlink.EditionGlobal && environment == "test":
		return qlink.EndpointGlobalTest
	case edition == qlink.EditionGlobal:
		return qlink.EndpointGlobalProd
	case environment == "test":
		return qlink.EndpointTest
	}
	return qlink.EndpointProd
}

// loopback tells whether an endpoint is on this machine. It asks no resolver.
func loopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
}
