//go:build linux

package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// errNoPooler is why there is none.
var errNoPooler = errors.New("PgBouncer is not installed (Debian's package pgbouncer)")

// debianSbin is where Debian puts PgBouncer, which is on few users' PATH.
const debianSbin = "/usr/sbin/pgbouncer"

// Pooler starts a PgBouncer before the server, which ends with the test. It
// shares sessions between transactions, as it is mostly used, so that nothing of
// a session may be relied on from one transaction to the next. It returns what
// turns a DSN of the server into one through it.
func (s *Server) Pooler() (through func(dsn string) string) {
	s.t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = debianSbin
	}
	if _, err := os.Stat(program); err != nil {
		s.t.Fatal(errNoPooler)
	}
	c := s.cluster
	dir, err := newPlace(c.user)
	s.must(err)
	s.t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			s.t.Error(err)
		}
	})
	settings := filepath.Join(dir, "pgbouncer.ini")
	s.must(os.WriteFile(settings, fmt.Appendf(nil, `[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr =
listen_port = %s
unix_socket_dir = %s
auth_type = any
pool_mode = transaction
default_pool_size = 10
max_client_conn = 200
`, c.dir, port, superuser, port, dir), 0o600))
	if c.user != nil {
		s.must(os.Chown(settings, int(c.user.Uid), int(c.user.Gid)))
	}
	cmd := exec.Command(program, "--quiet", settings) //nolint:gosec,noctx // Debian's or PATH's, and it lasts as long as the test
	cmd.Dir = dir
	p, err := launch(cmd, c.user, syscall.SIGKILL)
	s.must(err)
	s.t.Cleanup(func() {
		if err := p.endsAfter(syscall.SIGTERM); err != nil {
			s.t.Error(err)
		}
	})
	through = func(dsn string) string {
		return strings.Replace(dsn, "host="+c.dir+" ", "host="+dir+" ", 1)
	}
	s.must(await("start PgBouncer", p.ended, func() (bool, error) {
		_, err := askAt(s.t.Context(), through(s.DSN()), "SELECT 1")
		return err == nil, err
	}))
	return through
}
