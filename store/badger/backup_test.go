package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// lived makes a store with so many bills, of which every kind of record comes:
// paid ones, told and untold shops, orphans, answers to repeated requests.
func lived(t testing.TB, dir string, bills int) *store {
	t.Helper()
	s := mustOpen(t, dir)
	var next atomic.Int64
	var tasks sync.WaitGroup
	for range 64 { // who share the syncs
		tasks.Go(func() {
			for i := int(next.Add(1)) - 1; i < bills; i = int(next.Add(1)) - 1 {
				c := everyKind(i)
				err := s.Commit(ctx, c)
				if i%2 == 0 {
					err = errors.Join(err, s.Commit(ctx, paid(c)))
				}
				if err != nil {
					t.Errorf("Commit: %v", err)
				}
			}
		})
	}
	tasks.Wait()
	return s
}

// everyKind is what the creation of a bill writes, with all that may come with
// it now and then.
func everyKind(i int) bill.Change {
	c := change(strconv.Itoa(i))
	c.Notifications = []bill.Notification{told(c.Bills[0].Bill, i%3 == 0)}
	if i%10 == 0 {
		c.Orphan = &bill.Orphan{Ledger: "ledger", ID: fmt.Sprint("orphan-", i), At: noon}
		c.Idempotency = &bill.Idempotency{
			Key: fmt.Sprint("key-", i), Request: "hash", Bill: c.Bills[0].Bill.ID, ExpiresAt: time.Now().Add(time.Hour),
		}
	}
	return c
}

func mustChange(t testing.TB, s bill.Store, c bill.Change) {
	t.Helper()
	if err := s.Commit(ctx, c); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// told is a notification about a new bill.
func told(b bill.Bill, pending bool) bill.Notification {
	n := bill.Notification{
		ID: "n-" + b.ID, URL: "https://shop.example/told", Ledger: b.Ledger, Account: b.Account, Shop: b.Shop, OrderCode: b.OrderCode,
		Bill: b.ID, Type: bill.BillCreated, Payload: `{"type":"bill.created"}`, CreatedAt: noon, State: bill.Delivered, Revision: 1, Sequence: 1,
	}
	if pending {
		n.State, n.Due = bill.Pending, noon.Add(time.Minute)
	}
	return n
}

// paid is the payment of the bill that c has created.
func paid(c bill.Change) bill.Change {
	b := c.Bills[0].Bill
	b.Status, b.SettledBy, b.Due, b.Version, b.Revision = bill.Success, bill.ByWebhook, time.Time{}, 2, 2
	record, _ := c.Order.With(b)
	record.Revision++
	return bill.Change{Order: &record, Bills: []bill.BillChange{{
		Bill: b, Events: []bill.Event{{Kind: bill.EventReportedPaid, At: noon, Source: bill.ByWebhook, From: bill.Created, To: bill.Success, Version: 2}},
	}}}
}

func mustBackUp(t testing.TB, s *store) ([]byte, bill.Manifest) {
	t.Helper()
	var file bytes.Buffer
	m, err := s.Backup(ctx, &file)
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), m
}

// target returns a folder that is not there yet, in one that is.
func target(t testing.TB) string { return filepath.Join(t.TempDir(), "new", "store") }

