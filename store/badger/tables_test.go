package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// theTable returns the path and the content of the only table in dir.
func theTable(t *testing.T, dir string) (path string, content []byte) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("tables: %v, %v", paths, err)
	}
	content, err = os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	return paths[0], content
}

// contents returns all that a table holds. Some bytes of its compressed blocks
// can be others and mean the same.
func contents(t *testing.T, file tableFile, content []byte) (all []byte) {
	t.Helper()
	opened, err := table.OpenInMemoryTable(content, file.id, &table.Options{Compression: file.compression, BlockSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	it := opened.NewIterator(0)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		all = append(append(all, it.Key()...), it.Value().Value...)
	}
	return all
}

func TestATableWithAWrongByteIsRefusedWhereverItIs(t *testing.T) {
	dir := closedStore(t, 100)
	_, whole := theTable(t, dir)
	files := listedTables(dir)
	if len(files) != 1 {
		t.Fatalf("listed: %v", files)
	}
	var v verifier
	verify := func(content []byte) error {
		return v.verify(bytes.NewReader(content), int64(len(content)), files[0].compression)
	}
	if err := verify(whole); err != nil {
		t.Fatalf("as it is: %v", err)
	}
	want := contents(t, files[0], whole)
	const step = 61
	for at := len(whole) - 1; at >= 0; at -= step {
		for _, bit := range []byte{1, 0x80} {
			whole[at] ^= bit
			if err := verify(whole); err == nil && !bytes.Equal(contents(t, files[0], whole), want) {
				t.Errorf("bit %#x of byte %d of %d flipped: it passes", bit, at, len(whole))
			}
			whole[at] ^= bit
		}
		if err := verify(whole[:at]); err == nil {
			t.Errorf("cut to %d of %d: it passes", at, len(whole))
		}
	}
	if err := verify(whole); err != nil {
		t.Errorf("as it was, after all that: %v", err)
	}
}

// A length that is wrong costs no memory before it is found to be.
func TestABlockThatClaimsToBeHugeIsRefusedUnread(t *testing.T) {
	v := verifier{block: binary.AppendUvarint(nil, 1<<31)}
	if err := v.verifyBlock(options.Snappy); !errors.Is(err, errChecksum) || cap(v.plain) > 0 {
		t.Errorf("%v, %d bytes", err, cap(v.plain))
	}
}

// What a table takes of memory is a block, and its index.
func TestVerifyingATableTakesLittleMemory(t *testing.T) {
	dir := closedStore(t, 3000)
	var v verifier
	for _, file := range listedTables(dir) {
		if size, err := file.verify(&v); err != nil || size == 0 {
			t.Fatal(size, err)
		}
		if kept := cap(v.block) + cap(v.plain) + cap(v.index); kept > 256<<10 {
			t.Errorf("%d bytes", kept)
		}
		allocated := testing.AllocsPerRun(5, func() {
			if _, err := file.verify(&v); err != nil {
				t.Error(err)
			}
		})
		if allocated > 40 {
			t.Errorf("%.0f allocations", allocated)
		}
	}
}

func TestAStoreWithADamagedTableIsNotOpened(t *testing.T) {
	dir := closedStore(t, 100)
	path, content := theTable(t, dir)
	content[len(content)/2] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, dir, path)
}

func TestATableOfALargeStoreIsVerifiedWhileItServes(t *testing.T) {
	dir := closedStore(t, 100)
	path, content := theTable(t, dir)
	files, err := verifyTables(ctx, listedTables(dir), 0)
	if err != nil || len(files) != 1 || files[0].path != path {
		t.Fatalf("left for later: %v, %v", files, err)
	}
	s, logs := observed(t, dir)
	mustCommit(t, s, 101, 101)
	content[len(content)/2] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s.verifying.stop()
	s.verifyLater(files)
	deadline := time.After(30 * time.Second)
	for s.Broken() == nil {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatal("nothing was found")
		}
	}
	if _, err := s.Bill(ctx, "1"); !errors.Is(err, ErrDamaged) || !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("Bill: %v", err)
	}
	if logs.FilterMessageSnippet("damaged").Len() != 1 {
		t.Errorf("logged: %v", logs.All())
	}
	if err := s.Close(); err != nil {
		t.Logf("Close: %v", err)
	}
	wantRefused(t, dir, path, "found earlier") // before the table is read again
}

func TestEveryTableIsVerifiedUpToTheBound(t *testing.T) {
	dir := t.TempDir()
	for n := range 4 {
		s := mustOpen(t, dir)
		mustCommit(t, s, n, n)
		mustClose(t, s)
	}
	files := listedTables(dir)
	if len(files) != 4 {
		t.Fatalf("%d tables", len(files))
	}
	if left, err := verifyTables(ctx, files, verifyAtOnce); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	left, err := verifyTables(ctx, files, 1)
	begun := len(files) - len(left) // by each processor one, when the bound was reached
	if err != nil || begun < 1 || begun > runtime.GOMAXPROCS(0) || !slices.Equal(left, files[begun:]) {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file.path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(file.path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := verifyTables(ctx, files, verifyAtOnce); !errors.Is(err, ErrDamaged) {
			t.Errorf("table %d: %v", file.id, err)
		}
		content[len(content)/2] ^= 1
		if err := os.WriteFile(file.path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
