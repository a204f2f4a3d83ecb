package cli_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/cli"
)

// shelf plays stores: a backup is good where it begins so.
type shelf struct{ restored string }

const goodBackup = "BACKUP of 7"

func (s *shelf) Verify(_ context.Context, backup io.Reader) (cli.Content, error) {
	all, err := io.ReadAll(backup)
	if err == nil && string(all) != goodBackup {
		err = errors.New("its checksum does not match")
	}
	return cli.Content{Bills: 7}, err
}

func (s *shelf) Restore(ctx context.Context, backup io.Reader, dir string) (cli.Content, error) {
	s.restored = dir
	return s.Verify(ctx, backup)
}

func (s *shelf) Check(_ context.Context, dir string, found func(string) error) (cli.Content, error) {
	switch filepath.Base(dir) {
	case "open":
		return cli.Content{}, errors.New("a Caddy has it open")
	case "damaged":
		return cli.Content{Bills: 6, Records: 40}, errors.Join(found("bill b-1: checksum"), found("bill\x1b[2J b-2: gone"))
	}
	return cli.Content{Bills: 7, Records: 50}, nil
}

func (s *shelf) Show(_ context.Context, dir, name string) (raw jsontext.Value, doubt, err error) {
	if name != "O2" {
		return nil, nil, cli.ErrUnknown
	}
	if filepath.Base(dir) == "old" {
		doubt = errors.New("it has gone back")
	}
	return jsontext.Value(detail), doubt, nil
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func wantFile(t *testing.T, path, text string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Errorf("%s holds %q, %v; want %q", path, got, err, text)
	}
}

func TestAnExportIsWrittenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bills.csv")
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/export": says(200, "id,amount\r\nb-1,1\r\n")})
	a.run("export", "--format", "csv", "--status", "WAIT", "-o", file).want(t, 0, "")
	wantFile(t, file, "id,amount\r\nb-1,1\r\n")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	a.wantAsked("GET /qlink/export?format=csv&status=WAIT")
	a.run("export", "--format", "csv").want(t, 0, "id,amount\r\nb-1,1\r\n")

	cut := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/export": cutShort("id,amount\r\nb-")})
	cut.run("export", "-o", file).complains(t, 1, "breaks off")
	wantFile(t, file, "id,amount\r\nb-1,1\r\n")
	if names := entries(t, dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	a.run("export", "-o", filepath.Join(dir, "nowhere", "x")).complains(t, 1, "no such file")
	a.run("export", "-o", dir).complains(t, 1, "is a folder")
}

func TestAnInterruptedExportLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ctx, interrupt := context.WithCancel(t.Context())
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/export": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{}\n")
		w.(http.Flusher).Flush()
		interrupt()
		<-r.Context().Done()
	}})
	r := runHost(ctx, a.host, nil, "", "export", "-o", filepath.Join(dir, "x"))
	if r.code != 1 || len(entries(t, dir)) != 0 {
		t.Errorf("%+v, %v", r, entries(t, dir))
	}
}

func TestTheFileBehindALinkIsReplaced(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "latest")
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "real"), []byte("old"), 0o600), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/export": says(200, "{}\n")})
	a.run("export", "-o", link).want(t, 0, "")
	wantFile(t, filepath.Join(dir, "real"), "{}\n")
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	a.run("export", "-o", os.DevNull).want(t, 0, "")
}

func TestABackupStandsUnderItsNameOnceItIsVerified(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "qlink.backup")
	sent := goodBackup
	a := newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/backup": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, sent) }})
	a.host.Stores = new(shelf)
	a.run("backup", file).want(t, 0, file+" is complete: 7 bills.\n")
	wantFile(t, file, goodBackup)
	sent = goodBackup[:5]
	a.run("backup", file).complains(t, 1, "the backup is not whole: its checksum does not match")
	wantFile(t, file, goodBackup)
	if names := entries(t, dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	sent = "\x00\x1bbytes"
	a.run("backup", "-").want(t, 0, sent)
	none := newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/backup": says(501, `{"error":"not supported by this store; use pg_dump"}`)})
	none.run("backup", file).complains(t, 1, "use pg_dump")
	wantFile(t, file, goodBackup)
}

func TestABackupIsRestored(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "qlink.backup")
	if err := os.WriteFile(file, []byte(goodBackup), 0o600); err != nil {
		t.Fatal(err)
	}
	s := new(shelf)
	host := hostAt("http://127.0.0.1:1")
	host.Stores = s
	run := func(stdin string, args ...string) result { return runHost(t.Context(), host, nil, stdin, args...) }
	run("", "restore", file, filepath.Join(dir, "x"), "--dry-run").want(t, 0, "Would restore 7 bills to "+filepath.Join(dir, "x")+".\n")
	run("", "restore", file, dir, "--dry-run").complains(t, 1, "is not empty")
	if s.restored != "" {
		t.Error("a dry run restored")
	}
	r := run("", "restore", file, filepath.Join(dir, "x")).want(t, 0, "Restored 7 bills to "+filepath.Join(dir, "x")+".\n")
	if s.restored != filepath.Join(dir, "x") || !strings.Contains(r.err, "caddy qlink reopen") {
		t.Errorf("%q, %q", s.restored, r.err)
	}
	run(goodBackup, "restore", "-", "y", "--json").want(t, 0, `{"bills":7,"records":0}`+"\n")
	run("rubbish", "restore", "-", "y").complains(t, 1, "its checksum does not match")
	run("", "restore", filepath.Join(dir, "none"), "y").complains(t, 1, "no such file")
}

func TestAFolderIsCheckedAndRead(t *testing.T) {
	host := hostAt("http://127.0.0.1:1")
	host.Stores = new(shelf)
	run := func(args ...string) result { return runHost(t.Context(), host, nil, "", args...) }
	run("check", "/x/store").want(t, 0, "No damage: 7 bills, 50 records.\n")
	run("check", "/x/store", "--json").want(t, 0, `{"bills":7,"records":50}`+"\n")
	run("check", "/x/damaged").want(t, 4, "Damage: bill b-1: checksum\nDamage: bill\\u001b[2J b-2: gone\n")
	run("check", "/x/open").complains(t, 1, "a Caddy has it open")
	run("show", "O2", "--store", "/x/store").has(t, 0, "b-2", "History")
	if r := run("show", "O2", "--store", "/x/old", "--json"); r.code != 0 || r.err != "Beware: it has gone back\n" {
		t.Errorf("%+v", r)
	}
	run("show", "O3", "--store", "/x/store").complains(t, 3, "no bill has this name")
	offline(t, "", "check", "/x").complains(t, 1, "no store that can be read")
}
