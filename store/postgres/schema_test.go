//go:build linux

package postgres

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

func TestNodesThatStartTogetherMakeOneSchema(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	var tasks sync.WaitGroup
	for range 5 {
		tasks.Go(func() {
			s, err := open(t.Context(), configured(t, dsn, "qlink"), bill.Env{})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := s.Counts(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	tasks.Wait()
	s := openNode(t, configured(t, dsn, "qlink"))
	applied, err := column[int64](t.Context(), s.store, `SELECT version_id FROM qlink.migrations WHERE version_id > 0`)
	if err != nil || len(applied) != int(newest) {
		t.Errorf("migrations %d, %v", applied, err)
	}
}

func TestAnOlderProgramGoesOnBesideANewerSchemaUnlessThatForbidsIt(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	s := openNode(t, configured(t, dsn, "qlink"))
	execute(t, dsn, `INSERT INTO qlink.migrations (version_id, is_applied) VALUES (9000, true)`)
	beside := openNode(t, configured(t, dsn, "qlink"))
	commit(t, beside, only(sample("a")))

	execute(t, dsn, `UPDATE qlink.state SET oldest = 9000`)
	if opened, err := open(t.Context(), configured(t, dsn, "qlink"), bill.Env{}); !errors.Is(err, ErrNewerSchema) {
		if err == nil {
			_ = opened.Close()
		}
		t.Errorf("open: %v", err)
	}
	for _, running := range []*node{s, beside} { // what they would write may be wrong by now
		eventually(t, "the running nodes notice", 5*time.Second, func() bool { return running.health.err() != nil })
		wantGone(t, running)
	}
}

// sqlOfThePage is what docs/postgres.md has an administrator say to the server:
// the rights of the owner, those of nodes, and what a restored database needs.
func sqlOfThePage(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		all = append(all, block[1])
	}
	if len(all) != 3 {
		t.Fatalf("the page has %q", all)
	}
	return all
}

// What docs/postgres.md has an administrator do, for a role that makes the tables
// and one that only writes them; with other names, since roles are the server's.
func TestARoleMayMakeTheTablesOrOnlyWriteThem(t *testing.T) {
	const password = "a password"
	owners := postgrestest.Shared(t).DatabaseWithPassword(password)
	config, err := pgconn.ParseConfig(owners)
	if err != nil {
		t.Fatal(err)
	}
	super := postgrestest.Shared(t).DSN() + " dbname=" + config.Database
	execute(t, super, fmt.Sprintf(`REVOKE CREATE ON DATABASE %s FROM %s`, config.Database, config.User))
	owner, node := config.Database+"_owner", config.Database+"_node"
	names := strings.NewReplacer("ROLE qlink_node", "ROLE "+node, "TO qlink_node", "TO "+node,
		"ROLE qlink ", "ROLE "+owner+" ", "AUTHORIZATION qlink", "AUTHORIZATION "+owner, "'…'", "'"+password+"'")
	statements := sqlOfThePage(t)
	execute(t, super, names.Replace(statements[0]))
	t.Cleanup(func() {
		for _, role := range []string{node, owner} {
			execute(t, super, `DROP OWNED BY `+role+` CASCADE`)
			execute(t, super, `DROP ROLE `+role)
		}
	})
	by := func(role string) string { return super + " user=" + role + " password='" + password + "'" }
	openNode(t, configured(t, by(owner), "qlink"))
	execute(t, super, names.Replace(statements[1]))

	s := openNode(t, configured(t, by(node), "qlink"))
	b := sample("a")
	commit(t, s, only(b))
	commit(t, s, only(moved(b)))
	if err := s.tidy(t.Context()); err != nil {
		t.Errorf("upkeep: %v", err)
	}
	if size, err := s.Size(); err != nil || size == 0 {
		t.Errorf("size %d, %v", size, err)
	}
}

func TestTwoSchemasOfOneDatabaseKnowNothingOfEachOther(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	shop, other := openNode(t, configured(t, dsn, "shop")), openNode(t, configured(t, dsn, "other"))
	versions, stop := other.Watch("a")
	defer stop()
	commit(t, shop, only(sample("a")))
	if _, err := other.Bill(t.Context(), "a"); !errors.Is(err, bill.ErrNotFound) {
		t.Errorf("the other schema's bill: %v", err)
	}
	commit(t, other, only(sample("b")))
	wantPoll(t, other)
	select {
	case version := <-versions:
		t.Errorf("told of version %d of another schema", version)
	default:
	}
}
