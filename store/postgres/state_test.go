//go:build linux

package postgres

import (
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// What docs/postgres.md has an operator do with a database that comes from a
// backup.
func TestCheckoutsOfARestoredDatabaseAreClosedUntilTheyAreReopened(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	here := openNode(t, configured(t, dsn, "qlink"))
	if since := here.CheckoutsClosed(); !since.IsZero() {
		t.Fatalf("closed since %v from the start", since)
	}
	execute(t, dsn, sqlOfThePage(t)[2])
	eventually(t, "a running node notices", 5*time.Second, func() bool { return !here.CheckoutsClosed().IsZero() })
	there := openNode(t, configured(t, dsn, "qlink"))
	if since := there.CheckoutsClosed(); time.Since(since).Abs() > time.Minute {
		t.Errorf("a node that starts takes them for closed since %v", since)
	}
	commit(t, there, only(sample("a"))) // webhooks go on: the engine heeds it
	if err := there.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*node{there, here} {
		eventually(t, "both nodes hear of it", 5*time.Second, func() bool { return s.CheckoutsClosed().IsZero() })
	}
	if err := there.Reopen(t.Context()); err != nil {
		t.Errorf("reopened once more: %v", err)
	}
	if since := openNode(t, configured(t, dsn, "qlink")).CheckoutsClosed(); !since.IsZero() {
		t.Errorf("the next node takes them for closed since %v", since)
	}
}
