//go:build linux

package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

// helperTask tells a copy of the test binary, started by a test, to run a
// server: frozen, or not.
const helperTask = "QLINK_TEST_POSTGRES"

func TestMain(m *testing.M) {
	if task := os.Getenv(helperTask); task != "" {
		os.Exit(help(task))
	}
	goleak.VerifyTestMain(Main(m))
}

// help says which process and which folder its server has, and waits for an end
// that is not its own choice.
func help(task string) int {
	c, err := newCluster()
	if err == nil {
		err = c.initialize(nil)
	}
	if err == nil && task == "frozen" {
		err = c.freeze()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(c.first.Pid, c.dir)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// query returns the first column of the first row.
func query(t *testing.T, dsn, text string) string {
	t.Helper()
	answer, err := askAt(t.Context(), dsn, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return answer
}

// wantHung fails the test unless nobody answers for as long as a server that is
// there never takes.
func wantHung(t *testing.T, dsn, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if answer, err := askAt(ctx, dsn, text); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%s: answered %q, %v", text, answer, err)
	}
}

func connect(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whatever state it is in, no farewell
		_ = conn.Close(ctx)
	})
	return conn
}

// inBackground sends how the query ended, which is awaited for no longer than
// anything here.
func inBackground(t *testing.T, conn *pgconn.PgConn, text string) <-chan error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	answered := make(chan error, 1)
	go func() {
		defer cancel()
		_, err := conn.Exec(ctx, text).ReadAll()
		answered <- err
	}()
	return answered
}

func TestAServerEndsWithTheProcessThatStartedIt(t *testing.T) {
	t.Parallel()
	for _, task := range []string{"running", "frozen"} {
		t.Run(task, func(t *testing.T) {
			t.Parallel()
			binary, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Env = append(os.Environ(), helperTask+"="+task)
			if _, err := cmd.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			var dir string
			_, err = fmt.Fscanln(stdout, &pid, &dir)
			all, listed := descendants(pid)
			server, there := statusOf(pid)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if err := errors.Join(err, listed, there); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			for _, one := range append(all, server) {
				if err := await("end with the tests", nil, func() (bool, error) { return one.gone(), nil }); err != nil {
					t.Errorf("process %d: %v", one.pid, err)
				}
			}
		})
	}
}

func TestAServersFolderIsOneThatItsUserMayEnterAndASocketFits(t *testing.T) {
	as, err := serverUser()
	if err != nil {
		t.Fatal(err)
	}
	closed, open := t.TempDir(), t.TempDir()
	long := open + "/" + strings.Repeat("x", 60)
	if err := os.Mkdir(long, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, mode := range map[string]os.FileMode{closed: 0o700, open: 0o755, filepath.Dir(open): 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	for base, fit := range map[string]bool{closed: as == nil, open: true, long: false} {
		t.Setenv("TMPDIR", base)
		dir, err := newPlace(as)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		if (filepath.Dir(dir) == base) != fit {
			t.Errorf("below %s it is %s", base, dir)
		}
	}
}

func TestWithoutPostgreSQLTheWordsAreClear(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if dir, err := findPrograms(t.TempDir() + "/*/bin"); !errors.Is(err, errNotInstalled) {
		t.Errorf("%q, %v", dir, err)
	}
}

func TestTheNewestCompleteVersionIsTaken(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	base := t.TempDir()
	for version, programs := range map[string][]string{
		"9.6": {"initdb", "postgres", "pg_basebackup"},
		"9":   {"initdb", "postgres", "pg_basebackup"},
		"15":  {"initdb", "postgres", "pg_basebackup"},
		"17":  {"pg_basebackup"}, // Debian's package of the clients
	} {
		if err := os.MkdirAll(base+"/"+version+"/bin", 0o777); err != nil {
			t.Fatal(err)
		}
		for _, program := range programs {
			if err := os.WriteFile(base+"/"+version+"/bin/"+program, nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	if dir, err := findPrograms(base + "/*/bin"); err != nil || dir != base+"/15/bin" {
		t.Errorf("%q, %v", dir, err)
	}
}
