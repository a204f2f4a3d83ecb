//go:build linux

package postgrestest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// Where Debian puts the programs of each version.
const debianPrograms = "/usr/lib/postgresql/*/bin"

var errNotInstalled = errors.New("PostgreSQL is not installed: the programs initdb, postgres and pg_basebackup lie together neither on PATH nor in " +
	debianPrograms + "; scripts/test installs Debian's")

// findPrograms returns the folder of PostgreSQL's programs: the one on PATH,
// else the newest of those that match the pattern.
func findPrograms(pattern string) (string, error) {
	var dirs []string
	if found, err := exec.LookPath("postgres"); err == nil {
		// Debian's other programs on PATH are wrappers, and look for a cluster.
		if found, err = filepath.EvalSymlinks(found); err == nil {
			dirs = append(dirs, filepath.Dir(found))
		}
	}
	installed, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("look for PostgreSQL: %w", err)
	}
	slices.SortFunc(installed, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	for _, dir := range append(dirs, installed...) {
		complete := true
		for _, name := range []string{"initdb", "postgres", "pg_basebackup"} {
			_, err := exec.LookPath(filepath.Join(dir, name))
			complete = complete && err == nil
		}
		if complete {
			return dir, nil
		}
	}
	return "", errNotInstalled
}

// version is that of …/VERSION/bin; 0 where it is no number.
func version(dir string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	if err != nil {
		return 0
	}
	return n
}

// serverUser returns as whom servers run; nil stands for who runs the tests.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is nobody else: %w", err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", account.Username, err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", account.Username, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

const (
	port       = "5432" // a part of the socket's name, nothing listens on a network
	socketName = ".s.PGSQL." + port
	// The longest path of a socket that the kernel takes.
	longestSocket = 107
)

// newPlace makes a folder for a server and its socket. Only the server's user
// may enter it, and root.
func newPlace(as *syscall.Credential) (string, error) {
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if len(base)+len("/pg4294967295/"+socketName) > longestSocket || !mayEnter(as, base) {
			continue
		}
		dir, err := os.MkdirTemp(base, "pg")
		if err == nil && as != nil {
			err = os.Chown(dir, int(as.Uid), int(as.Gid))
		}
		if err != nil {
			return "", fmt.Errorf("make a folder for PostgreSQL: %w", err)
		}
		return dir, nil
	}
	return "", errors.New("no temporary folder has a path short enough for a socket and open to PostgreSQL's user")
}

// mayEnter tells whether every folder down to the named one is open to all; who
// runs the tests got there anyway.
func mayEnter(as *syscall.Credential, dir string) bool {
	if as == nil {
		return true
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == "/" || dir == "." {
			return true
		}
	}
}
