// Package badger keeps bills in an embedded Badger database: the default
// store, as the guest module qlink.stores.badger.
//
// One goroutine, the committer, is the only way to write; it runs what is
// queued as one transaction, because Badger syncs each one by itself. Nothing
// of Badger shows outside the package. It knows no payments: it keeps what the
// engine hands over, and checks revisions.
//
// Opened through the registry in package store, called by the engine.
package badger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/watch"
)

// store implements bill.Store.
type store struct {
	dir       string
	minFree   uint64 // bytes; below, nothing is written
	logger    func() *zap.Logger
	db        *badgerdb.DB
	witness   *witness
	moments   moments // that reads see
	committer *committer
	verifying verification
	openBills atomic.Int64
	hub       watch.Hub
	now       func() time.Time

	checkoutsClosed atomic.Int64                   // since when, in nanoseconds since 1970; 0: they are open
	migration       atomic.Pointer[bill.Migration] // nil: it has no part in one

	// Reads hold the lock shared: the database's files are mapped, and must
	// not be unmapped under them.
	mu     sync.RWMutex
	closed bool
}

// open opens the store in dir, which has to be resolved, unless another one has
// taken its place.
func open(ctx context.Context, dir string, env bill.Env) (*store, error) {
	return openFor(ctx, dir, env, (*store).refused)
}

// openFor opens the store in dir for who admits it, or else closes it again.
func openFor(ctx context.Context, dir string, env bill.Env, admit func(*store) error) (*store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	logger := env.Logger
	if logger == nil {
		logger = zap.NewNop
	}
	if err := prepareDirectory(dir, logger()); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	seen, found, err := readTestimony(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	tables := listedTables(dir)
	unverified, err := verifyTables(ctx, tables, verifyAtOnce)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	db, err := openDatabase(databaseOptions(dir, logger))
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := &store{dir: dir, minFree: minFreeToGoOn, logger: logger, db: db, moments: moments{db: db}, now: time.Now}
	held, err := s.identify(seen, found, tables)
	if err == nil {
		held, err = s.layOut(ctx, held)
	}
	if err == nil {
		err = s.countOpenBills()
	}
	if err == nil {
		err = s.loadMarks()
	}
	if err == nil {
		err = admit(s)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), db.Close())
	}
	s.witness = startWitness(dir, logger, seen)
	s.witness.saw(held.state)
	s.moments.renew()
	s.committer = startCommitter(db, logger, held, s.moments.writing, s.saw, s.hub.Close, env.Committed)
	s.verifyLater(unverified)
	return s, nil
}

// ErrLocked is wrapped by errors about a store that a process has open.
var ErrLocked = errors.New("it is locked: another process uses it")

// openDatabase opens Badger, and puts into words what it only hints at.
func openDatabase(options badgerdb.Options) (db *badgerdb.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%w, restore it from a backup: %v", ErrDamaged, p)
		}
	}()
	db, err = badgerdb.Open(options)
	switch {
	case err == nil:
		return db, nil
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		return nil, ErrLocked
	case strings.Contains(err.Error(), "magic number doesn't match"):
		return nil, fmt.Errorf("it is another program's database, or %w: %w", ErrNewerFormat, err)
	case strings.Contains(err.Error(), "permission denied"):
		return nil, err
	case isFull(err):
		return nil, fmt.Errorf("%w: the disk is full, or a limit reached: %w", bill.ErrUnavailable, err)
	}
	return nil, fmt.Errorf("%w, restore it from a backup: %w", ErrDamaged, err)
}

// isFull tells a disk that takes no more from one that holds damage. Badger
// keeps no more than the words of most errors.
func isFull(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}, func(full syscall.Errno) bool {
		return strings.Contains(err.Error(), full.Error())
	})
}

func (s *store) countOpenBills() error {
	return s.db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, []byte{kindOpen})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			s.openBills.Add(1)
		}
		return nil
	})
}

// iterate returns an iterator over the keys that begin with prefix, which
// fetches no values ahead.
func iterate(txn *badgerdb.Txn, prefix []byte) *badgerdb.Iterator {
	options := badgerdb.DefaultIteratorOptions
	options.PrefetchValues = false
	options.Prefix = prefix
	return txn.NewIterator(options)
}

// saw is told of each commit before its callers are.
func (s *store) saw(reached state) {
	s.moments.advance()
	s.witness.saw(reached)
}

// view runs a read on one snapshot of the store.
func (s *store) view(ctx context.Context, read func(txn *badgerdb.Txn) error) error {
	return s.reading(ctx, func() error {
		now := s.moments.enter()
		defer s.moments.leave(now)
		return read(now.txn)
	})
}

