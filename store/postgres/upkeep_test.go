//go:build linux

package postgres

import (
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// A node's clock may be years behind the database's, which upkeep goes by.
func TestUpkeepKeepsAnAnswerThatWasJustWritten(t *testing.T) {
	dsn := postgrestest.Shared(t).Database()
	s := openNode(t, configured(t, dsn, "qlink"))
	then := noon.AddDate(-5, 0, 0)
	answer := bill.Idempotency{Key: "k", At: then, Request: "r", Bill: "a", ExpiresAt: then.Add(time.Hour)}
	kept := func(how string) {
		t.Helper()
		if err := s.tidy(t.Context()); err != nil {
			t.Fatalf("upkeep: %v", err)
		}
		if _, err := s.Idempotent(t.Context(), answer.Key, then); err != nil {
			t.Errorf("%s, and asked for after an upkeep: %v", how, err)
		}
	}
	commit(t, s, bill.Change{Idempotency: &answer})
	kept("remembered")
	answer.ExpiresAt = answer.ExpiresAt.Add(time.Hour)
	commit(t, s, bill.Change{Idempotency: &answer})
	kept("renewed")

	execute(t, dsn, `UPDATE qlink.idempotency SET expires_at = now() - interval '49 hours'`)
	if err := s.tidy(t.Context()); err != nil {
		t.Fatalf("upkeep: %v", err)
	}
	if n, err := column[int64](t.Context(), s.store, `SELECT count(*) FROM qlink.idempotency`); err != nil || n[0] != 0 {
		t.Errorf("after its time upkeep left %d answers, %v", n, err)
	}
}