func mustRestore(t testing.TB, file []byte) (dir string) {
	t.Helper()
	dir = target(t)
	if _, err := Restore(ctx, bytes.NewReader(file), dir, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantWhole fails the test unless Check finds nothing.
func wantWhole(t testing.TB, dir string) Findings {
	t.Helper()
	f, err := Check(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range f.Found {
		t.Errorf("%s: %s", found.Kind, found.Text)
	}
	return f
}

// everything returns all that a store holds, but what a restore has anew.
func everything(t testing.TB, s *store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := s.db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, nil)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			if key := item.Key(); key[0] == kindState || key[0] == kindRestored {
				continue
			}
			value, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			all[string(item.Key())] = fmt.Sprint(item.ExpiresAt(), string(value))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantEverything(t testing.TB, s *store, want map[string]string) {
	t.Helper()
	got := everything(t, s)
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("record %q: %q, want %q", key, got[key], value)
		}
	}
}

func TestABackupIsRestoredToTheLastRecord(t *testing.T) {
	s := lived(t, t.TempDir(), 250)
	file, m := mustBackUp(t, s)
	want := everything(t, s)
	if m.Format != 1 || m.Store != s.committer.held.Store || m.Sequence != s.committer.held.Sequence || m.Bills != 250 ||
		m.Records != uint64(len(want)+1) || m.At.Location() != time.UTC || time.Since(m.At) > time.Minute {
		t.Errorf("manifest: %+v", m)
	}
	if verified, err := VerifyBackup(ctx, bytes.NewReader(file), nil); err != nil || verified != m {
		t.Errorf("verified: %+v, %v; want %+v", verified, err, m)
	}
	dir := target(t)
	var bytesRead int64
	var records uint64
	restored, err := Restore(ctx, bytes.NewReader(file), dir, func(b int64, r uint64) { bytesRead, records = b, r })
	if err != nil || restored != m || records != m.Records || bytesRead == 0 || bytesRead > m.Bytes {
		t.Fatalf("restored: %+v, %v; %d bytes, %d records", restored, err, bytesRead, records)
	}
	f := wantWhole(t, dir)
	if f.Bills != 250 || f.Orders != 250 || f.Notifications != 250 || f.Records != m.Records+1 {
		t.Errorf("%+v", f)
	}
	again, logs := observed(t, dir)
	wantEverything(t, again, want)
	if logs.Len() > 0 {
		t.Errorf("logged: %v", logs.All())
	}
	if held := again.committer.held; held.Store == m.Store || held.Store == "" || held.Sequence != m.Sequence+1 || held.Bills != m.Bills {
		t.Errorf("its state: %+v", held)
	}
	mustChange(t, again, change("new"))
	mustClose(t, again)
	wantWhole(t, dir)
}

func TestABackupsFirstAndLastLineAreForPeople(t *testing.T) {
	file, m := mustBackUp(t, lived(t, t.TempDir(), 3))
	lines := bytes.Split(file, []byte("\n"))
	for line, words := range map[string][]string{
		string(lines[0]):            {`{"qlinkBackup":1,"at":"`, m.Store, `"bills":3`},
		string(lines[len(lines)-2]): {`{"records":` + strconv.FormatUint(m.Records, 10), m.SHA256},
	} {
		for _, word := range words {
			if !strings.Contains(line, word) {
				t.Errorf("%s\ndoes not say %s", line, word)
			}
		}
	}
}

func TestAnEmptyStoreIsBackedUpAndRestored(t *testing.T) {
	file, _ := mustBackUp(t, mustOpen(t, t.TempDir()))
	dir := mustRestore(t, file)
	wantWhole(t, dir)
	mustChange(t, mustOpen(t, dir), change("1"))
}

// Writers pay orders while the store is backed up. What they had done before is
// there; what is there of the rest is a prefix of what each did.
func TestABackupBesideWritersIsOneMoment(t *testing.T) {
	s := lived(t, t.TempDir(), 800) // some blocks
	const writers = 4
	var mu sync.Mutex
	var acknowledged, before [writers]int
	stop := make(chan struct{})
	var tasks sync.WaitGroup
	for w := range writers {
		tasks.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				c := change(fmt.Sprintf("w%d-%d", w, n))
				if errors.Join(s.Commit(ctx, c), s.Commit(ctx, paid(c))) != nil {
					t.Error("a writer was held up")
					return
				}
				mu.Lock()
				acknowledged[w] = n + 1
				mu.Unlock()
			}
		})
	}
	for all := false; !all; { // until each has begun
		mu.Lock()
		before = acknowledged
		all = !slices.Contains(before[:], 0)
		mu.Unlock()
		runtime.Gosched()
	}
	var file bytes.Buffer
	m, err := s.Backup(ctx, &slowly{Writer: &file, started: func() {
		<-time.After(200 * time.Millisecond) // they go on meanwhile
	}})
	close(stop)
	tasks.Wait()
	if err != nil {
		t.Fatal(err)
	}
	dir := mustRestore(t, file.Bytes())
	wantWhole(t, dir)
	got := mustOpen(t, dir)
	total := 800
	for w := range writers {
		held := 0
		for ; ; held++ {
			b, err := got.Bill(ctx, fmt.Sprintf("w%d-%d", w, held))
			if errors.Is(err, bill.ErrNotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if b.Status != bill.Success { // it was just being paid, so it is the last
				held++
				break
			}
		}
		total += held
		if held < before[w] || held > acknowledged[w]+1 {
			t.Errorf("writer %d: %d are there; %d were acknowledged before, %d in the end", w, held, before[w], acknowledged[w])
		}
	}
	if uint64(total) != m.Bills {
		t.Errorf("%d bills without a hole, and %d in all", total, m.Bills)
	}
}

