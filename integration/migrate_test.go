package integration

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	caddyserver "github.com/caddyserver/caddy/v2"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

// meanwhile is what a site answers while its bills are carried over.
const meanwhile = `	header /qlink/* Retry-After 30
	respond /qlink/* 503
	reverse_proxy {{shop}}`

// cutOver is a world whose Caddyfile names a store in {{home}}/{{folder}}, or,
// as long as it has no module, none.
type cutOver struct {
	*world
}

func newCutOver(t *testing.T) *cutOver {
	w := prepareWorld(t, plainSite, "")
	c := &cutOver{w}
	c.names("old")
	return c
}

// config is the Caddyfile that names a folder.
func (c *cutOver) config(folder string) string {
	return strings.Replace(worldConfig, "\tqlink {\n", "\tqlink {\n\t\tstore badger {\n\t\t\tpath {{home}}/"+folder+"\n\t\t}\n", 1)
}

func (c *cutOver) names(folder string) { c.write(c.config(folder), c.values) }

// steps aside: the site goes on without the module.
func (c *cutOver) stepsAside() {
	begin, end := strings.Index(worldConfig, "\tqlink {\n"), strings.Index(worldConfig, "}\n\nhttp://")
	values := map[string]string{"site": strings.ReplaceAll(meanwhile, "{{shop}}", c.shop.address)}
	for name, value := range c.values {
		if name != "site" {
			values[name] = value
		}
	}
	c.write(worldConfig[:begin]+worldConfig[end:], values)
}

// files writes the configurations that a migration is between, and returns
// their paths.
func (c *cutOver) files(from, to string) (string, string) {
	c.t.Helper()
	config, paths := c.caddy.config, [2]string{}
	for i, folder := range []string{from, to} {
		paths[i] = filepath.Join(c.home, "Caddyfile."+folder)
		c.caddy.config = paths[i]
		c.names(folder)
	}
	c.caddy.config = config
	return paths[0], paths[1]
}

func (c *cutOver) folder(name string) string { return filepath.Join(c.home, name) }

// migrates runs the command, which has to end with a code and these words.
func (c *cutOver) migrates(code int, words string, args ...string) {
	c.t.Helper()
	out, err := c.run(append([]string{"qlink", "migrate-store"}, args...)...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		c.t.Fatal(err)
	}
	if got != code || !strings.Contains(out, words) {
		c.t.Fatalf("migrate-store %s: exit code %d, want %d and %q:\n%s", strings.Join(args, " "), got, code, words, out)
	}
}

// refuses has a Caddy that is to start on a folder say these words instead.
func (c *cutOver) refuses(folder string, words ...string) {
	c.t.Helper()
	c.names(folder)
	out, err := c.run("run", "--config", c.caddy.config, "--adapter", "caddyfile")
	for _, w := range words {
		if err == nil || !strings.Contains(out, w) {
			c.t.Errorf("a Caddy on the folder %s: %v, want %q:\n%s", folder, err, w, out)
		}
	}
}

// part returns the part that the store in a folder has in a migration.
func (c *cutOver) part(folder string) bill.Migration {
	c.t.Helper()
	ctx := context.Background()
	module := &badger.Store{Path: c.folder(folder)}
	if err := module.Provision(caddyserver.Context{Context: ctx}); err != nil {
		c.t.Fatal(err)
	}
	store, err := module.OpenToMove(ctx, bill.Env{}, false)
	if errors.Is(err, bill.ErrNotFound) {
		return bill.Migration{}
	}
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := store.Migration(ctx)
	if err = errors.Join(err, store.Close()); err != nil {
		c.t.Fatal(err)
	}
	return m
}

