//go:build linux

package postgres

import (
	"errors"
	"sync"
	"testing"
	"time"

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
	select {
	case version := <-versions:
		t.Errorf("told of version %d of another schema", version)
	case <-time.After(2 * pollEvery):
	}
}
