//go:build linux

package integration

import (
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// From one machine's folder to where several Caddys share, and back: the last
// one beside a Caddy that nobody has stopped.
func TestAStoreIsCarriedIntoPostgreSQLAndBack(t *testing.T) {
	c := newCutOver(t)
	c.env = append(c.env, "QLINK_DSN="+postgrestest.Start(t).DSN())
	old, back := c.files("old", "back")
	shared, config := filepath.Join(c.home, "Caddyfile.shared"), c.caddy.config
	inPostgres := strings.Replace(worldConfig, "\tqlink {\n", "\tqlink {\n\t\tstore postgres {\n\t\t\tdsn {env.QLINK_DSN}\n\t\t}\n", 1)

	c.start()
	paid := c.orders("PAID")
	c.pays(paid)
	c.await("the payment", func() bool { return c.status(paid) == "SUCCESS" })
	open := c.orders("OPEN")
	c.stop(syscall.SIGTERM)

	for _, c.caddy.config = range []string{shared, config} {
		c.write(inPostgres, c.values)
	}
	c.migrates(0, "Would carry 2 bills", "--from", old, "--to", shared, "--dry-run")
	c.migrates(0, "2 bills, 2 orders", "--from", old, "--to", shared)
	c.start()
	if again := c.orders("PAID"); again != paid || c.status(open) != "WAIT" {
		t.Errorf("in PostgreSQL order PAID has bill %s, and OPEN is %s", again, c.status(open))
	}
	third := c.orders("THIRD")
	c.migrates(0, "3 bills, 3 orders", "--from", shared, "--to", back)
	a, err := c.do(c.request("POST", "/checkout", ""))
	if err != nil || a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("a checkout at the Caddy that goes on over PostgreSQL: %v, %v", a, err)
	}
	c.pays(third)
	c.stop(syscall.SIGTERM)
	c.names("back")
	c.start()
	c.await("what was paid meanwhile", func() bool { return c.status(third) == "SUCCESS" })
	if c.status(paid) != "SUCCESS" || c.status(open) != "WAIT" {
		t.Errorf("back again PAID is %s, and OPEN %s", c.status(paid), c.status(open))
	}
	c.stop(syscall.SIGTERM)
	c.write(inPostgres, c.values)
	if out, err := c.run("run", "--config", config, "--adapter", "caddyfile"); err == nil || !strings.Contains(out, c.folder("back")) {
		t.Errorf("a Caddy on the database that was left: %v\n%s", err, out)
	}
}

// orders hands an order over and returns its bill.
func (c *cutOver) orders(code string) string {
	c.t.Helper()
	c.shop.lay(`{"orderCode":"` + code + `","amount":"15000"}`)
	return decode[billJSON](c.t, c.must("POST", "/checkout", "").body).ID
}
