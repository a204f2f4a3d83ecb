package caddyqlink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// named is the store that a configuration names, of which nothing else is
// loaded. It is opened for a migration.
type named struct {
	bill.Movable // nil while it is not open

	file   string // of the configuration
	key    string
	opener bill.MovableOpener
	unload func()
}

// loadNamed finds the store that a configuration names, and opens nothing.
func loadNamed(ctx context.Context, file, adapter string) (named, error) {
	raw, err := storeIn(file, adapter)
	if err != nil {
		return named{}, err
	}
	caddyCtx, unload := caddy.NewContext(caddy.Context{Context: ctx})
	n := named{file: file, unload: unload}
	opener, err := (&App{StoreRaw: raw}).loadStore(caddyCtx)
	if err == nil {
		n.key, err = opener.Key()
	}
	if err != nil {
		return named{}, errors.Join(fmt.Errorf("%s: store: %w", file, err), n.close())
	}
	movable, ok := opener.(bill.MovableOpener)
	if !ok {
		return named{}, errors.Join(fmt.Errorf("%s: nothing can be carried from or into a store of this kind", file), n.close())
	}
	n.opener = movable
	return n, nil
}

func (n *named) open(ctx context.Context, create bool) (err error) {
	env := bill.Env{Logger: func() *zap.Logger {
		return caddy.Log().Named("qlink").WithOptions(zap.IncreaseLevel(zap.WarnLevel))
	}}
	n.Movable, err = n.opener.OpenToMove(ctx, env, create)
	return err
}

// close closes what is open. A store that was abandoned is closed already.
func (n *named) close() (err error) {
	if n.Movable != nil {
		if err = n.Movable.Close(); errors.Is(err, bill.ErrUnavailable) {
			err = nil
		}
	}
	if n.unload != nil {
		n.unload()
	}
	return err
}

// storeIn returns the store's part of a configuration; nil where it names none.
func storeIn(file, adapter string) ([]byte, error) {
	text, err := asJSON(file, adapter)
	if err != nil {
		return nil, err
	}
	var config struct {
		Apps struct {
			QLink *struct {
				Store jsontext.Value `json:"store"`
			} `json:"qlink"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("%s is no configuration: %w", file, err)
	}
	if config.Apps.QLink == nil {
		return nil, fmt.Errorf("%s has no qlink app, which would name a store", file)
	}
	return config.Apps.QLink.Store, nil
}

// asJSON reads a configuration. Without an adapter, Caddyfiles are told by
// their names, as Caddy does it.
func asJSON(file, adapter string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(filepath.Base(file))
	if filepath.Ext(name) == ".json" {
		return text, nil
	}
	if adapter == "" && (strings.HasPrefix(name, "caddyfile") || strings.HasSuffix(name, ".caddyfile")) {
		adapter = "caddyfile"
	}
	if adapter == "" {
		return text, nil
	}
	a := caddyconfig.GetAdapter(adapter)
	if a == nil {
		return nil, fmt.Errorf("there is no config adapter %q", adapter)
	}
	adapted, _, err := a.Adapt(text, map[string]any{"filename": file})
	if err != nil {
		return nil, fmt.Errorf("adapt %s: %w", file, err)
	}
	return adapted, nil
}
