//go:build linux

package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

const (
	superuser    = "qlink"         // and a database of that name
	withPassword = "with_password" // members of this role need one
)

// cluster is what a server is: its folder and, while it runs, its first process,
// the postmaster. Its settings' changes are the server's own; its methods are
// not safe for two callers at once, but for tell, ask and newName.
type cluster struct {
	programs string
	user     *syscall.Credential
	dir      string // of the socket, the log and the data
	first    *process
	held     []status // the other processes, while it is frozen
	names    atomic.Int64
}

func newCluster() (*cluster, error) {
	c := new(cluster)
	var err error
	if c.programs, err = findPrograms(debianPrograms); err != nil {
		return nil, err
	}
	if c.user, err = serverUser(); err != nil {
		return nil, err
	}
	if c.dir, err = newPlace(c.user); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *cluster) data() string    { return filepath.Join(c.dir, "data") }
func (c *cluster) socket() string  { return filepath.Join(c.dir, socketName) }
func (c *cluster) logFile() string { return filepath.Join(c.dir, "log") }

// newName returns a name for a database or a role.
func (c *cluster) newName() string { return fmt.Sprintf("test_%d", c.names.Add(1)) }

// dsn needs no quotes: the folder's name is MkdirTemp's, others are ours.
func dsn(host, user, database string) string {
	return fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable", host, port, user, database)
}

// quote makes an SQL literal.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// initialize makes the server's data, starts it and makes the database.
func (c *cluster) initialize(settings []string) error {
	// Not synced: what a power cut leaves of the server is of no interest before
	// its first start.
	err := c.run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username="+superuser, "--pgdata="+c.data())
	if err != nil {
		return err
	}
	if err := c.addHostRule("local all +" + withPassword + " scram-sha-256"); err != nil {
		return err
	}
	// Nothing in /dev/shm, where it would outlive a kill; and no need for much.
	settings = append([]string{"dynamic_shared_memory_type = mmap", "shared_buffers = 32MB"}, settings...)
	if err := c.addSettings(settings); err != nil {
		return err
	}
	if err := c.start(); err != nil {
		return err
	}
	if err := c.tell("CREATE ROLE " + withPassword); err != nil {
		return err
	}
	return c.tell("CREATE DATABASE " + superuser)
}

// command prepares a program of PostgreSQL's; what it reads of its surroundings
// is the same everywhere.
func (c *cluster) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), filepath.Join(c.programs, program), args...) //nolint:gosec // G204: the programs that were found, and our arguments
	cmd.Dir = c.dir
	cmd.Env = []string{"HOME=" + c.dir, "PATH=" + c.programs + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	return cmd
}

// run runs a program to its end.
func (c *cluster) run(program string, args ...string) error {
	cmd := c.command(program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := launch(cmd, c.user, syscall.SIGKILL)
	if err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	if <-p.ended; p.err != nil {
		return fmt.Errorf("%s: %w\n%s", program, p.err, said.String())
	}
	return nil
}

// addSettings ends postgresql.conf with lines, of which a later one wins.
func (c *cluster) addSettings(lines []string) error {
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("\n" + strings.Join(lines, "\n") + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("configure PostgreSQL: %w", err)
	}
	return nil
}

// addHostRule begins pg_hba.conf with a line, of which the first one wins.
func (c *cluster) addHostRule(line string) error {
	path := filepath.Join(c.data(), "pg_hba.conf")
	rules, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append([]byte(line+"\n"), rules...), 0o600)
	}
	if err != nil {
		return fmt.Errorf("configure PostgreSQL: %w", err)
	}
	return nil
}

