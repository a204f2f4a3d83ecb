package badger

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// provisioned returns the module for a path, as a configuration would have it.
func provisioned(t *testing.T, path string) *Store {
	t.Helper()
	s := &Store{Path: path}
	if err := s.Provision(caddy.Context{Context: t.Context()}); err != nil {
		t.Fatalf("Provision: %v", err)
	}
	return s
}

func key(t *testing.T, path string) string {
	t.Helper()
	key, err := provisioned(t, path).Key()
	if err != nil {
		t.Fatalf("Key: %v", err)
	}
	return key
}

func TestTheModuleIsRegistered(t *testing.T) {
	info, err := caddy.GetModule("qlink.stores.badger")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := info.New().(bill.Opener); !ok {
		t.Errorf("%T is no bill.Opener", info.New())
	}
}

func TestTheDefaultPathIsInCaddysDataDirectory(t *testing.T) {
	data, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_DATA_HOME", data)
	if got, want := key(t, ""), filepath.Join(data, "caddy", "qlink"); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
}

func TestPlaceholdersInThePathAreResolved(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("QLINK_TEST_DATA", dir)
	if got, want := key(t, "{env.QLINK_TEST_DATA}/bills"), filepath.Join(dir, "bills"); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
}

func TestAPlaceholderWithoutValueIsAnError(t *testing.T) {
	for _, path := range []string{"{env.QLINK_TEST_UNSET}", "{nonsense}/x"} {
		s := &Store{Path: path}
		if err := s.Provision(caddy.Context{Context: t.Context()}); err == nil || !strings.Contains(err.Error(), "path") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestEverySpellingOfAFolderIsOneKey(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	want := filepath.Join(dir, "real", "not", "there")
	for _, path := range []string{want, want + "/", "real/not/there", "link/not/there", "./link/../link//not/there", dir + "/link/not/x/../there"} {
		if got := key(t, path); got != want {
			t.Errorf("%s: key %s, want %s", path, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "real", "not")); !os.IsNotExist(err) {
		t.Errorf("asking for the key has made a folder: %v", err)
	}
}

// story 38
func TestProvisioningBesideAnOpenStoreNeitherFailsNorLeavesFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	unopened := provisioned(t, dir)
	if _, err := unopened.Key(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("provisioning has left something: %v", err)
	}
	store, err := unopened.Open(t.Context(), bill.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := provisioned(t, dir).Key(); err != nil || got != key(t, dir) {
		t.Errorf("beside an open store: %s, %v", got, err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpeningEndsWithTheContextAndLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if opened, err := provisioned(t, dir).Open(ctx, bill.Env{}); err == nil || opened != nil {
		t.Errorf("opened %v, %v", opened, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("left something: %v", err)
	}
}

func TestAPathThatIsAFileIsAClearError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		_, err := provisioned(t, path).Open(t.Context(), bill.Env{})
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTheCaddyfileNamesThePath(t *testing.T) {
	for input, want := range map[string]string{
		"badger":                                 "",
		"badger {\n}":                            "",
		"badger {\n\tpath /data/bills\n}":        "/data/bills",
		"badger {\n\tpath {env.DATA}/bills\n}":   "{env.DATA}/bills",
		"badger {\n\tpath \"with a blank/x\"\n}": "with a blank/x",
	} {
		var s Store
		if err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input)); err != nil || s.Path != want {
			t.Errorf("%q: path %q, %v", input, s.Path, err)
		}
	}
}

func TestABadCaddyfileIsAnErrorThatNamesTheLine(t *testing.T) {
	for input, words := range map[string]string{
		"badger /data":                            ":1",
		"badger {\n\tpath\n}":                     ":2",
		"badger {\n\tpath a b\n}":                 ":2",
		"badger {\n\tpath \"\"\n}":                "path is empty",
		"badger {\n\tpath a\n\tpath b\n}":         "twice",
		"badger {\n\tpath a {\n\t\tb\n\t}\n}":     "no block",
		"badger {\n\tpaht /data\n}":               `"paht"`,
		"badger {\n\tpath a\n\tsync_writes no\n}": `"sync_writes"`,
	} {
		err := new(Store).UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want words %s", input, err, words)
		}
	}
}

// The trial of the power cut shows what comes of it without; that is too long
// for every day.
func TestEveryCommitIsSynced(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if !s.db.Opts().SyncWrites {
		t.Error("the database acknowledges what a power cut takes away")
	}
}
