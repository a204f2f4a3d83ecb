package caddyqlink

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
)

func init() {
	caddy.RegisterModule(new(probeOpener))
	caddy.RegisterModule(failingApp{})
}

// probe is a store as a test wants it.
type probe struct {
	bill.Store

	openBills atomic.Int64
	opened    atomic.Int64  // times
	committed atomic.Int64  // changes
	watched   chan struct{} // one for each WatchAll

	mu  sync.Mutex
	err error // of Open
}

var probes sync.Map // of *probe, by name

// newProbe makes the store `probe <name of the test>`.
func newProbe(t *testing.T) *probe {
	p := &probe{Store: memory.New(), watched: make(chan struct{}, 100)}
	name := probeName(t)
	probes.Store(name, p)
	t.Cleanup(func() { probes.Delete(name) })
	return p
}

func probeName(t *testing.T) string { return strings.NewReplacer("/", "-", " ", "_").Replace(t.Name()) }

func (p *probe) breakDown(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *probe) OpenBills(context.Context) (int, error) { return int(p.openBills.Load()), nil }

func (p *probe) Commit(ctx context.Context, c bill.Change) error {
	p.committed.Add(1)
	return p.Store.Commit(ctx, c)
}

func (p *probe) WatchAll() bill.Feed {
	defer func() { p.watched <- struct{}{} }()
	return p.Store.WatchAll()
}

// Close keeps the memory, as a disk would.
func (p *probe) Close() error { return nil }

func (p *probe) opener(t *testing.T) *probeOpener { return &probeOpener{Name: probeName(t)} }

// probeOpener is the guest module for it.
type probeOpener struct {
	Name string `json:"name"`
}

func (*probeOpener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "qlink.stores.probe", New: func() caddy.Module { return new(probeOpener) }}
}

func (o *probeOpener) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&o.Name) {
		return d.ArgErr()
	}
	return nil
}

func (o *probeOpener) Key() (string, error) { return "probe:" + o.Name, nil }

func (o *probeOpener) Open(context.Context, bill.Env) (bill.Store, error) {
	found, ok := probes.Load(o.Name)
	if !ok {
		return nil, errors.New("no probe of that name")
	}
	p := found.(*probe)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.opened.Add(1)
	}
	return p, p.err
}

// failingApp is another app whose Start fails.
type failingApp struct{}

func (failingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "zz_failing", New: func() caddy.Module { return new(failingApp) }}
}

func (failingApp) Start() error { return errors.New("this app never starts") }
func (failingApp) Stop() error  { return nil }

// account is the smallest block that loads. Nothing listens at its endpoint.
const account = `account {
			endpoint http://127.0.0.1:9/pay
			app_key key
			app_secret secret
			pay_account acc
			currency IDR
			country ID
			pay_type ONLINE
			pay_channel QRIS
		}`

// caddyfileOf returns a configuration whose only site has these directives.
func caddyfileOf(app, site string) string {
	return `{
	admin off
	persist_config off
	default_bind 127.0.0.1
	auto_https off
	qlink {
		` + app + `
	}
}
http://:0 {
	` + site + `
}`
}

// load runs a configuration in this process, until the test ends.
func load(t testing.TB, text string) error {
	t.Helper()
	config, err := adapt(t, text)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return caddy.Load(config, true)
}

// run loads what must load, and returns the site's URL.
func run(t testing.TB, text string) string {
	t.Helper()
	if err := load(t, text); err != nil {
		t.Fatal(err)
	}
	return siteURL(t)
}

func siteURL(t testing.TB) string {
	t.Helper()
	return "http://" + httpApp(t).Servers["srv0"].Listeners()[0].Addr().String()
}

func httpApp(t testing.TB) *caddyhttp.App {
	t.Helper()
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*caddyhttp.App)
}

// answer is a response that has been read.
type answer struct {
	status int
	kind   string
	body   string
	err    error
}

func ask(t *testing.T, method, url string) answer {
	t.Helper()
	a := request(t.Context(), method, url)
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a
}

func get(ctx context.Context, url string) answer { return request(ctx, http.MethodGet, url) }

func request(ctx context.Context, method, url string) answer {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return answer{err: err}
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header.Get("Content-Type"), string(body), err}
}

// ours tells whether it was one of our endpoints that answered.
func (a answer) ours() bool { return a.kind == "application/problem+json" }
