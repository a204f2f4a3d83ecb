package shop

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const directive = "qlink_quickstart_shop"

func init() {
	httpcaddyfile.RegisterHandlerDirective(directive, parseCaddyfile)
	// It ends the chain, as reverse_proxy does.
	httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, "reverse_proxy")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Shop)
	return s, s.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	qlink_quickstart_shop {
//		qlink   <base URL of the qlink handler's prefix>
//		secret  <secret of the qlink handler's api>
//		notification_secret <whsec_..., as in the qlink handler's notify>
//		data    <folder>
//		sandbox <URL of the simulator's page>
//	}
func (s *Shop) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	options := map[string]*string{
		"qlink":               &s.QLink,
		"secret":              &s.Secret,
		"notification_secret": &s.NotificationSecret,
		"data":                &s.Data,
		"sandbox":             &s.Sandbox,
	}
	for d.NextBlock(0) {
		name := d.Val()
		value, ok := options[name]
		if !ok {
			return d.Errf("unrecognized option '%s'", name)
		}
		if *value != "" {
			return d.Errf("%s is given twice", name)
		}
		if !d.AllArgs(value) {
			return d.ArgErr()
		}
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Shop)(nil)
