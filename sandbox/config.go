package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the gateway's zone must be known on a machine that has none

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// The app of a sandbox whose configuration names none.
const (
	defaultAppKey    = "app-test"
	defaultAppSecret = "s3cr3t-test"
)

// config is the configuration after placeholders, checked and typed. It stays
// out of the module's JSON fields so that no resolved secret can be marshaled.
type config struct {
	apps         []app
	prefix       string
	webhook      string
	webhookDelay time.Duration
	webhookTries int
	webhookRetry time.Duration
	ledger       string // absolute; empty: in memory
	name         string
	zone         *time.Location
	global       bool
	content      qlink.ContentMode
	escaping     string
	envelope     string
	statusAnswer string
	repeat       string
	fateDelay    time.Duration
	merchant     string
	city         string
	publicURL    string
	accounts     []string
	types        []Offer
	channels     []Offer
}

type app struct{ key, secret, webhook string }

// ledgerKey names the ledger in the registry.
func (c *config) ledgerKey() string {
	if c.ledger != "" {
		return "file:" + c.ledger
	}
	return "memory:" + c.name
}

// app finds the merchant of an appKey.
func (c *config) app(key string) *app {
	if i := slices.IndexFunc(c.apps, func(a app) bool { return a.key == key }); i >= 0 {
		return &c.apps[i]
	}
	return nil
}

// option is one setting with one value. The same check serves the Caddyfile,
// where it can name file and line, and the load, where placeholders are known.
type option struct {
	name     string
	fallback string
	field    func(*Sandbox) *string
	set      func(*config, string) error
}

var options = []option{
	{"prefix", "/sandbox", func(s *Sandbox) *string { return &s.Prefix }, setPrefix},
	{"webhook", "", func(s *Sandbox) *string { return &s.Webhook }, func(c *config, v string) error {
		return setURL(&c.webhook, v)
	}},
	{"webhook_delay", "0s", func(s *Sandbox) *string { return &s.WebhookDelay }, func(c *config, v string) error {
		return setDuration(&c.webhookDelay, v)
	}},
	{"webhook_tries", "5", func(s *Sandbox) *string { return &s.WebhookTries }, setTries},
	{"webhook_retry", "1s", func(s *Sandbox) *string { return &s.WebhookRetry }, func(c *config, v string) error {
		return setDuration(&c.webhookRetry, v)
	}},
	{"ledger", "", func(s *Sandbox) *string { return &s.Ledger }, setLedger},
	{"name", "default", func(s *Sandbox) *string { return &s.Name }, func(c *config, v string) error {
		c.name = v
		return nil
	}},
	{"time_zone", "Asia/Shanghai", func(s *Sandbox) *string { return &s.TimeZone }, setZone},
	{"edition", "standard", func(s *Sandbox) *string { return &s.Edition }, func(c *config, v string) error {
		c.global = v == "global"
		return oneOf(v, "standard", "global")
	}},
	{"signature_content", "string", func(s *Sandbox) *string { return &s.SignatureContent }, func(c *config, v string) error {
		c.content = qlink.ContentMode(v)
		return oneOf(v, string(qlink.ContentString), string(qlink.ContentObject))
	}},
	{"escaping", "any", func(s *Sandbox) *string { return &s.Escaping }, func(c *config, v string) error {
		c.escaping = v
		return oneOf(v, append([]string{"any"}, escapingNames()...)...)
	}},
	// The empty fallback is the edition's own envelope, chosen in resolve.
	{"envelope", "", func(s *Sandbox) *string { return &s.Envelope }, func(c *config, v string) error {
		c.envelope = v
		return oneOf(v, envelopes...)
	}},
	{"status_answer", "auto", func(s *Sandbox) *string { return &s.StatusAnswer }, func(c *config, v string) error {
		c.statusAnswer = v
		return oneOf(v, statusAnswers...)
	}},
	{"repeat", "refuse", func(s *Sandbox) *string { return &s.Repeat }, func(c *config, v string) error {
		c.repeat = v
		return oneOf(v, repeats...)
	}},
	{"fate_delay", "1s", func(s *Sandbox) *string { return &s.FateDelay }, func(c *config, v string) error {
		return setDuration(&c.fateDelay, v)
	}},
	{"public_url", "", func(s *Sandbox) *string { return &s.PublicURL }, func(c *config, v string) error {
		return setURL(&c.publicURL, strings.TrimSuffix(v, "/"))
	}},
}

// The words that the options, the settings of the control API and the faults
// share.
var (
	envelopes     = []string{"bare", "beside", "result", "data", "content", "content_text"}
	statusAnswers = []string{"auto", "object", "array"}
	repeats       = []string{"refuse", "answer"}
	actions       = []string{"qr", "url", "code", "deeplink", "none"}
)

