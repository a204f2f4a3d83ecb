//go:build linux

package postgrestest

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestAPausedProxySwallowsAndGoesOn(t *testing.T) {
	t.Parallel()
	p := Shared(t).Proxy()
	before := connect(t, p.DSN())
	p.Pause()
	wantHung(t, p.DSN(), "SELECT 1")
	answered := inBackground(t, before, "SELECT 1")
	select {
	case err := <-answered:
		t.Fatalf("a paused proxy let an answer through: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	p.Resume()
	if err := <-answered; err != nil {
		t.Errorf("the connection that waited: %v", err)
	}
	query(t, p.DSN(), "SELECT 1")
}

func TestACutProxyEndsConnectionsAndRefusesUntilItResumes(t *testing.T) {
	t.Parallel()
	s := Shared(t)
	p := s.Proxy()
	dsn := p.Through(s.Database())
	if !strings.Contains(dsn, p.dir) {
		t.Fatalf("not through the proxy: %s", dsn)
	}
	idle, paused := connect(t, dsn), connect(t, dsn)
	p.Pause()
	answered := inBackground(t, paused, "SELECT 1")
	p.Cut()
	if err := <-answered; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection that waited was not cut: %v", err)
	}
	if _, err := idle.Exec(t.Context(), "SELECT 1").ReadAll(); err == nil {
		t.Error("the idle connection was not cut")
	}
	if _, err := pgconn.Connect(t.Context(), dsn); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v", err)
	}
	// The server has seen it too: nobody is left on its database.
	name := strings.TrimPrefix(strings.Fields(dsn)[3], "dbname=")
	err := await("end the sessions", nil, func() (bool, error) {
		got, err := askAt(t.Context(), s.DSN(), "SELECT count(*) FROM pg_stat_activity WHERE datname = "+quote(name))
		return got == "0", err
	})
	if err != nil {
		t.Error(err)
	}
	p.Resume()
	if got := query(t, dsn, "SELECT current_database()"); got != name {
		t.Errorf("resumed, it is database %s", got)
	}
}

func TestAProxyLeadsToAnotherServer(t *testing.T) {
	t.Parallel()
	one, other := Shared(t), Start(t, "cluster_name = other")
	p := one.Proxy()
	staying := connect(t, p.DSN())
	p.Lead(other)
	if got := query(t, p.DSN(), "SHOW cluster_name"); got != "other" {
		t.Errorf("a new connection is at %q", got)
	}
	results, err := staying.Exec(t.Context(), "SHOW cluster_name").ReadAll()
	if err != nil || string(results[0].Rows[0][0]) != "" {
		t.Errorf("the connection that was there: %v", err)
	}
}
