package sandbox

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("qlink_sandbox", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("qlink_sandbox", httpcaddyfile.After, "intercept")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Sandbox)
	if err := s.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return s, nil
}

// UnmarshalCaddyfile sets the sandbox up from Caddyfile tokens:
//
//	qlink_sandbox [<matcher>] {
//		# who may call
//		app     <app_key> <app_secret> [<webhook_url>]     # repeatable; default: app-test s3cr3t-test
//		account <pay_account>…                             # repeatable; default: any
//
//		# where
//		prefix     <path>                                  # default /sandbox: operations at {prefix}/pay, page at {prefix}/
//		public_url <url>                                   # under which buyers see prefix's parent; default: the call's host
//		ledger     <file>                                  # default: in memory
//		name       <name>                                  # of the ledger in memory; default: default
//
//		# how the gateway behaves
//		edition           standard|global                  # default standard
//		time_zone         <IANA name>                      # default Asia/Shanghai
//		signature_content string|object                    # default string
//		escaping          any|minimal|c1|html|slash|go     # default any
//		envelope          bare|beside|result|data|content|content_text  # default beside; result in the global edition
//		status_answer     auto|object|array                # default auto
//		repeat            refuse|answer                    # of a tradeUuid; default refuse
//		fate_delay        <duration>                       # of magic order codes; default 1s
//
//		# what it offers
//		type     <code> [<name>]                           # repeatable; default: usual ones listed, any taken
//		channel  <code> [<name> [qr|url|code|deeplink|none]]
//		merchant <name> [<city>]                           # on QR codes; default "QLink Sandbox" Jakarta
//
//		# whom it tells
//		webhook       <url>                                # default: nobody
//		webhook_delay <duration>                           # default 0s
//		webhook_tries <n>                                  # default 5
//		webhook_retry <duration>                           # before the second try, then doubled; default 1s
//	}
func (s *Sandbox) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		if err := s.unmarshalOption(d, name, seen); err != nil {
			return err
		}
		if d.NextBlock(1) {
			return d.Errf("%s takes no block", name)
		}
	}
	return nil
}

func (s *Sandbox) unmarshalOption(d *caddyfile.Dispenser, name string, seen map[string]bool) error {
	args := d.RemainingArgs()
	switch name {
	case "app":
		return s.unmarshalApp(d, args)
	case "account":
		if len(args) == 0 {
			return d.Errf("account wants at least one pay account")
		}
		s.Accounts = append(s.Accounts, args...)
		return nil
	case "type":
		return unmarshalOffer(d, &s.Types, args, 2)
	case "channel":
		return unmarshalOffer(d, &s.Channels, args, 3)
	}
	if seen[name] {
		return d.Errf("%s is set twice", name)
	}
	seen[name] = true
	if name == "merchant" {
		if len(args) < 1 || len(args) > 2 {
			return d.Errf("merchant wants a name and at most a city")
		}
		s.Merchant = args[0]
		s.City = strings.Join(args[1:], "")
		return nil
	}
	return s.unmarshalValue(d, name, args)
}

// unmarshalValue takes an option of the table. What holds a placeholder is
// checked at load, when its value is known.
func (s *Sandbox) unmarshalValue(d *caddyfile.Dispenser, name string, args []string) error {
	i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
	if i < 0 {
		return d.Errf("unknown option %q of qlink_sandbox", name)
	}
	if len(args) != 1 || args[0] == "" {
		return d.Errf("%s wants exactly one value", name)
	}
	if !hasPlaceholder(args[0]) {
		if err := options[i].set(new(config), args[0]); err != nil {
			return d.Errf("%s: %v", name, err)
		}
	}
	*options[i].field(s) = args[0]
	return nil
}

func (s *Sandbox) unmarshalApp(d *caddyfile.Dispenser, args []string) error {
	if len(args) < 2 || len(args) > 3 || args[0] == "" || args[1] == "" {
		return d.Errf("app wants an app key, its secret, and at most a webhook URL")
	}
	a := App{Key: args[0], Secret: args[1]}
	if slices.ContainsFunc(s.Apps, func(b App) bool { return a.Key == b.Key }) {
		return d.Errf("app %q is there twice", a.Key)
	}
	if len(args) == 3 {
		a.Webhook = args[2]
		if err := setURL(new(string), a.Webhook); err != nil && !hasPlaceholder(a.Webhook) {
			return d.Errf("app %q: %v", a.Key, err)
		}
	}
	s.Apps = append(s.Apps, a)
	return nil
}

func unmarshalOffer(d *caddyfile.Dispenser, to *[]Offer, args []string, most int) error {
	if len(args) < 1 || len(args) > most {
		return d.Errf("wrong number of values: a code, then at most %d more", most-1)
	}
	var o Offer
	for i, field := range []*string{&o.Code, &o.Name, &o.Action}[:len(args)] {
		*field = args[i]
	}
	if err := checkOffer(o); err != nil && !hasPlaceholder(o.Action) {
		return d.WrapErr(err)
	}
	*to = append(*to, o)
	return nil
}

func hasPlaceholder(v string) bool { return strings.Contains(v, "{") }

// Interface guard.
var _ caddyfile.Unmarshaler = (*Sandbox)(nil)