// slowly is a writer with something to do at the first write and before each.
type slowly struct {
	io.Writer
	begin, started func()
}

func (s *slowly) Write(p []byte) (int, error) {
	if s.begin != nil {
		s.begin()
		s.begin = nil
	}
	s.started()
	return s.Writer.Write(p)
}

func TestABackupEndsWithItsStoreWhichDoesNotWaitForIt(t *testing.T) {
	s := lived(t, t.TempDir(), 800)
	stuck, free := make(chan struct{}), make(chan struct{})
	w := &slowly{Writer: io.Discard, started: func() {}, begin: func() {
		close(stuck)
		<-free
	}}
	ended := make(chan error)
	go func() {
		_, err := s.Backup(ctx, w)
		ended <- err
	}()
	<-stuck
	mustClose(t, s) // while nobody reads the backup
	close(free)
	if err := <-ended; !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("Backup: %v", err)
	}
}

func TestABackupEndsWithItsContextAndWithItsWriter(t *testing.T) {
	s := lived(t, t.TempDir(), 800)
	cancelled, cancel := context.WithCancel(ctx)
	if _, err := s.Backup(cancelled, &slowly{Writer: io.Discard, begin: cancel, started: func() {}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	r, w := io.Pipe()
	gone := errors.New("gone")
	go func() { _, _ = io.CopyN(io.Discard, r, 5000); _ = r.CloseWithError(gone) }()
	if _, err := s.Backup(ctx, w); !errors.Is(err, gone) {
		t.Errorf("the reader has gone: %v", err)
	}
	if _, m := mustBackUp(t, s); m.Bills != 800 {
		t.Errorf("afterwards: %+v", m)
	}
}

func TestABackupNeverHoldsDamage(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, *badgerdb.DB){
		"a flipped record":         func(t *testing.T, db *badgerdb.DB) { flip(t, db, textKey(kindBill, "7")) },
		"a record that is empty":   func(t *testing.T, db *badgerdb.DB) { put(t, db, textKey(kindDetails, "7"), nil) },
		"a bill that is not there": func(t *testing.T, db *badgerdb.DB) { drop(t, db, textKey(kindBill, "7")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := lived(t, t.TempDir(), 20)
			damage(t, s.db)
			var file bytes.Buffer
			if _, err := s.Backup(ctx, &file); !errors.Is(err, ErrDamaged) {
				t.Errorf("Backup: %v", err)
			}
			wantNoRestore(t, file.Bytes(), ErrBadBackup)
		})
	}
}

func TestABackupOfADamagedTableFails(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, lived(t, dir, 200))
	s := mustOpen(t, dir)
	path, content := theTable(t, dir)
	content[len(content)/3] ^= 1
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteAt(content, 0) // in place: it is mapped
	}
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(ctx, io.Discard); !errors.Is(err, ErrDamaged) {
		t.Errorf("Backup: %v", err)
	}
}

// put writes behind the store's back.
func put(t *testing.T, db *badgerdb.DB, key, value []byte) {
	t.Helper()
	if err := db.Update(func(txn *badgerdb.Txn) error { return txn.Set(key, value) }); err != nil {
		t.Fatal(err)
	}
}

// drop deletes behind the store's back.
func drop(t *testing.T, db *badgerdb.DB, key []byte) {
	t.Helper()
	if err := db.Update(func(txn *badgerdb.Txn) error { return txn.Delete(key) }); err != nil {
		t.Fatal(err)
	}
}

// wantNoRestore fails the test unless a restore of the file fails and leaves
// nothing.
func wantNoRestore(t *testing.T, file []byte, want error) {
	t.Helper()
	parent := t.TempDir()
	if _, err := Restore(ctx, bytes.NewReader(file), filepath.Join(parent, "a", "b"), nil); !errors.Is(err, want) {
		t.Errorf("Restore: %v, want %v", err, want)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("it has left %v, %v", left, err)
	}
}

func TestABackupThatWasCutAnywhereIsRefused(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	for length := range file {
		if _, err := VerifyBackup(ctx, bytes.NewReader(file[:length]), nil); !errors.Is(err, ErrBadBackup) {
			t.Errorf("cut to %d of %d bytes: %v", length, len(file), err)
		}
	}
	for _, length := range []int{0, 1, 100, len(file) / 2, len(file) - 100, len(file) - 1} {
		wantNoRestore(t, file[:length], ErrBadBackup)
	}
}