// start returns when the server takes connections.
func (c *cluster) start() error {
	if c.first.running() {
		return errors.New("start PostgreSQL: it runs")
	}
	log, err := os.OpenFile(c.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer log.Close()
	// Its place is not in its settings, which a standby copies.
	cmd := c.command("postgres", "-D", c.data(), "-k", c.dir, "-p", port, "-c", "listen_addresses=")
	cmd.Stdout, cmd.Stderr = log, log
	// SIGQUIT: it ends at once, and takes its other processes along.
	if c.first, err = launch(cmd, c.user, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	return await("start PostgreSQL", c.first.ended, func() (bool, error) {
		_, err := c.ask("SELECT 1")
		return err == nil, err
	})
}

// answers tells whether the server runs and is not frozen.
func (c *cluster) answers() bool { return c.first.running() && c.held == nil }

// tell has the server do something.
func (c *cluster) tell(statement string) error {
	_, err := c.ask(statement)
	return err
}

// ask returns the first column of the first row of the answer, if there is one.
func (c *cluster) ask(query string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return askAt(ctx, dsn(c.dir, superuser, "postgres"), query)
}

func askAt(ctx context.Context, dsn, query string) (answer string, err error) {
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return "", err // with the statement's text it might show a password
	}
	if last := results[len(results)-1]; len(last.Rows) > 0 {
		answer = string(last.Rows[0][0])
	}
	return answer, nil
}

// set changes a setting and returns when a new session has it.
func (c *cluster) set(name, value string) error {
	change := "ALTER SYSTEM RESET " + name
	if value != "" {
		change = "ALTER SYSTEM SET " + name + " = " + quote(value)
	}
	before, err := c.ask("SELECT pg_conf_load_time()")
	if err == nil {
		err = c.tell(change)
	}
	if err == nil {
		err = c.tell("SELECT pg_reload_conf()")
	}
	if err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return await("reload PostgreSQL", c.first.ended, func() (bool, error) {
		now, err := c.ask("SELECT pg_conf_load_time()")
		return err == nil && now != before, err
	})
}

// stop is PostgreSQL's fast shutdown.
func (c *cluster) stop() error {
	if !c.first.running() {
		return errors.New("stop PostgreSQL: it does not run")
	}
	if err := c.thaw(); err != nil {
		return err
	}
	if err := c.first.endsAfter(syscall.SIGINT); err != nil {
		return err
	}
	if c.first.err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", c.first.err)
	}
	return nil
}

// kill ends the first process last: until then it is held, and no other's end
// tells it anything.
func (c *cluster) kill() error {
	if !c.first.running() {
		return errors.New("kill PostgreSQL: it does not run")
	}
	others, err := c.first.hold()
	if err != nil {
		return err
	}
	c.held = nil
	if err := signal(others, syscall.SIGKILL); err != nil {
		return err
	}
	if err := c.first.endsAfter(syscall.SIGKILL); err != nil {
		return err
	}
	return await("kill PostgreSQL's processes", nil, func() (bool, error) {
		for _, other := range others {
			if !other.gone() {
				return false, fmt.Errorf("process %d goes on", other.pid)
			}
		}
		return true, nil
	})
}

func (c *cluster) freeze() error {
	if !c.answers() {
		return errors.New("freeze PostgreSQL: it does not run, or is frozen")
	}
	others, err := c.first.hold()
	if err != nil {
		return err
	}
	c.held = others
	if err := signal(others, syscall.SIGSTOP); err != nil {
		return err
	}
	return await("freeze PostgreSQL", c.first.ended, func() (bool, error) {
		for _, other := range others {
			if !other.stopped() && !other.gone() {
				return false, fmt.Errorf("process %d goes on", other.pid)
			}
		}
		return true, nil
	})
}

// thaw continues the first process last: until then the others' pids are theirs.
func (c *cluster) thaw() error {
	if c.held == nil {
		return nil
	}
	if err := signal(c.held, syscall.SIGCONT); err != nil {
		return err
	}
	c.held = nil
	if err := c.first.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("thaw PostgreSQL: %w", err)
	}
	return nil
}

// log returns what the server has logged after the first bytes.
func (c *cluster) log(after int) string {
	text, err := os.ReadFile(c.logFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(text[min(after, len(text)):])
}

// remove ends the server, if it runs, and leaves nothing of it.
func (c *cluster) remove() error {
	var err error
	if c.first.running() {
		err = c.thaw()
		// At once: nobody will read the data again.
		err = errors.Join(err, c.first.endsAfter(syscall.SIGQUIT))
		if c.first.running() {
			err = errors.Join(err, c.kill())
		}
	}
	c.removeSegment()
	return errors.Join(err, os.RemoveAll(c.dir))
}

// removeSegment removes the System V segment that a killed server has left: no
// data, only the sign that it runs. The lock file names it in its seventh line.
func (c *cluster) removeSegment() {
	lock, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return // it was not killed
	}
	lines := strings.Split(string(lock), "\n")
	var key, id int
	if len(lines) < 7 {
		return
	}
	if n, err := fmt.Sscan(lines[6], &key, &id); n == 2 && err == nil {
		_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) // fails where it is gone
	}
}
