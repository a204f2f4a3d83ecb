//go:build linux

package postgres

import (
	"errors"
	"fmt"
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

// What docs/postgres.md says of the rights that roles need.
func TestARoleMayMakeTheTablesOrOnlyWriteThem(t *testing.T) {
	const password = "a password"
	owners := postgrestest.Shared(t).DatabaseWithPassword(password) + " password='" + password + "'"
	config, err := pgconn.ParseConfig(owners)
	if err != nil {
		t.Fatal(err)
	}
	owner, database := config.User, config.Database
	execute(t, owners, `CREATE SCHEMA qlink`)
	execute(t, owners, fmt.Sprintf(`REVOKE CREATE ON DATABASE %s FROM %s`, database, owner))
	execute(t, owners, `REVOKE ALL ON SCHEMA qlink FROM public`)
	openNode(t, configured(t, owners, "qlink"))

	app := owner + "_app"
	super := postgrestest.Shared(t).DSN() + " dbname=" + database
	execute(t, super, `CREATE ROLE `+app+` LOGIN`)
	t.Cleanup(func() {
		execute(t, super, `DROP OWNED BY `+app)
		execute(t, super, `DROP ROLE `+app)
	})
	execute(t, owners, `GRANT USAGE ON SCHEMA qlink TO `+app)
	execute(t, owners, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA qlink TO `+app)
	execute(t, owners, `ALTER DEFAULT PRIVILEGES IN SCHEMA qlink GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO `+app)
	s := openNode(t, configured(t, super+" user="+app, "qlink"))
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