func TestABackupWithAWrongByteAnywhereIsRefused(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 3))
	for at := range file {
		for bit := range 8 {
			file[at] ^= 1 << bit
			if _, err := VerifyBackup(ctx, bytes.NewReader(file), nil); !errors.Is(err, ErrBadBackup) {
				t.Errorf("bit %d of byte %d of %d: %v", bit, at, len(file), err)
			}
			file[at] ^= 1 << bit
		}
	}
	for range 10 {
		at := rand.N(len(file))
		file[at] ^= 0x10
		wantNoRestore(t, file, ErrBadBackup)
		file[at] ^= 0x10
	}
	wantNoRestore(t, append(bytes.Clone(file), '\n'), ErrBadBackup)
	if _, err := VerifyBackup(ctx, bytes.NewReader(file), nil); err != nil {
		t.Errorf("as it was: %v", err)
	}
}

// blocks returns the blocks of a backup, and what comes before and after.
func blocks(t *testing.T, file []byte) (head []byte, all [][]byte, tail []byte) {
	t.Helper()
	first := bytes.IndexByte(file, '\n') + 1
	head, tail = file[:first], file[first:]
	for {
		length := int(tail[0])<<24 | int(tail[1])<<16 | int(tail[2])<<8 | int(tail[3])
		if length == 0 {
			return head, all, tail
		}
		all, tail = append(all, tail[:8+length]), tail[8+length:]
	}
}

func TestABackupWhoseBlocksWereMovedIsRefused(t *testing.T) {
	file, _ := mustBackUp(t, lived(t, t.TempDir(), 800))
	head, all, tail := blocks(t, file)
	if len(all) < 3 {
		t.Fatalf("%d blocks", len(all))
	}
	for name, order := range map[string][]int{"swapped": {1, 0, 2}, "left out": {0, 2}, "twice": {0, 1, 1, 2}} {
		t.Run(name, func(t *testing.T) {
			moved := bytes.Clone(head)
			for _, i := range order {
				moved = append(moved, all[i]...)
			}
			for _, rest := range all[3:] {
				moved = append(moved, rest...)
			}
			wantNoRestore(t, append(moved, tail...), ErrBadBackup)
		})
	}
}

// A backup whose sums are right and whose content is not comes from nobody's
// store.
func TestABackupThatSaysOneThingAndHoldsAnotherIsRefused(t *testing.T) {
	mine := stateRecord{state: state{Store: "s", Sequence: 3, Bills: 1}}
	sealed := func(key []byte, v any) backupRecord {
		w, err := sealedWrite(key, v)
		if err != nil {
			t.Fatal(err)
		}
		return backupRecord{key: key, value: w.value}
	}
	one := sealed(textKey(kindBill, "1"), &change("1").Bills[0].Bill)
	flipped := backupRecord{key: one.key, value: append(bytes.Clone(one.value[:len(one.value)-1]), 0)}
	for name, records := range map[string][]backupRecord{
		"no state":          {one},
		"another state":     {one, sealed(stateKey, stateRecord{state: state{Store: "s", Sequence: 4, Bills: 1}})},
		"a bill is missing": {sealed(stateKey, mine)},
		"a damaged record":  {flipped, sealed(stateKey, mine)},
		"the wrong order":   {sealed(stateKey, mine), one},
		"a record twice":    {one, one, sealed(stateKey, mine)},
	} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			b, err := newBackupWriter(&file)
			if err == nil {
				err = b.begin(backupHeader{Format: 1, At: noon, Store: "s", Sequence: 3, Bills: 1})
			}
			for _, r := range records {
				b.add(r)
			}
			if _, end := b.finish(); errors.Join(err, end) != nil {
				t.Fatal(err, end)
			}
			wantNoRestore(t, file.Bytes(), ErrBadBackup)
		})
	}
}

func TestABackupOfANewerVersionIsNamedAsSuch(t *testing.T) {
	wantNoRestore(t, []byte(`{"qlinkBackup":2,"store":"s"}`+"\n"), ErrNewerFormat)
	wantNoRestore(t, []byte("PK\x03\x04 an archive\n"), ErrBadBackup)
}

func FuzzNoFileMakesARestorePanic(f *testing.F) {
	f.Add([]byte(`{"qlinkBackup":1,"store":"s"}` + "\n\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		_, _ = VerifyBackup(ctx, bytes.NewReader(file), nil)
	})
}
