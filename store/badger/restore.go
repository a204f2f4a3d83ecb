package badger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// ErrNotEmpty is wrapped by errors about a folder that a restore would have to
// share with what is in it already.
var ErrNotEmpty = errors.New("the folder is not empty")

// unfinished is the damage that the witness tells of from a restore's beginning
// to its end: what a restore that was killed leaves behind is no store.
const unfinished = "a restore into this folder is under way, or was interrupted: then remove the folder, and restore once more"

// minFreeToRestore is what stays free while a store is restored: more than the
// tables that are being made, which are mapped, take together.
const minFreeToRestore = minFreeSpace

// VerifyBackup reads a whole backup and returns its manifest; an error that
// wraps ErrBadBackup where it is not one, or damaged. progress, if not nil, is
// told again and again how many bytes and records have been read; it must not
// block.
func VerifyBackup(ctx context.Context, r io.Reader, progress func(bytes int64, records uint64)) (bill.Manifest, error) {
	b, err := openBackup(r)
	if err != nil {
		return bill.Manifest{}, err
	}
	defer b.close()
	return b.readAll(ctx, progress, func([]backupRecord) error { return nil })
}

// Restore makes a store out of a backup in the folder dir, which has to be empty
// or missing. The store has another id than the one that the backup was taken
// of, and its checkouts are closed until it is reopened (bill.Restorable). Only
// when the whole backup was read, found right and is on the disk does the
// folder become a store: after an error nothing is left behind, and what a
// killed restore leaves is refused by whoever opens it.
//
// Errors wrap ErrNotEmpty, ErrBadBackup, ErrNewerFormat, bill.ErrUnavailable where the disk has
// no room, or ctx's. progress is as for VerifyBackup.
func Restore(ctx context.Context, r io.Reader, dir string, progress func(bytes int64, records uint64)) (bill.Manifest, error) {
	m, err := restore(ctx, r, dir, progress)
	if err != nil {
		return bill.Manifest{}, fmt.Errorf("restore into %s: %w", dir, err)
	}
	return m, nil
}

func restore(ctx context.Context, r io.Reader, dir string, progress func(int64, uint64)) (m bill.Manifest, err error) {
	dir, err = resolve(dir)
	if err != nil {
		return bill.Manifest{}, err
	}
	if err := checkEmpty(dir); err != nil {
		return bill.Manifest{}, err
	}
	b, err := openBackup(r)
	if err != nil {
		return bill.Manifest{}, err
	}
	defer b.close()
	site, err := claim(dir, b.header.Size)
	if err != nil {
		return bill.Manifest{}, err
	}
	defer func() {
		switch {
		case errors.Is(err, ErrLocked): // somebody else was quicker, and it is theirs
			err = errors.Join(err, site.withdraw())
		case err != nil:
			err = errors.Join(err, site.clear())
		}
	}()
	held, m, err := site.build(ctx, b, progress)
	if err != nil {
		return bill.Manifest{}, err
	}
	return m, site.open(held.state)
}

// checkEmpty refuses a folder with anything in it.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case exists(manifestPath(dir)):
		return fmt.Errorf("%w: there is a store in it", ErrNotEmpty)
	case len(entries) > 0:
		return fmt.Errorf("%w: %s is in it", ErrNotEmpty, entries[0].Name())
	}
	return nil
}

// site is a folder in which a store is being restored.
type site struct {
	dir     string
	made    string // the topmost folder that was made for it; "" where it was there
	minFree uint64 // bytes; below, nothing more is written
}

// claim makes the folder, or takes the empty one, and has its witness say that
// it is no store yet.
func claim(dir string, size uint64) (*site, error) {
	existing, made := dir, ""
	for !exists(existing) && filepath.Dir(existing) != existing {
		existing, made = filepath.Dir(existing), existing
	}
	if err := checkFreeSpace(existing, minFreeSpace+minFreeToRestore+size); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &site{dir: dir, made: made, minFree: minFreeToRestore}
	if err := s.stake(); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: another restore has begun", ErrNotEmpty)
	} else if err != nil {
		return nil, errors.Join(err, s.withdraw())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 1 {
		return nil, errors.Join(ErrNotEmpty, err, s.withdraw())
	}
	return s, nil
}

// withdraw takes the witness back, and leaves the rest to whom it belongs.
func (s *site) withdraw() error {
	err := os.Remove(filepath.Join(s.dir, witnessName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for dir := s.dir; s.made != "" && err == nil; dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil || dir == s.made { // it is not empty
			break
		}
	}
	return err
}

// stake writes the witness, which nobody else may have written.
func (s *site) stake() (err error) {
	record, err := seal([]byte(witnessName), testimony{Damage: unfinished})
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(s.dir, witnessName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(record)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return syncDirectory(s.dir)
}

// clear removes all that was made.
func (s *site) clear() error {
	if s.made != "" {
		return os.RemoveAll(s.made)
	}
	entries, err := os.ReadDir(s.dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, entry.Name())))
	}
	return err
}