// reading runs a read while the store is there.
func (s *store) reading(ctx context.Context, read func() error) (err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// A commit that fails can leave Badger without a table to read from: a read
	// that is under way then panics, and not all who read could bear it.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic in a read: %v", bill.ErrUnavailable, p)
		}
	}()
	return read()
}

// usable returns why the store cannot be read, or nil. The caller holds the
// lock.
func (s *store) usable() error {
	if s.closed {
		return bill.ErrUnavailable
	}
	return s.committer.broken()
}

// Broken returns the error of the commit that failed, or the damage that was
// found, or nil.
func (s *store) Broken() error { return s.committer.broken() }

// get reads the record under key, as txn sees it. Whatever keeps it from
// being read, other than its absence, is bill.ErrUnavailable: what cannot be
// read must not pass for what never was.
func get[T any](txn *badgerdb.Txn, key []byte) (T, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		var none T
		return none, bill.ErrNotFound
	}
	if err != nil {
		var none T
		return none, fmt.Errorf("%w: read %.200q: %w", bill.ErrUnavailable, key, err)
	}
	return value[T](item)
}

// value reads the record of an item.
func value[T any](item *badgerdb.Item) (v T, err error) {
	readErr := item.Value(func(record []byte) error {
		v, err = openRecord[T](item.Key(), record)
		return nil
	})
	if err := errors.Join(readErr, err); err != nil {
		return v, fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
	}
	return v, nil
}

// read reads one record.
func read[T any](ctx context.Context, s *store, key []byte) (v T, err error) {
	err = s.view(ctx, func(txn *badgerdb.Txn) (err error) {
		v, err = get[T](txn, key)
		return err
	})
	return v, err
}

// readRecent reads one record of a kind that is held while it is recent.
func readRecent[T any](ctx context.Context, s *store, key []byte) (v T, err error) {
	err = s.reading(ctx, func() (err error) {
		var held bool
		if v, held = recall[T](&s.moments, key); held {
			return nil
		}
		now := s.moments.enter()
		defer s.moments.leave(now)
		if v, err = get[T](now.txn, key); err == nil {
			keep(&s.moments, now, key, v)
		}
		return err
	})
	return v, err
}

func (s *store) Bill(ctx context.Context, id string) (bill.Bill, error) {
	return readRecent[bill.Bill](ctx, s, textKey(kindBill, id))
}

func (s *store) Details(ctx context.Context, id string) (bill.Details, error) {
	return read[bill.Details](ctx, s, textKey(kindDetails, id))
}

func (s *store) Order(ctx context.Context, key bill.OrderKey) (bill.OrderRecord, error) {
	record, err := readRecent[bill.OrderRecord](ctx, s, orderKey(key))
	if err != nil {
		return bill.OrderRecord{}, err
	}
	record.Key, record.Attempts = key, slices.Clone(record.Attempts) // those of a held one are nobody's to change
	return record, nil
}

func (s *store) Idempotent(ctx context.Context, key string, now time.Time) (bill.Idempotency, error) {
	answer, err := read[bill.Idempotency](ctx, s, textKey(kindIdempotency, key))
	if err != nil {
		return bill.Idempotency{}, err
	}
	if !now.Before(answer.ExpiresAt) {
		return bill.Idempotency{}, bill.ErrNotFound
	}
	answer.Key = key
	return answer, nil
}

func (s *store) History(ctx context.Context, id string) (events []bill.Event, err error) {
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		it := iterate(txn, historyPrefix(id))
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			event, err := value[bill.Event](it.Item())
			if err != nil {
				return err
			}
			events = append(events, event)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

func (s *store) OpenBills(ctx context.Context) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return 0, err
	}
	return int(s.openBills.Load()), ctx.Err()
}

func (s *store) Watch(id string) (versions <-chan uint64, stop func()) {
	return s.hub.Watch(id)
}

func (s *store) WatchAll() bill.Feed { return s.hub.All() }

// Close commits what is queued, waits for reads, and closes the database.
func (s *store) Close() error {
	s.committer.stop()
	s.hub.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return bill.ErrUnavailable
	}
	s.closed = true
	s.moments.end()
	s.verifying.stop()
	if err := errors.Join(s.witness.stop(), s.db.Close()); err != nil {
		return fmt.Errorf("close store %s: %w", s.dir, err)
	}
	return nil
}

// Interface guards
var (
	_ bill.Store     = (*store)(nil)
	_ bill.Breakable = (*store)(nil)
)
