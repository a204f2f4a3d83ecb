//go:build linux

package postgrestest

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// acknowledge inserts numbers from 1 on, each in a transaction of its own,
// until the server fails, and then sends the last one that it has acknowledged.
func acknowledge(t *testing.T, dsn string, enough chan<- struct{}) <-chan int {
	t.Helper()
	conn := connect(t, dsn)
	last := make(chan int, 1)
	go func() {
		for n := 1; ; n++ {
			if _, err := conn.Exec(t.Context(), "INSERT INTO kept VALUES ("+strconv.Itoa(n)+")").ReadAll(); err != nil {
				last <- n - 1
				return
			}
			if n == 100 {
				close(enough)
			}
		}
	}()
	return last
}

func TestAPromotedStandbyHasAllThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	primary := Start(t)
	query(t, primary.DSN(), "CREATE TABLE kept (n int PRIMARY KEY)")
	standby := primary.Standby("hot_standby_feedback = on")
	either := Failover(standby, primary)
	if got := query(t, standby.DSN(), "SELECT pg_is_in_recovery() || ' ' || current_setting('hot_standby_feedback')"); got != "true on" {
		t.Errorf("the standby is %s", got)
	}
	enough := make(chan struct{})
	last := acknowledge(t, either, enough)
	<-enough
	primary.Kill()
	acknowledged := <-last
	standby.Promote()
	if got := query(t, either, "SELECT count(*) FROM kept WHERE n <= "+strconv.Itoa(acknowledged)); got != strconv.Itoa(acknowledged) {
		t.Errorf("%s of %d acknowledged rows are there", got, acknowledged)
	}
	query(t, either, "INSERT INTO kept VALUES (0)") // and it takes new ones, alone
}

func TestACommitWaitsForTheStandby(t *testing.T) {
	t.Parallel()
	primary := Start(t)
	standby := primary.Standby()
	query(t, primary.DSN(), "CREATE TABLE kept (n int)")
	standby.CatchUp()
	if got := query(t, standby.DSN(), "SELECT to_regclass('kept') IS NULL"); got != "f" {
		t.Error("the standby has caught up and lacks the table")
	}
	standby.Freeze()
	wantHung(t, primary.DSN(), "INSERT INTO kept VALUES (1)")
	primary.Set("synchronous_standby_names", "")
	query(t, primary.DSN(), "INSERT INTO kept VALUES (2)")
	standby.Thaw()
	standby.CatchUp()
	if got := query(t, standby.DSN(), "SELECT count(*) FROM kept"); got == "0" {
		t.Error("the standby has gone on and lacks the row")
	}
	if _, err := pgconn.Connect(t.Context(), standby.DSN()+" target_session_attrs=read-write"); err == nil {
		t.Error("the standby takes writes")
	}
	// Promoted, it waits for nobody, as its primary's settings might have it do.
	standby.Set("synchronous_standby_names", "nobody")
	standby.Promote()
	query(t, standby.DSN(), "INSERT INTO kept VALUES (3)")
}
