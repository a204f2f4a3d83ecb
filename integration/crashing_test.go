package integration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	caddyserver "github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-qlink/caddy-qlink"
	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

// The test's own binary is a Caddy too, for a store that nothing but these
// tests may have: one that kills its process.
const (
	playCaddy = "QLINK_TEST_PLAY_CADDY" // set for a copy of the binary that is to be Caddy
	gravesDir = "QLINK_TEST_GRAVES"     // names the folder of what has crashed already
)

// playingCaddy makes c a process of the test's own binary.
func (c *caddy) playingCaddy(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.binary = self
	c.env = append(c.env, playCaddy+"=1", gravesDir+"="+t.TempDir())
}

func init() { caddyserver.RegisterModule(new(crashing)) }

// crashing is the default store, but that its process is killed right before
// or right after a commit, where the order's code says so: once an order, which
// a file in the folder of graves remembers over restarts.
type crashing struct{ badger.Store }

func (*crashing) CaddyModule() caddyserver.ModuleInfo {
	return caddyserver.ModuleInfo{ID: "qlink.stores.crashing", New: func() caddyserver.Module { return new(crashing) }}
}

func (s *crashing) Provision(ctx caddyserver.Context) error {
	if os.Getenv(gravesDir) == "" {
		return errors.New(gravesDir + " is not set")
	}
	return s.Store.Provision(ctx)
}

func (s *crashing) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return s.Store.UnmarshalCaddyfile(d)
}

func (s *crashing) Open(ctx context.Context, env bill.Env) (bill.Store, error) {
	opened, err := s.Store.Open(ctx, env)
	return mortal{opened, os.Getenv(gravesDir)}, err
}

// mortal is an open store that crashes.
type mortal struct {
	bill.Store

	graves string
}

func (m mortal) Broken() error { return bill.Broken(m.Store) }

func (m mortal) Commit(ctx context.Context, c bill.Change) error {
	m.pass("before", c)
	err := m.Store.Commit(ctx, c)
	if err == nil {
		m.pass("after", c)
	}
	return err
}

// pass dies where one of the change's orders is to crash here.
func (m mortal) pass(when string, c bill.Change) {
	for _, b := range c.Bills {
		m.dieOnce(point{when, commitOf(string(b.Bill.Status))}, b.Bill.OrderCode)
	}
	for _, n := range c.Notifications {
		m.dieOnce(point{when, commitOf(string(n.State))}, n.OrderCode)
	}
}

func commitOf(state string) string { return "commit-of-" + strings.ToLower(state) }

func (m mortal) dieOnce(p point, order string) {
	if !p.of(order) {
		return
	}
	grave, err := os.OpenFile(filepath.Join(m.graves, order), os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return // it has crashed here before
	}
	_ = grave.Close()
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// Interface guards
var (
	_ bill.Opener           = (*crashing)(nil)
	_ bill.Breakable        = mortal{}
	_ caddyfile.Unmarshaler = (*crashing)(nil)
)
