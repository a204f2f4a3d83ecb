package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func init() {
	caddy.RegisterModule(new(Store))
}

// Store keeps bills in a PostgreSQL database that several Caddys share. It
// makes its own schema, and brings it up to date, when it is opened.
//
// The database has to keep what it has confirmed: where a standby takes over
// from a primary, replication has to be synchronous (synchronous_standby_names),
// or else payments that were confirmed are forgotten with the primary.
type Store struct {
	// How to reach the database, as a URL (postgres://user@host/database) or in
	// keywords and values (host=… dbname=…), with all that libpq's connection
	// strings may hold, sslmode above all; pgx reads it. Several hosts may be
	// named: the one that takes writes is used. May hold placeholders, and should
	// be one, such as {env.QLINK_DSN} or {file./run/secrets/dsn}, where it holds a
	// password.
	DSN string `json:"dsn,omitempty"`

	// The schema in the database, made where it does not exist: small letters,
	// digits and underscores. Default: qlink.
	Schema string `json:"schema,omitempty"`

	// The most connections that this process opens, besides the one that follows
	// changes. Default: 16.
	MaxConns int `json:"max_conns,omitempty"`

	// How many connections are kept open while there is nothing to do.
	// Default: 0.
	MinConns int `json:"min_conns,omitempty"`

	// Whether changes by other nodes are listened for (LISTEN): on or off. They
	// are polled for every second besides; off is for poolers that share
	// connections between transactions. Default: on.
	Listen string `json:"listen,omitempty"`

	config *pgxpool.Config // with placeholders resolved
}

// Defaults.
const (
	defaultSchema   = "qlink"
	defaultMaxConns = 16
)

// mostConns is what one process may open.
const mostConns = 1000

// isSchema is what a schema's name has to be, so that it stands in SQL without
// quotes and means what it says.
var isSchema = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)

// CaddyModule returns the Caddy module information.
func (*Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "qlink.stores.postgres",
		New: func() caddy.Module { return new(Store) },
	}
}

// Provision resolves and checks the settings. It connects to nothing.
func (s *Store) Provision(caddy.Context) error {
	dsn, err := caddy.NewReplacer().ReplaceOrErr(s.DSN, true, true)
	if err != nil {
		return fmt.Errorf("store postgres: dsn: %w", err)
	}
	if dsn == "" {
		return errors.New("store postgres: dsn is empty")
	}
	if s.Schema == "" {
		s.Schema = defaultSchema
	}
	if !isSchema.MatchString(s.Schema) {
		return fmt.Errorf("store postgres: schema %.60q is not made of small letters, digits and underscores", s.Schema)
	}
	if s.MaxConns == 0 {
		s.MaxConns = defaultMaxConns
	}
	if s.MaxConns < 1 || s.MaxConns > mostConns || s.MinConns < 0 || s.MinConns > s.MaxConns {
		return fmt.Errorf("store postgres: min_conns %d and max_conns %d have to be 0 to %d, and max_conns 1 at the least", s.MinConns, s.MaxConns, mostConns)
	}
	switch s.Listen {
	case "", "on", "off":
	default:
		return fmt.Errorf("store postgres: listen %.20q is neither on nor off", s.Listen)
	}
	if s.config, err = parse(dsn); err != nil {
		return fmt.Errorf("store postgres: dsn: %w", err)
	}
	s.config.MaxConns = int32(s.MaxConns)
	s.config.MinIdleConns = int32(s.MinConns) //nolint:gosec // likewise
	return nil
}

// Key names servers, database and schema, in a hash: neither user nor password
// are in it, so that a reload may change them.
func (s *Store) Key() (string, error) {
	if s.config == nil {
		return "", errors.New("store postgres: not provisioned")
	}
	c := s.config.ConnConfig
	hash := sha256.New()
	write := func(parts ...string) {
		for _, part := range parts {
			fmt.Fprintf(hash, "%q ", part)
		}
	}
	write(c.Database, s.Schema, c.Host, strconv.Itoa(int(c.Port)))
	for _, f := range c.Fallbacks {
		write(f.Host, strconv.Itoa(int(f.Port)))
	}
	return "postgres " + hex.EncodeToString(hash.Sum(nil)), nil
}

// Open opens the store, and makes or updates its schema. A database that cannot
// be reached is no error: every call answers bill.ErrUnavailable until it can.
func (s *Store) Open(ctx context.Context, env bill.Env) (bill.Store, error) {
	if s.config == nil {
		return nil, errors.New("store postgres: not provisioned")
	}
	opened, err := open(ctx, s.settings(), env)
	if err != nil {
		return nil, fmt.Errorf("store postgres: %w", err)
	}
	return opened, nil
}

func (s *Store) settings() settings {
	return settings{config: s.config, schema: s.Schema, listen: s.Listen != "off"}
}

// Adopt lets a store that an earlier configuration has opened go on with this
// one's password, TLS and pool.
func (s *Store) Adopt(ctx context.Context, opened bill.Store) error {
	o, ok := opened.(*store)
	if !ok || s.config == nil {
		return fmt.Errorf("store postgres: %T cannot be adopted", opened)
	}
	if err := o.adopt(ctx, s.settings()); err != nil {
		return fmt.Errorf("store postgres: %w", err)
	}
	return nil
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	postgres {
//		dsn       <connection string>
//		schema    <name>
//		max_conns <n>
//		min_conns <n>
//		listen    on|off
//	}
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the store's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("%s is given twice", option)
		}
		seen[option] = true
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		var err error
		switch option {
		case "dsn":
			s.DSN = value
		case "schema":
			s.Schema = value
		case "max_conns":
			s.MaxConns, err = count(value)
		case "min_conns":
			s.MinConns, err = count(value)
		case "listen":
			s.Listen = value
		default:
			return d.Errf("unrecognized option %q of the store postgres, which has: dsn, schema, max_conns, min_conns, listen", option)
		}
		if err != nil {
			return d.Errf("%s: %v", option, err)
		}
		if d.NextBlock(d.Nesting()) {
			return d.Errf("%s takes no block", option)
		}
	}
	if s.DSN == "" {
		return d.Err("the store postgres has no dsn")
	}
	return nil
}

func count(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%.20q is no number above zero", value)
	}
	return int(n), nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
	_ bill.Opener           = (*Store)(nil)
	_ bill.Adopter          = (*Store)(nil)
)
