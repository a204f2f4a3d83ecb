package memory

import (
	"context"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func init() {
	caddy.RegisterModule(Store{})
}

// Store keeps bills in memory, and forgets them when Caddy exits: for tests
// and try-outs, never for real money. Bills survive a reload of the
// configuration.
type Store struct{}

// CaddyModule returns the Caddy module information.
func (Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "qlink.stores.memory",
		New: func() caddy.Module { return new(Store) },
	}
}

// Key returns the same key always: a process has one memory.
func (Store) Key() (string, error) { return "memory", nil }

// Open returns a new, empty store.
func (Store) Open(context.Context, bill.Env) (bill.Store, error) { return New(), nil }

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	memory
func (*Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the store's name
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("unrecognized option %q: the store memory has none", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ bill.Opener           = Store{}
	_ caddyfile.Unmarshaler = (*Store)(nil)
)
