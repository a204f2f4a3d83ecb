package badger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func init() {
	caddy.RegisterModule(new(Store))
}

// Store keeps bills in a folder on this machine's disk, in an embedded Badger
// database. It is the default, needs nothing installed, and belongs to one
// Caddy process at a time. The folder should be on a local disk, not on a
// network share.
type Store struct {
	// The folder, made where it does not exist, readable by Caddy's user alone.
	// A relative path begins at the working directory. May hold placeholders.
	// Default: the folder `qlink` in Caddy's data directory.
	Path string `json:"path,omitempty"`

	path string // with placeholders resolved
}

// CaddyModule returns the Caddy module information.
func (*Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "qlink.stores.badger",
		New: func() caddy.Module { return new(Store) },
	}
}

// Provision resolves the path. It neither opens nor creates anything, since
// `caddy validate` provisions beside a live server.
func (s *Store) Provision(caddy.Context) error {
	if s.Path == "" {
		s.path = filepath.Join(caddy.AppDataDir(), "qlink")
		return nil
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(s.Path, true, true)
	if err != nil {
		return fmt.Errorf("store badger: path: %w", err)
	}
	if path == "" {
		return errors.New("store badger: path is empty")
	}
	s.path = path
	return nil
}

// Key returns the folder as an absolute path without symbolic links, so that
// two ways to write one folder are one store.
func (s *Store) Key() (string, error) {
	if s.path == "" {
		return "", errors.New("store badger: not provisioned")
	}
	dir, err := resolve(s.path)
	if err != nil {
		return "", fmt.Errorf("store badger: path %s: %w", s.path, err)
	}
	return dir, nil
}

// Directory returns the folder for who looks at its owner and permissions, ""
// where it cannot be told.
func (s *Store) Directory() string {
	dir, err := s.Key()
	if err != nil {
		return ""
	}
	return dir
}

// Open opens the store, creating it where it does not exist.
func (s *Store) Open(ctx context.Context, env bill.Env) (bill.Store, error) {
	dir, err := s.Key()
	if err != nil {
		return nil, err
	}
	opened, err := open(ctx, dir, env)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// OpenToMove opens the store for a migration into another one, or out of one.
func (s *Store) OpenToMove(ctx context.Context, env bill.Env, create bool) (bill.Movable, error) {
	dir, err := s.Key()
	if err != nil {
		return nil, err
	}
	if !create && !isStore(dir) {
		return nil, fmt.Errorf("open store %s: there is no store: %w", dir, bill.ErrNotFound)
	}
	opened, err := openFor(ctx, dir, env, func(*store) error { return nil })
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	badger {
//		path <dir>
//	}
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the store's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); option {
		case "path":
			if s.Path != "" {
				return d.Err("path is given twice")
			}
			if !d.AllArgs(&s.Path) {
				return d.ArgErr()
			}
			if s.Path == "" {
				return d.Err("path is empty")
			}
			if d.NextBlock(d.Nesting()) {
				return d.Err("path takes no block")
			}
		default:
			return d.Errf("unrecognized option %q of the store badger, which has: path", option)
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
	_ bill.MovableOpener    = (*Store)(nil)
)
