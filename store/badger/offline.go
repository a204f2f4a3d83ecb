package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Offline is a store that no process has open, opened to be read. Nothing of it
// changes by that, not even what Badger would mend when it opens it. It is a
// bill.Store that commits nothing.
type Offline struct {
	*store

	// Doubt is nil where the store is as it was left, and else says why it may not
	// be: the witness speaks against it, so that what is read may be older than what
	// was there; or another version of this module wrote it last, so that what is
	// listed, found by name or counted may not be all there is; or it was carried
	// into another store, where more may have happened since.
	Doubt error

	shadow *shadow
}

// OpenOffline opens the store in the folder dir, which has to be there. While it
// is open, no process can open the store to write.
//
// Errors wrap ErrLocked where a process has it open, ErrNewerFormat, or
// ErrDamaged; Check says what is damaged.
func OpenOffline(ctx context.Context, dir string) (*Offline, error) {
	o, err := openOffline(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s to read: %w", dir, err)
	}
	return o, nil
}

func openOffline(ctx context.Context, dir string) (*Offline, error) {
	shadow, err := castShadow(dir)
	if err != nil {
		return nil, err
	}
	_, err = verifyTables(ctx, listedTables(shadow.dir), verifyAtOnce)
	var db *badgerdb.DB
	if err == nil {
		db, err = shadow.open()
	}
	if err != nil {
		return nil, errors.Join(err, shadow.close())
	}
	s := readOnly(shadow.dir, db)
	if _, err = loadState(db); errors.Is(err, ErrNewerFormat) {
		return nil, errors.Join(err, db.Close(), shadow.close())
	}
	if err := s.loadMarks(); err != nil {
		return nil, errors.Join(err, db.Close(), shadow.close())
	}
	seen, found, doubt := shadow.witnessed()
	if doubt == nil {
		doubt = s.doubt(seen, found)
	}
	if doubt == nil {
		doubt = s.unlike()
	}
	if doubt == nil {
		doubt = s.refused()
	}
	return &Offline{store: s, Doubt: doubt, shadow: shadow}, nil
}

// readOnly is a store whose committer takes nothing.
func readOnly(dir string, db *badgerdb.DB) *store {
	s := &store{dir: dir, logger: zap.NewNop, db: db, moments: moments{db: db}, now: time.Now}
	s.moments.renew()
	s.committer = &committer{db: db, logger: zap.NewNop, stopped: true, ended: make(chan struct{})}
	s.committer.work.L = &s.committer.mu
	close(s.committer.ended)
	return s
}

// doubt returns what the witness has to say against the store.
func (s *store) doubt(seen testimony, found bool) error {
	if !found {
		return errors.New("the store has no witness, so that nobody knows whether changes are missing")
	}
	held, err := loadState(s.db)
	if err == nil {
		err = seen.testifyAgainst(held.state)
	}
	if err == nil {
		err = checkUnbroken(s.db, listedTables(s.dir))
	}
	return err
}

// unlike returns whether another version of this module wrote the store last, as
// an error.
func (s *store) unlike() error {
	if held, err := loadState(s.db); err != nil || held.Layout == currentLayout {
		return err
	}
	return errors.New("another version wrote the store last, and it gets the indexes of this one when it is opened next")
}

// Commit writes nothing.
func (o *Offline) Commit(context.Context, bill.Change) error {
	return fmt.Errorf("%w: it is open to be read alone", bill.ErrUnavailable)
}

// Reopen writes nothing either: a store is reopened by the process that has it.
func (o *Offline) Reopen(context.Context) error {
	return fmt.Errorf("%w: it is open to be read alone", bill.ErrUnavailable)
}

// Size returns the bytes that the store's files take on the disk.
func (o *Offline) Size() (uint64, error) { return sizeOf(o.shadow.of) }

// FreeSpace returns the bytes free on the store's disk.
func (o *Offline) FreeSpace() (uint64, error) { return freeSpace(o.shadow.of) }

// Close lets other processes open the store again.
func (o *Offline) Close() error {
	o.hub.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return bill.ErrUnavailable
	}
	o.closed = true
	o.moments.end()
	return errors.Join(o.db.Close(), o.shadow.close())
}

// shadow is a folder for Badger to open instead of the store's: even to read,
// Badger deletes tables that it does not know, and a store that was not closed
// it opens only once it may cut the write-ahead logs. So tables, which are read
// in place, are links here, and the little else is copied.
type shadow struct {
	of   string // the store's folder
	dir  string
	lock *os.File
}

// castShadow locks the store and makes its shadow.
func castShadow(dir string) (*shadow, error) {
	dir, err := resolve(dir)
	if err != nil {
		return nil, err
	}
	if !isStore(dir) {
		return nil, errors.New("there is no store")
	}
	lock, err := lockToRead(dir)
	if err != nil {
		return nil, err
	}
	s := &shadow{of: dir, lock: lock}
	if s.dir, err = os.MkdirTemp("", "qlink-read-"); err == nil {
		err = s.fill()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *shadow) fill() error {
	entries, err := os.ReadDir(s.of)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		switch filepath.Ext(name) {
		case ".mem":
			err = s.copy(name)
		case ".sst":
			continue // see below
		default:
			if slices.Contains([]string{badgerdb.ManifestFilename, badgerdb.KeyRegistryFileName, witnessName}, name) {
				err = s.copy(name)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, file := range listedTables(s.of) {
		name := filepath.Base(file.path)
		if exists(file.path) {
			err = errors.Join(err, os.Symlink(file.path, filepath.Join(s.dir, name)))
		}
	}
	return err
}

// copy copies a file, a log as far as it goes.
func (s *shadow) copy(name string) error {
	content, err := os.ReadFile(filepath.Join(s.of, name))
	if err != nil {
		return err
	}
	if filepath.Ext(name) == ".mem" {
		if len(content) < logHeader {
			return nil // it holds nothing, and Badger ends the process over it
		}
		content = content[:logEnd(content)]
	}
	return os.WriteFile(filepath.Join(s.dir, name), content, 0o600)
}

func (s *shadow) open() (*badgerdb.DB, error) {
	return openDatabase(databaseOptions(s.dir, zap.NewNop).WithReadOnly(true))
}

// witnessed reads the witness as it was when the shadow was made.
func (s *shadow) witnessed() (testimony, bool, error) { return readTestimony(s.dir) }

// inStore returns the path of the store's own file.
func (s *shadow) inStore(path string) string { return filepath.Join(s.of, filepath.Base(path)) }

func (s *shadow) close() error {
	var err error
	if s.dir != "" {
		err = os.RemoveAll(s.dir)
	}
	return errors.Join(err, s.lock.Close())
}

// Interface guards
var (
	_ bill.Store = (*Offline)(nil)
)
