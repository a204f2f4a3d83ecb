package badger

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

func TestARestoreTakesAFolderThatIsThereAndEmpty(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	dir := t.TempDir()
	if _, err := Restore(ctx, bytes.NewReader(file), dir, nil); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, dir)
	left := t.TempDir()
	if _, err := Restore(ctx, bytes.NewReader(file[:len(file)-1]), left, nil); !errors.Is(err, ErrBadBackup) {
		t.Errorf("cut: %v", err)
	}
	if entries, err := os.ReadDir(left); err != nil || len(entries) > 0 {
		t.Errorf("the folder is to be empty again: %v, %v", entries, err)
	}
}

func TestARestoreMakesItsFoldersAsTheStoreDoes(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	dir := mustRestore(t, file)
	for _, made := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", made, info.Mode(), err)
		}
	}
}

func TestARestoreTouchesNothingThatIsThere(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	stranger := t.TempDir()
	if err := os.WriteFile(filepath.Join(stranger, "letter"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	closed := closedStore(t, 2)
	open := t.TempDir()
	mustOpen(t, open)
	awaitTestimony(t, open, func(testimony) bool { return true })
	for dir, words := range map[string]string{stranger: "letter is in it", closed: "there is a store", open: "there is a store"} {
		before := filesIn(t, dir)
		_, err := Restore(ctx, bytes.NewReader(file), dir, nil)
		if !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", words, err)
		}
		if after := filesIn(t, dir); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	}
	inAFile := filepath.Join(stranger, "letter", "store")
	if _, err := Restore(ctx, bytes.NewReader(file), inAFile, nil); err == nil {
		t.Error("restored into a file")
	}
}

// filesIn returns the files of a folder, with their lengths, times and content.
func filesIn(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(strings.Join([]string{info.Name(), info.Mode().String(), info.ModTime().String(), string(bytes.TrimRight(content, "\x00")), "\n"}, " "))
	}
	return text.String()
}

// restoring begins a restore of what is written to w.
func restoring(t *testing.T, dir string) (w *io.PipeWriter, ended <-chan error) {
	t.Helper()
	r, w := io.Pipe()
	result := make(chan error, 1)
	go func() {
		_, err := Restore(ctx, r, dir, nil)
		_ = r.Close()
		result <- err
	}()
	t.Cleanup(func() { _ = w.Close() })
	return w, result
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !exists(path) {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("%s does not come", path)
		}
	}
}

func TestWhatAnInterruptedRestoreLeavesIsNoStore(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 800))
	dir := target(t)
	w, ended := restoring(t, dir)
	if _, err := w.Write(file[:len(file)-10]); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, manifestPath(dir))
	killed := crashed(t, dir) // what a killed process would leave now
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrBadBackup) {
		t.Errorf("Restore: %v", err)
	}
	if exists(dir) {
		t.Error("the restore that failed has left something")
	}
	wantRefused(t, killed, "a restore into this folder", "remove the folder")
	if _, err := Restore(ctx, bytes.NewReader(file), killed, nil); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("once more: %v", err)
	}
	f, err := Check(ctx, killed, nil)
	if err != nil || f.Whole() || !strings.Contains(f.Found[0].Text, "a restore into this folder") {
		t.Errorf("checked: %+v, %v", f, err)
	}
}

func TestNobodyOpensAStoreWhileItIsRestored(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	dir := target(t)
	w, ended := restoring(t, dir)
	if _, err := w.Write(file[:len(file)-10]); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, manifestPath(dir))
	if _, err := openResolved(dir); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "is under way") {
		t.Errorf("open: %v", err)
	}
	if _, err := Restore(ctx, bytes.NewReader(file), dir, nil); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second restore: %v", err)
	}
	_, err := w.Write(file[len(file)-10:])
	if err := errors.Join(err, w.Close(), <-ended); err != nil {
		t.Fatal(err)
	}
	wantWhole(t, dir)
}

