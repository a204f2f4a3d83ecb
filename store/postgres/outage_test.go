//go:build linux

package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// outage is a way for a database to be gone.
type outage struct {
	name   string
	begin  func(*postgrestest.Server, *postgrestest.Proxy)
	end    func(*postgrestest.Server, *postgrestest.Proxy)
	notice time.Duration // within which it is noticed
}

var outages = []outage{
	{"stopped", func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.Stop() }, func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.StartAgain() }, time.Second},
	{"killed", func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.Kill() }, func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.StartAgain() }, time.Second},
	{"frozen", func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.Freeze() }, func(s *postgrestest.Server, _ *postgrestest.Proxy) { s.Thaw() }, pollEvery + pollTime + time.Second},
	{"cut off", func(_ *postgrestest.Server, p *postgrestest.Proxy) { p.Cut() }, func(_ *postgrestest.Server, p *postgrestest.Proxy) { p.Resume() }, time.Second},
	{"silent", func(_ *postgrestest.Server, p *postgrestest.Proxy) { p.Pause() }, func(_ *postgrestest.Server, p *postgrestest.Proxy) { p.Resume() }, pollEvery + pollTime + time.Second},
}

func TestWhileTheDatabaseIsGoneCallsAreRefusedAtOnceAndWatchesEnd(t *testing.T) {
	t.Parallel()
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			server := postgrestest.Start(t)
			proxy := server.Proxy()
			s := openNode(t, configured(t, proxy.DSN(), "qlink"))
			b := sample("a")
			commit(t, s, only(b))
			versions, stop := s.Watch(b.ID)
			defer stop()
			feed := s.WatchAll()
			defer feed.Stop()

			o.begin(server, proxy)
			begun := time.Now()
			err := s.Commit(t.Context(), only(moved(b))) // under way while nobody knows yet
			if took := time.Since(begun); took > o.notice {
				t.Errorf("the first call took %s", took)
			}
			if !errors.Is(err, bill.ErrUnavailable) {
				t.Errorf("Commit: %v", err)
			}
			eventually(t, "the store notices", o.notice, func() bool { return s.health.err() != nil })
			wantGone(t, s)
			if version, open := <-versions; open {
				t.Errorf("version %d", version)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if ids, err := feed.Next(ctx); !errors.Is(err, bill.ErrUnavailable) {
				t.Errorf("Next: %q, %v", ids, err)
			}

			o.end(server, proxy)
			wantBack(t, s, b)
			later, stop := s.Watch("after")
			defer stop()
			commit(t, s, only(sample("after")))
			wantVersion(t, later, 1)
		})
	}
}

func TestACallUnderWayEndsWithTheDatabase(t *testing.T) {
	s := openNode(t, configured(t, postgrestest.Shared(t).Database(), "qlink"))
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.call(t.Context(), func(ctx context.Context, _ *pgxpool.Conn) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	<-begun
	s.health.down(errors.New("it is gone"))
	select {
	case err := <-ended:
		if !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("the call: %v", err)
		}
	case <-time.After(callTime / 2):
		t.Error("the call goes on")
	}
}

func TestAStoreMayBeOpenedWhileTheDatabaseIsGone(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	server.Stop()
	begun := time.Now()
	s := openNode(t, configured(t, server.DSN(), "qlink"))
	if took := time.Since(begun); took > 2*connectTime {
		t.Errorf("opening took %s", took)
	}
	wantGone(t, s)
	if s.logs.FilterMessageSnippet("cannot be reached").Len() != 1 {
		t.Errorf("logged: %v", s.logs.All())
	}
	server.StartAgain()
	eventually(t, "the store is up", 20*time.Second, func() bool { return s.health.err() == nil })
	commit(t, s, only(sample("a")))
}

func TestCloseDoesNotWaitForADatabaseThatHangs(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	s := openNode(t, configured(t, server.DSN(), "qlink"))
	commit(t, s, only(sample("a")))
	var call sync.WaitGroup
	call.Go(func() {
		_ = s.call(t.Context(), func(ctx context.Context, conn *pgxpool.Conn) error {
			_, err := conn.Exec(ctx, `SELECT pg_sleep(60)`)
			return err
		})
	})
	eventually(t, "a query is under way", patience, func() bool { return s.pool.Load().Stat().AcquiredConns() > 0 })
	server.Freeze()
	defer server.Thaw()
	begun := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > callTime+closeTime+2*time.Second {
		t.Errorf("closing took %s", took)
	}
	call.Wait()
}

