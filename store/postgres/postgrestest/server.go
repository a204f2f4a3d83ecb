//go:build linux

// Package postgrestest gives tests PostgreSQL servers of their own: real ones,
// in temporary folders and on unix sockets alone, which can be stopped, killed,
// frozen, cut off and followed by a standby, as no shared one could.
//
// It is never part of a build and touches no server that it has not started.
// Tests call it: those of store/postgres, and those over real parts. A server
// ends with its test, and with the test's process even where that is killed; it
// runs as who runs the tests, or, where that is root, as the user postgres or
// nobody, since PostgreSQL refuses root. Where PostgreSQL is not installed the
// test fails, and says so.
//
// A method that fails ends the test, so a Server's and a Proxy's are to be called
// by the test's own goroutine.
package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// Server is a PostgreSQL server, as one test uses it.
type Server struct {
	t       testing.TB
	cluster *cluster
	primary *cluster // whom it follows, if it was made as a standby
}

// Start starts a new server, which ends with the test. The settings are lines
// of postgresql.conf, such as "synchronous_commit = off"; without any, it is as
// PostgreSQL comes, fsync included. Each costs the test about a second.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	c, err := newCluster()
	if err != nil {
		t.Fatal(err)
	}
	s := own(t, c)
	s.must(c.initialize(settings))
	return s
}

// own returns the server of a test which alone uses it, and ends it.
func own(t testing.TB, c *cluster) *Server {
	s := &Server{t: t, cluster: c}
	t.Cleanup(func() {
		if err := c.remove(); err != nil {
			t.Error(err)
		}
	})
	s.logIfFailed()
	return s
}

var shared struct {
	sync.Mutex
	allowed bool
	cluster *cluster
}

// Shared returns the server that the tests of one process share, each in a
// Database of its own. The first call starts it, Main ends it. Who stops or
// freezes a server takes one of his own.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.allowed {
		t.Fatal("nobody would end the shared server: TestMain has to run postgrestest.Main(m)")
	}
	if shared.cluster == nil {
		c, err := newCluster()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.initialize(nil); err != nil {
			log := c.log(0)
			t.Fatalf("%v\n%s", errors.Join(err, c.remove()), log)
		}
		shared.cluster = c
	}
	s := &Server{t: t, cluster: shared.cluster}
	s.logIfFailed()
	return s
}

// Runner is what TestMain is given, a *testing.M.
type Runner interface{ Run() int }

type mainRunner struct{ tests Runner }

// Main returns the tests with the shared server's end behind them:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }
func Main(m Runner) Runner {
	shared.Lock()
	defer shared.Unlock()
	shared.allowed = true
	return mainRunner{m}
}

func (m mainRunner) Run() int {
	code := m.tests.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil {
		if err := shared.cluster.remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		shared.cluster = nil
	}
	return code
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// logIfFailed shows what the server says from now on, should the test fail.
func (s *Server) logIfFailed() {
	said := len(s.cluster.log(0))
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the server in %s said:\n%s", s.cluster.dir, s.cluster.log(said))
		}
	})
}

// Log returns all that the server has logged.
func (s *Server) Log() string { return s.cluster.log(0) }

// DSN names the server's database qlink, as a superuser who needs no password:
// keywords and values, to which more may be appended.
func (s *Server) DSN() string { return dsn(s.cluster.dir, superuser, superuser) }

// Database returns the DSN of a new and empty database, which is dropped at the
// test's end, whoever is connected. The options end its CREATE DATABASE:
//
//	Database("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
func (s *Server) Database(options ...string) string {
	s.t.Helper()
	name := s.cluster.newName()
	s.create(name, options...)
	return dsn(s.cluster.dir, superuser, name)
}

// DatabaseWithPassword returns the DSN of a new database as Database does, for
// its owner, who is no superuser and has to prove the password by SCRAM-SHA-256.
// The password is not in the DSN.
func (s *Server) DatabaseWithPassword(password string) string {
	s.t.Helper()
	name := s.cluster.newName()
	s.must(s.cluster.tell(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD %s IN ROLE %s", name, quote(password), withPassword)))
	s.t.Cleanup(func() { s.dropIfRunning("ROLE " + name) })
	s.create(name, "OWNER "+name)
	return dsn(s.cluster.dir, name, name)
}

func (s *Server) create(name string, options ...string) {
	s.t.Helper()
	s.must(s.cluster.tell("CREATE DATABASE " + name + " " + strings.Join(options, " ")))
	s.t.Cleanup(func() { s.dropIfRunning("DATABASE " + name + " WITH (FORCE)") })
}

func (s *Server) dropIfRunning(what string) {
	if !s.cluster.answers() {
		return // it goes with the server
	}
	if err := s.cluster.tell("DROP " + what); err != nil {
		s.t.Error(err)
	}
}

// Set changes a setting for good, and at once where PostgreSQL needs no restart
// for it; "" is its default.
func (s *Server) Set(name, value string) {
	s.t.Helper()
	s.must(s.cluster.set(name, value))
}

// Stop ends the server as its operator would: sessions are ended, what they had
// not committed is rolled back.
func (s *Server) Stop() {
	s.t.Helper()
	s.must(s.cluster.stop())
}

// Kill ends all of the server's processes by SIGKILL, and returns when none is
// left.
func (s *Server) Kill() {
	s.t.Helper()
	s.must(s.cluster.kill())
}

// StartAgain starts a server that was stopped or killed, with the same data and
// at the same place.
func (s *Server) StartAgain() {
	s.t.Helper()
	s.must(s.cluster.start())
}

// Restart stops the server and starts it again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.StartAgain()
}

// Freeze makes the server hang: its processes hold whatever they hold,
// connections stay open, new ones are taken by the kernel, nobody answers.
func (s *Server) Freeze() {
	s.t.Helper()
	s.must(s.cluster.freeze())
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() {
	s.t.Helper()
	s.must(s.cluster.thaw())
}