func TestARestoreLeavesAStoreAloneThatCameInBetween(t *testing.T) {
	dir := target(t)
	late, err := claim(dir, 0) // and in between, somebody who looked before …
	if err != nil {
		t.Fatal(err)
	}
	if err := late.withdraw(); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Dir(dir)) {
		t.Error("the folders that were made are still there")
	}
	s := mustOpen(t, dir) // … opens the store
	mustCommit(t, s, 1, 1)
	file, _ := mustBackUp(t, s)
	b, err := openBackup(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if _, _, err := late.build(ctx, b, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("build: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, witnessName)); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if _, err := claim(dir, 0); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("claim: %v", err)
	}
	mustCommit(t, s, 2, 2)
	mustClose(t, s)
	if _, err := mustOpen(t, dir).Bill(ctx, "2"); err != nil {
		t.Errorf("their store: %v", err)
	}
}

func TestARestoreEndsWithItsContextAndLeavesNothing(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 800))
	cancelled, cancel := context.WithCancel(ctx)
	parent := t.TempDir()
	if _, err := Restore(cancelled, bytes.NewReader(file), filepath.Join(parent, "store"), func(int64, uint64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("Restore: %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("it has left %v, %v", left, err)
	}
}

func TestARestoreWantsRoomForTheStore(t *testing.T) {
	header, err := codec.Marshal(backupHeader{Format: 1, At: noon, Store: "s", Size: math.MaxInt64})
	if err != nil {
		t.Fatal(err)
	}
	wantNoRestore(t, append(header, '\n'), bill.ErrUnavailable)
}

func TestARestoreEndsBeforeTheDiskIsFull(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	b, err := openBackup(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	site, err := claim(target(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	site.minFree = math.MaxUint64
	if _, _, err := site.build(ctx, b, nil); !errors.Is(err, bill.ErrUnavailable) || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("build: %v", err)
	}
	if err := site.clear(); err != nil || exists(site.made) {
		t.Errorf("left: %v", err)
	}
}

func TestARestoredStoreHasItsCheckoutsClosedUntilItIsReopened(t *testing.T) {
	before := lived(t, t.TempDir(), 20)
	if !before.CheckoutsClosed().IsZero() {
		t.Error("an ordinary store has them closed")
	}
	if err := before.Reopen(ctx); err != nil {
		t.Errorf("Reopen of an open one: %v", err)
	}
	file, _ := mustBackUp(t, before)
	begun := time.Now()
	dir := mustRestore(t, file)
	s := mustOpen(t, dir)
	since := bill.CheckoutsClosed(s)
	if since.Before(begun.Add(-time.Second)) || since.After(time.Now()) || since.Location() != time.UTC {
		t.Errorf("closed since %v", since)
	}
	mustChange(t, s, paid(change("1"))) // a webhook
	mustClose(t, s)

	s = mustOpen(t, dir)
	if got := s.CheckoutsClosed(); !got.Equal(since) {
		t.Errorf("opened again: closed since %v, before %v", got, since)
	}
	fromRestored, _ := mustBackUp(t, s)
	later := mustOpen(t, mustRestore(t, fromRestored)).CheckoutsClosed()
	if !later.After(since) {
		t.Errorf("restored twice: closed since %v", later)
	}
	if err := s.Reopen(ctx); err != nil || !s.CheckoutsClosed().IsZero() {
		t.Fatalf("Reopen: %v, closed since %v", err, s.CheckoutsClosed())
	}
	left := crashed(t, dir)
	mustClose(t, s)
	for _, dir := range []string{dir, left} {
		again := mustOpen(t, dir)
		if !again.CheckoutsClosed().IsZero() {
			t.Error("opened again, they are closed again")
		}
		mustClose(t, again)
		wantWhole(t, dir)
	}
	if err := s.Reopen(ctx); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("Reopen of a store that has closed: %v", err)
	}
}

func TestCheckoutsStayClosedWhereReopeningFails(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	s := mustOpen(t, mustRestore(t, file))
	g := gated(s)
	g.fail = func(int) error { return errors.New("no disk") }
	close(g.proceed)
	if err := s.Reopen(ctx); !errors.Is(err, bill.ErrUnavailable) || s.CheckoutsClosed().IsZero() {
		t.Errorf("Reopen: %v, closed since %v", err, s.CheckoutsClosed())
	}
}

func TestTheSizeOfAStoreIsTold(t *testing.T) {
	s := lived(t, t.TempDir(), 100)
	size, err := s.Size()
	if err != nil || size < 100*200 || size > 64<<20 {
		t.Errorf("%d bytes, %v", size, err)
	}
	mustClose(t, s)
	if _, err := s.Size(); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
}