// A standby reads and does not write: a store is down with it until it is
// promoted.
func TestAStandbyIsNoDatabaseUntilItIsPromoted(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	standby := primary.Standby()
	s := openNode(t, configured(t, postgrestest.Failover(primary, standby), "qlink"))
	b := sample("a")
	commit(t, s, only(b))
	alone := openNode(t, configured(t, standby.DSN(), "qlink"))
	wantGone(t, alone)
	primary.Kill()
	eventually(t, "the store notices", 5*time.Second, func() bool { return s.health.err() != nil })
	eventually(t, "it has tried the standby", patience, func() bool { return strings.Contains(s.health.err().Error(), "read only") })
	wantGone(t, s)
	wantGone(t, alone)
	standby.Promote()
	wantBack(t, s, b)
	wantBack(t, alone, b)
}

// Who is cut off in the middle of a transaction holds what it has locked: not
// for long.
func TestWhoIsCutOffInATransactionHoldsUpNobody(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	s := openNode(t, configured(t, server.DSN(), "qlink"))
	b := sample("a")
	commit(t, s, only(b))
	conn := openNode(t, configured(t, server.DSN(), "qlink"))
	held, err := conn.pool.Load().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	for _, statement := range []string{"BEGIN", begin, `UPDATE qlink.bills SET version = version WHERE id = 'a'`} {
		if _, err := held.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	if err := s.Commit(t.Context(), only(moved(b))); !errors.Is(err, bill.ErrUnavailable) {
		t.Fatalf("Commit beside an open transaction: %v", err)
	}
	eventually(t, "the transaction is ended", 10*time.Second, func() bool { return s.Commit(t.Context(), only(moved(b))) == nil })
	if took := time.Since(begun); took > 12*time.Second {
		t.Errorf("it was held up for %s", took)
	}
}

func TestAWrongPasswordIsRefusedWithoutShowingAny(t *testing.T) {
	const password = "correct-horse"
	dsn := postgrestest.Shared(t).DatabaseWithPassword(password)
	s := openNode(t, configured(t, dsn+" password="+password, "qlink"))
	commit(t, s, only(sample("a")))
	for name, wrong := range map[string]string{
		"password": dsn + " password=battery-staple",
		"database": strings.Replace(dsn, "dbname=", "dbname=no_such_", 1) + " password=" + password,
	} {
		opened, err := open(t.Context(), configured(t, wrong, "qlink"), bill.Env{})
		if err == nil {
			_ = opened.Close()
			t.Errorf("a wrong %s was taken", name)
			continue
		}
		if errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("%s: %v passes for an outage", name, err)
		}
		for _, secret := range []string{password, "battery-staple"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	wantSecretKept(t, s, password)
}

func TestANewPasswordIsTakenOverWithoutAnOutage(t *testing.T) {
	const before, after = "correct-horse", "battery-staple"
	server := postgrestest.Shared(t)
	dsn := server.DatabaseWithPassword(before)
	s := openNode(t, configured(t, dsn+" password="+before, "qlink"))
	commit(t, s, only(sample("a")))
	role := s.settings.Load().config.ConnConfig.User
	if err := s.adopt(t.Context(), configured(t, dsn+" password="+after, "qlink")); err == nil || strings.Contains(err.Error(), after) {
		t.Fatalf("a password that is not valid yet: %v", err)
	}
	execute(t, server.DSN(), "ALTER ROLE "+role+" PASSWORD '"+after+"'")
	if err := s.adopt(t.Context(), configured(t, dsn+" password="+after, "qlink")); err != nil {
		t.Fatal(err)
	}
	execute(t, server.DSN(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
	wantBack(t, s, sample("a"))
	wantSecretKept(t, s, after)
}

// An operator who sees commits hang behind a standby that is gone, and cancels
// one, has it end without the standby. It must not pass for durable.
func TestACommitThatGaveUpWaitingForTheStandbyIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	standby := primary.Standby()
	s := openNode(t, configured(t, primary.DSN(), "qlink"))
	commit(t, s, only(sample("a")))
	standby.Freeze()
	ended := make(chan error, 1)
	go func() { ended <- s.Commit(t.Context(), only(sample("b"))) }()
	conn, err := pgx.Connect(t.Context(), primary.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	eventually(t, "the commit is cancelled", callTime, func() bool {
		tag, err := conn.Exec(t.Context(), `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
		return err == nil && tag.RowsAffected() > 0
	})
	if err := <-ended; !errors.Is(err, bill.ErrUnavailable) || !errors.Is(err, errUncertain) {
		t.Errorf("Commit: %v", err)
	}
	standby.Thaw()
	commit(t, s, only(sample("c")))
}
