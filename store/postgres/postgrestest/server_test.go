//go:build linux

package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

func TestTwoServersAreApartAndAsTheirSettingsSay(t *testing.T) {
	t.Parallel()
	one, other := Start(t, "synchronous_commit = off"), Start(t)
	for s, want := range map[*Server]string{one: "off", other: "on"} {
		if got := query(t, s.DSN(), "SHOW synchronous_commit"); got != want {
			t.Errorf("synchronous_commit is %s, want %s", got, want)
		}
		if got := query(t, s.DSN(), "SHOW fsync"); got != "on" {
			t.Errorf("fsync is %s", got)
		}
		if got := query(t, s.DSN(), "SHOW listen_addresses"); got != "" {
			t.Errorf("it listens on %s", got)
		}
	}
	query(t, one.DSN(), "CREATE TABLE apart ()")
	if got := query(t, other.DSN(), "SELECT to_regclass('apart') IS NULL"); got != "t" {
		t.Error("the other server has the table")
	}
	one.Set("synchronous_commit", "local")
	if got := query(t, one.DSN(), "SHOW synchronous_commit"); got != "local" {
		t.Errorf("synchronous_commit is %s after Set", got)
	}
}

func TestWhatWasCommittedOutlivesAKillAndARestart(t *testing.T) {
	t.Parallel()
	s := Start(t)
	query(t, s.DSN(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")
	under := connect(t, s.DSN())
	if _, err := under.Exec(t.Context(), "BEGIN; INSERT INTO kept VALUES (100)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	killed, err := descendants(s.cluster.first.Pid)
	if err != nil {
		t.Fatal(err)
	}
	s.Kill()
	for _, one := range killed {
		if !one.gone() {
			t.Errorf("process %d outlived the kill", one.pid)
		}
	}
	if _, err := pgconn.Connect(t.Context(), s.DSN()); err == nil {
		t.Fatal("a killed server took a connection")
	}
	s.StartAgain()
	if got := query(t, s.DSN(), "SELECT sum(n) FROM kept"); got != "1" {
		t.Errorf("after the kill the sum is %s, want 1", got)
	}
	if !strings.Contains(s.Log(), "was not properly shut down") {
		t.Error("the kill was no kill")
	}
	query(t, s.DSN(), "INSERT INTO kept VALUES (2)")
	s.Restart()
	if got := query(t, s.DSN(), "SELECT sum(n) FROM kept"); got != "3" {
		t.Errorf("after the restart the sum is %s, want 3", got)
	}
}

func TestNothingIsLeftOfAKilledServer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.Kill()
	var key, id int
	lock, err := os.ReadFile(s.cluster.data() + "/postmaster.pid")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(strings.Split(string(lock), "\n")[6], &key, &id); err != nil {
		t.Fatal(err)
	}
	var segment unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &segment); err != nil {
		t.Fatalf("the segment of a killed server: %v", err)
	}
	if err := s.cluster.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.cluster.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &segment); err == nil {
		t.Error("its segment of shared memory is left")
	}
}

func TestAFrozenServerHangsAndGoesOn(t *testing.T) {
	t.Parallel()
	s := Start(t)
	before := connect(t, s.DSN())
	s.Freeze()
	wantHung(t, s.DSN(), "SELECT 1")
	answered := inBackground(t, before, "SELECT 1")
	select {
	case err := <-answered:
		t.Fatalf("a frozen server answered: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	s.Thaw()
	if err := <-answered; err != nil {
		t.Errorf("the connection that waited: %v", err)
	}
	query(t, s.DSN(), "SELECT 1")
	s.Freeze() // it ends with the test nevertheless
}

func TestADatabaseIsItsTestsOwnAndGoesWithIt(t *testing.T) {
	outer := t
	s := Shared(t)
	var names []string
	t.Run("use", func(t *testing.T) {
		s := Shared(t)
		for _, dsn := range []string{s.Database(), s.Database("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")} {
			names = append(names, query(t, dsn, "SELECT current_database()"))
			query(t, dsn, "CREATE TABLE mine ()")
			connect(outer, dsn) // and stays
			order := query(t, dsn, "SELECT string_agg(x, '' ORDER BY x) FROM (VALUES ('a'), ('B')) AS v (x)")
			if want := map[int]string{1: "Ba", 2: "aB"}[len(names)]; order != want {
				t.Errorf("%s orders %s, want %s", dsn, order, want)
			}
		}
	})
	for _, name := range names {
		if got := query(t, s.DSN(), "SELECT count(*) FROM pg_database WHERE datname = "+quote(name)); got != "0" {
			t.Errorf("database %s is still there", name)
		}
	}
}

func TestARoleWithAPasswordHasToProveIt(t *testing.T) {
	const password = "it's a s3cr3t"
	var roles string
	t.Run("use", func(t *testing.T) {
		dsn := Shared(t).DatabaseWithPassword(password)
		if strings.Contains(dsn, "s3cr3t") {
			t.Errorf("the DSN shows the password: %s", dsn)
		}
		for wrong, given := range map[string]string{"none": "", "another": " password=other"} {
			if _, err := pgconn.Connect(t.Context(), dsn+given); err == nil {
				t.Errorf("with %s password: connected", wrong)
			}
		}
		known := dsn + ` password='it\'s a s3cr3t'`
		query(t, known, "CREATE SCHEMA mine")
		if got := query(t, known, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"); got != "f" {
			t.Error("the role is a superuser")
		}
		roles = query(t, known, "SELECT current_user")
	})
	if got := query(t, Shared(t).DSN(), "SELECT count(*) FROM pg_roles WHERE rolname = "+quote(roles)); got != "0" {
		t.Errorf("role %s is still there", roles)
	}
}