// build makes the database, and returns the state that the store begins in.
func (s *site) build(ctx context.Context, b *backupReader, progress func(int64, uint64)) (held stateRecord, m bill.Manifest, err error) {
	options := databaseOptions(s.dir, zap.NewNop).
		WithBaseTableSize(128 << 10) // up to 16 tables are made at a time, each 32 times as large
	db, err := openDatabase(options)
	if err != nil {
		return stateRecord{}, bill.Manifest{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	from, m, err := s.fill(ctx, db, b, progress)
	if err != nil {
		return stateRecord{}, bill.Manifest{}, err
	}
	held = from.next(0, census.Counts{})
	held.Store = uuid.NewString()
	err = db.Update(func(txn *badgerdb.Txn) error {
		mark := restored{At: time.Now().UTC().Truncate(time.Microsecond), Backup: m.At, Store: from.Store}
		w, err := sealedWrite(restoredKey, mark)
		if err == nil {
			err = w.apply(txn)
		}
		if err == nil {
			err = held.apply(txn)
		}
		return err
	})
	return held, m, err
}

// fill writes the backup's records straight into sorted tables, and returns the
// state that they were in, which is not written.
func (s *site) fill(ctx context.Context, db *badgerdb.DB, b *backupReader, progress func(int64, uint64)) (held stateRecord, m bill.Manifest, err error) {
	writer := db.NewStreamWriter()
	if err := writer.Prepare(); err != nil {
		return stateRecord{}, bill.Manifest{}, err
	}
	// To be flushed after an error, too: to cancel it leaves goroutines behind.
	defer func() { err = errors.Join(err, writer.Flush()) }()
	var bills uint64
	m, err = b.readAll(ctx, progress, func(records []backupRecord) error {
		if err := checkFreeSpace(s.dir, s.minFree); err != nil {
			return err
		}
		for _, r := range records {
			switch r.key[0] {
			case kindBill:
				bills++
			case kindState:
				var err error
				if held, err = openRecord[stateRecord](r.key, r.value); err != nil {
					return fmt.Errorf("%w: %w", ErrBadBackup, err)
				}
				if err := held.legible(); err != nil {
					return err
				}
			}
		}
		return writeTables(writer, records)
	})
	h := b.header
	if err == nil && (held.Store != h.Store || held.Sequence != h.Sequence || held.Bills != h.Bills || bills != h.Bills) {
		err = fmt.Errorf("%w: its first line and its content differ", ErrBadBackup)
	}
	return held, m, err
}

// writeTables hands records over, but those that a restored store has anew.
func writeTables(writer *badgerdb.StreamWriter, records []backupRecord) error {
	buffer := z.NewBuffer(fullBlock, "qlink restore")
	defer func() { _ = buffer.Release() }() // of memory alone
	for _, r := range records {
		if r.key[0] != kindState && r.key[0] != kindRestored {
			badgerdb.KVToBuffer(&pb.KV{Key: r.key, Value: r.value, ExpiresAt: r.expiresAt, Version: 1, StreamId: 1}, buffer)
		}
	}
	return writer.Write(buffer)
}

// readAll hands on the records of the backup, a block at a time, each verified.
func (b *backupReader) readAll(ctx context.Context, progress func(int64, uint64), use func([]backupRecord) error) (bill.Manifest, error) {
	for {
		if err := ctx.Err(); err != nil {
			return bill.Manifest{}, err
		}
		records, err := b.next()
		if errors.Is(err, io.EOF) {
			return b.manifest()
		}
		if err != nil {
			return bill.Manifest{}, err
		}
		for _, r := range records {
			if err := r.verify(); err != nil {
				return bill.Manifest{}, fmt.Errorf("%w: %w", ErrBadBackup, err)
			}
		}
		if err := use(records); err != nil {
			return bill.Manifest{}, err
		}
		if progress != nil {
			progress(b.bytes, b.records)
		}
	}
}

// open makes the folder a store: everything in it is on the disk before its
// witness says so.
func (s *site) open(held state) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := syncFile(filepath.Join(s.dir, entry.Name())); err != nil {
			return err
		}
	}
	if err := writeTestimony(s.dir, testimony{state: held}); err != nil {
		return err
	}
	return s.syncParents()
}

// syncParents makes the folders durable that were made.
func (s *site) syncParents() error {
	for dir := s.dir; s.made != ""; dir = filepath.Dir(dir) {
		if err := syncDirectory(filepath.Dir(dir)); err != nil || dir == s.made {
			return err
		}
	}
	return nil
}

func syncFile(path string) (err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