// fill puts so many numbered bills into a folder.
func (c *cutOver) fill(folder string, bills int) {
	c.t.Helper()
	store, err := openStore(c.folder(folder))
	if err == nil {
		err = errors.Join(commitNumbered(store, upTo(bills), numberedBill), store.Close())
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// The whole way, as docs/migrate-store.md has it, with Caddy going on: what is
// paid meanwhile is known afterwards.
func TestAStoreIsCarriedIntoAnotherOneAndNoPaymentIsLost(t *testing.T) {
	c := newCutOver(t)
	c.start()
	c.shop.lay(`{"orderCode":"PAID","amount":"15000"}`)
	paid := decode[billJSON](t, c.must("POST", "/checkout", "").body)
	c.pays(paid.ID)
	c.await("the payment", func() bool { return c.status(paid.ID) == "SUCCESS" })
	c.shop.lay(`{"orderCode":"OPEN","amount":"15000"}`)
	open := decode[billJSON](t, c.must("POST", "/checkout", "").body)

	from, to := c.files("old", "new")
	c.migrates(1, "another process uses it", "--from", from, "--to", to)
	c.stepsAside()
	c.mustReload()
	a := c.insist(func() *http.Request { return c.request("POST", "/qlink/payNotification", "{}") })
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Fatalf("a webhook meanwhile: %v", a)
	}
	c.pays(open.ID)
	c.migrates(0, "Would carry 2 bills", "--from", from, "--to", to, "--dry-run")
	if _, err := os.Stat(c.folder("new")); err == nil {
		t.Error("a dry run has made the folder")
	}
	c.migrates(0, "2 bills, 2 orders", "--from", from, "--to", to)
	c.migrates(1, "was left already", "--from", from, "--to", to)

	c.names("old")
	if err := c.reloads(); err == nil || !strings.Contains(err.Error(), c.folder("new")) {
		t.Errorf("Caddy has gone back to the old store: %v", err)
	}
	c.names("new")
	c.mustReload()
	c.await("the payment made meanwhile", func() bool { return c.status(open.ID) == "SUCCESS" })
	c.shop.lay(`{"orderCode":"PAID","amount":"15000"}`)
	if again := decode[billJSON](t, c.must("POST", "/checkout", "").body); again.ID != paid.ID || again.Status != "SUCCESS" {
		t.Errorf("the paid order came to %+v", again)
	}
	out, err := c.run("qlink", "show", "PAID", "--store", c.folder("old"))
	if err != nil || !strings.Contains(out, "SUCCESS") || !strings.Contains(out, "Beware") {
		t.Errorf("show --store of the one that was left: %v\n%s", err, out)
	}
	if out, err := c.run("qlink", "check", c.folder("old")); err != nil {
		t.Errorf("check of the one that was left: %v\n%s", err, out)
	}
}

// reloads loads the Caddyfile. What is posted next must not meet a connection
// of before, which the old configuration is just closing.
func (c *cutOver) reloads() error {
	defer c.client.CloseIdleConnections()
	return c.reload()
}

func (c *cutOver) mustReload() {
	c.t.Helper()
	if err := c.reloads(); err != nil {
		c.t.Fatal(err)
	}
}

// pays has the gateway take the money for a bill.
func (c *cutOver) pays(id string) {
	c.t.Helper()
	a := c.insist(func() *http.Request {
		return c.request("POST", "http://"+c.gateway+"/sandbox/control/payments/"+id+"/pay", "{}", "Content-Type", "application/json")
	})
	if a.StatusCode >= 300 {
		c.t.Fatalf("pay: %v", a)
	}
}

func (c *cutOver) status(id string) string {
	return decode[billJSON](c.t, c.insist(func() *http.Request { return c.request("GET", "/qlink/bills/"+id, "") }).body).Status
}

func TestAMigrationThatIsKilledIsGoneOnWith(t *testing.T) {
	const bills = 600
	c := newCutOver(t)
	c.fill("old", bills)
	from, to := c.files("old", "new")
	inTheMiddle := 0
	for kills := 0; ; kills++ {
		enough := c.taken("new") + 12<<20
		killed := c.killed(func() bool { return kills < 3 && c.taken("new") > enough }, "qlink", "migrate-store", "--from", from, "--to", to)
		if !killed || c.part("old").Role == bill.RoleLeft { // or killed once all was done
			break
		}
		if m := c.part("new"); m.HasBegun() && !m.All {
			inTheMiddle++
			c.refuses("new", "migrate-store", c.folder("old"))
			c.refuses("old", "migrate-store", c.folder("new"))
		}
	}
	if inTheMiddle == 0 {
		t.Error("it was never killed in the middle")
	}
	c.refuses("old", "orders may have been paid there since", c.folder("new"))

	c.names("new")
	c.start()
	if out, err := c.run("qlink", "stats", "--address", c.admin); err != nil || !strings.Contains(out, "600") {
		t.Errorf("stats: %v\n%s", err, out)
	}
	if out, err := c.run("qlink", "show", "O-17", "--address", c.admin); err != nil || !strings.Contains(out, "bill-000017") {
		t.Errorf("show: %v\n%s", err, out)
	}
	out, err := c.run("qlink", "bills", "--limit", "1000", "--json", "--address", c.admin)
	if err != nil || strings.Count(out, "\n") != bills {
		t.Errorf("bills: %d lines, %v", strings.Count(out, "\n"), err)
	}
	c.stop(syscall.SIGTERM)
	if out, err := c.run("qlink", "check", c.folder("new")); err != nil {
		t.Errorf("check: %v\n%s", err, out)
	}
}

// taken returns how many bytes of the disk a folder takes.
func (c *cutOver) taken(folder string) (bytes int64) {
	c.t.Helper()
	entries, err := os.ReadDir(c.folder(folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.t.Fatal(err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil { // or it is gone
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
	}
	return bytes
}

// killed runs a command and kills it when it is time; false where it has ended
// well before.
func (c *cutOver) killed(isTime func() bool, args ...string) bool {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.binary, args...)
	said := new(processtest.Log)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, said, said
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok && !exit.Exited() {
				return true
			}
			if err != nil {
				c.t.Fatalf("%v: %v\n%s", args, err, said)
			}
			return false
		case <-time.After(time.Millisecond):
			if isTime() {
				_ = cmd.Process.Kill() // it may have ended, too
			}
		}
	}
}

func TestAMigrationIsGivenUpAndAStoreTakenBack(t *testing.T) {
	c := newCutOver(t)
	c.fill("old", 600)
	from, to := c.files("old", "new")
	c.migrates(1, "not there", "--from", from, "--to", to, "--give-up")
	if !c.killed(func() bool { return c.taken("new") > 8<<20 }, "qlink", "migrate-store", "--from", from, "--to", to) || c.part("new").Role != bill.RoleTarget {
		t.Fatal("it was done before it was killed")
	}
	c.migrates(0, "Would delete", "--from", from, "--to", to, "--give-up", "--dry-run")
	c.migrates(0, "serves again", "--from", from, "--to", to, "--give-up")
	if left, err := os.ReadDir(c.folder("new")); err != nil || len(left) > 0 {
		t.Errorf("left of the new one: %v, %v", left, err)
	}
	if m := c.part("old"); m != (bill.Migration{}) {
		t.Errorf("the old one: %+v", m)
	}

	c.migrates(0, `"checksum":"`, "--from", from, "--to", to, "--json")
	c.migrates(1, "--force", "--from", from, "--take-back")
	c.migrates(0, "its checkouts closed", "--from", from, "--take-back", "--force")
	c.migrates(1, "caddy qlink reopen", "--from", from, "--to", to)
	c.names("old")
	c.start()
	c.shop.lay(`{"orderCode":"NEW","amount":"15000"}`)
	if a, err := c.do(c.request("POST", "/checkout", "")); err != nil || a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a checkout on a store that was taken back: %v, %v", a, err)
	}
}

func TestADamagedStoreIsNotCarriedOver(t *testing.T) {
	c := newCutOver(t)
	c.fill("old", 300)
	from, to := c.files("old", "new")
	tables, err := filepath.Glob(filepath.Join(c.folder("old"), "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	content, err := os.ReadFile(tables[0])
	if err == nil {
		content[len(content)/2] ^= 1
		err = os.WriteFile(tables[0], content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.migrates(1, "damaged", "--from", from, "--to", to)
	if _, err := os.Stat(c.folder("new")); err == nil {
		t.Error("a new store was made")
	}
	c.migrates(1, "there is no store", "--from", to, "--to", from)
	c.migrates(1, "name the same store", "--from", from, "--to", from)
	c.migrates(2, "--to is missing", "--from", from)
	c.migrates(1, "no such file", "--from", from, "--to", c.folder("none"))
}