// resolve replaces placeholders and checks everything. Errors name the option.
func (s *Sandbox) resolve() (config, error) {
	var c config
	replacer := caddy.NewReplacer()
	resolved := func(v string) (string, error) { return replacer.ReplaceOrErr(v, true, true) }
	for _, o := range options {
		value, err := resolved(*o.field(s))
		if err == nil {
			if value = cmp.Or(value, o.fallback); value != "" {
				err = o.set(&c, value)
			}
		}
		if err != nil {
			return config{}, fmt.Errorf("%s: %w", o.name, err)
		}
	}
	if c.envelope == "" {
		c.envelope = "beside"
		if c.global {
			c.envelope = "result"
		}
	}
	if err := s.resolveLists(&c, resolved); err != nil {
		return config{}, err
	}
	return c, nil
}

func (s *Sandbox) resolveLists(c *config, resolved func(string) (string, error)) error {
	each := func(what string, in ...*string) error {
		for _, v := range in {
			var err error
			if *v, err = resolved(*v); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		return nil
	}
	c.merchant, c.city = cmp.Or(s.Merchant, "QLink Sandbox"), cmp.Or(s.City, "Jakarta")
	if err := each("merchant", &c.merchant, &c.city); err != nil {
		return err
	}
	for _, a := range s.Apps {
		if err := each("app", &a.Key, &a.Secret, &a.Webhook); err != nil {
			return err
		}
		if err := c.addApp(a); err != nil {
			return fmt.Errorf("app %q: %w", a.Key, err)
		}
	}
	if len(c.apps) == 0 {
		c.apps = []app{{key: defaultAppKey, secret: defaultAppSecret}}
	}
	c.accounts = slices.Clone(s.Accounts)
	for i := range c.accounts {
		if err := each("account", &c.accounts[i]); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		what string
		from []Offer
		to   *[]Offer
	}{{"type", s.Types, &c.types}, {"channel", s.Channels, &c.channels}} {
		for _, o := range list.from {
			if err := each(list.what, &o.Code, &o.Name, &o.Action); err != nil {
				return err
			}
			if err := checkOffer(o); err != nil {
				return fmt.Errorf("%s %q: %w", list.what, o.Code, err)
			}
			*list.to = append(*list.to, o)
		}
	}
	return nil
}

func (c *config) addApp(a App) error {
	switch {
	case a.Key == "":
		return errors.New("the app key is empty")
	case a.Secret == "":
		return errors.New("the app secret is empty")
	case c.app(a.Key) != nil:
		return errors.New("this app key is there already")
	}
	added := app{key: a.Key, secret: a.Secret}
	if a.Webhook != "" {
		if err := setURL(&added.webhook, a.Webhook); err != nil {
			return err
		}
	}
	c.apps = append(c.apps, added)
	return nil
}

func checkOffer(o Offer) error {
	if o.Code == "" {
		return errors.New("the code is empty")
	}
	if o.Action == "" {
		return nil
	}
	return oneOf(o.Action, actions...)
}

func oneOf(v string, words ...string) error {
	if slices.Contains(words, v) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", v, strings.Join(words, ", "))
}

// prefixForm keeps the prefix free of what means something in a route pattern.
var prefixForm = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*/?$`)

func setPrefix(c *config, v string) error {
	if !strings.HasPrefix(v, "/") || !prefixForm.MatchString(v) {
		return fmt.Errorf("%q is no path such as /sandbox (letters, digits and ._~- between slashes)", v)
	}
	c.prefix = strings.TrimSuffix(v, "/")
	return nil
}

func setURL(to *string, v string) error {
	u, err := url.Parse(v)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Fragment != "" {
		return fmt.Errorf("%q is no http or https URL", v)
	}
	*to = v
	return nil
}

func setDuration(to *time.Duration, v string) error {
	d, err := caddy.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("%q is no duration such as 500ms, 2s or 1m", v)
	}
	if d < 0 {
		return fmt.Errorf("%q is below zero", v)
	}
	*to = d
	return nil
}

func setTries(c *config, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 100 {
		return fmt.Errorf("%q is no number from 1 to 100", v)
	}
	c.webhookTries = n
	return nil
}

func setLedger(c *config, v string) error {
	if !filepath.IsAbs(v) {
		v = filepath.Join(caddy.AppDataDir(), v)
	}
	c.ledger = filepath.Clean(v)
	return nil
}

func setZone(c *config, v string) error {
	zone, err := time.LoadLocation(v)
	if err != nil || v == "Local" {
		return fmt.Errorf("%q is no IANA time zone such as Asia/Shanghai", v)
	}
	c.zone = zone
	return nil
}
