package badger

import (
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// state is how far a store has come, a part of its record under stateKey. The
// witness beside the store holds a copy, and by comparing the two the store
// notices that it has gone back.
type state struct {
	Store    string `json:"store"`    // random, given once
	Sequence uint64 `json:"sequence"` // how many transactions have written; the one that creates the record is the first
	Bills    uint64 `json:"bills"`    // how many were ever created
}

// stateRecord is what a store knows of itself: the record under stateKey,
// written anew by every transaction.
type stateRecord struct {
	state

	Format int           `json:"format,omitzero"` // no record in the store is of a later one (this one is JSON in every version); 0: early versions did not say
	Layout int           `json:"layout,omitzero"` // see currentLayout
	Counts census.Counts `json:"counts,omitzero"`
}

var stateKey = []byte{kindState}

// stateRoom is what the record takes of a transaction, at the most.
var stateRoom = size{bytes: 1024, entries: 1}

// next is the record of a transaction that creates so many bills, and changes
// what there is by so much. It is written with what that writes: so a store says
// which formats it may hold before it holds a record of any.
func (s stateRecord) next(created uint64, counted census.Counts) stateRecord {
	s.Format = newestFormat
	s.Sequence++
	s.Bills += created
	s.Counts = s.Counts.Plus(counted)
	return s
}

func (s stateRecord) apply(txn *badgerdb.Txn) error {
	w, err := sealedWrite(stateKey, s)
	if err != nil {
		return err
	}
	return w.apply(txn)
}

// legible returns an error where a later version has written records that this
// one does not know. To refuse the whole store is better than to fail at some of
// its bills, later on.
func (s stateRecord) legible() error {
	if s.Format <= newestFormat {
		return nil
	}
	return fmt.Errorf("%w: it may hold records of format %d, and this version knows none beyond %d; run the version that wrote it, or a later one, "+
		"or restore, into an empty folder, the backup from before it did", ErrNewerFormat, s.Format, newestFormat)
}

// isNew reports whether nothing was written yet but the record itself.
func (s state) isNew() bool { return s.Sequence == 1 && s.Bills == 0 }

// loadState reads the record; a store that has none has the zero one. One of a
// later version that holds what this one cannot read is an error.
func loadState(db *badgerdb.DB) (held stateRecord, err error) {
	err = db.View(func(txn *badgerdb.Txn) error {
		held, err = get[stateRecord](txn, stateKey)
		return err
	})
	if errors.Is(err, bill.ErrNotFound) {
		return stateRecord{}, nil
	}
	return held, errors.Join(err, held.legible())
}

// beginState gives the store its record. One that holds bills already comes
// from a version that kept none; they are counted, this once. One that holds
// nothing has the indexes of the day from its first one on.
func beginState(db *badgerdb.DB) (begun stateRecord, err error) {
	begun.state, begun.Format = state{Store: uuid.NewString(), Sequence: 1}, newestFormat
	err = db.Update(func(txn *badgerdb.Txn) error {
		if isEmpty(txn) {
			begun.Layout = currentLayout
		}
		it := iterate(txn, []byte{kindCreated})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			begun.Bills++
		}
		return begun.apply(txn)
	})
	if err != nil {
		return stateRecord{}, fmt.Errorf("give the store its id: %w", err)
	}
	return begun, nil
}

func isEmpty(txn *badgerdb.Txn) bool {
	it := iterate(txn, nil)
	defer it.Close()
	it.Rewind()
	return !it.Valid()
}

// checkUnbroken looks for transactions that are missing between others. Badger
// ends the replay of a write-ahead log at the first byte that is wrong, and
// goes on with the next log; and it deletes tables that a cut MANIFEST does
// not list any more. So of all that the given tables, those listed before it
// was opened, do not hold, every transaction's version of the state record has
// to be there, back to the newest in the tables.
//
// A compaction would drop the older ones, so it is called right after opening;
// where one came first it finds nothing.
func checkUnbroken(db *badgerdb.DB, listed []tableFile) error {
	return db.View(func(txn *badgerdb.Txn) error {
		options := badgerdb.DefaultIteratorOptions
		options.PrefetchValues = false
		options.AllVersions = true
		it := txn.NewKeyIterator(stateKey, options)
		defer it.Close()
		flushed, all := newestVersion(db.Tables(), listed)
		if !all {
			return nil
		}
		return unbroken(it, flushed)
	})
}

// newestVersion returns the newest version in the listed tables, and whether
// all of them are still there.
func newestVersion(tables []badgerdb.TableInfo, listed []tableFile) (newest uint64, all bool) {
	versions := make(map[uint64]uint64, len(tables))
	for _, table := range tables {
		versions[table.ID] = table.MaxVersion
	}
	for _, file := range listed {
		version, ok := versions[file.id]
		if !ok {
			return 0, false
		}
		newest = max(newest, version)
	}
	return newest, true
}

// unbroken walks the versions of the state record, newest first.
func unbroken(it *badgerdb.Iterator, flushed uint64) error {
	var last uint64
	for it.Rewind(); it.Valid(); it.Next() {
		held, err := value[state](it.Item())
		if err != nil {
			return err
		}
		if last != 0 && held.Sequence != last-1 {
			return missing(held.Sequence+1, last-1)
		}
		if last = held.Sequence; it.Item().Version() <= flushed {
			return nil
		}
	}
	if last > 1 {
		return missing(1, last-1)
	}
	return nil
}

// missing is the damage of a store without the given transactions.
func missing(first, last uint64) error {
	return fmt.Errorf("%w: the changes %d to %d are missing, while later ones are there: paid orders may be missing; %s",
		ErrDamaged, first, last, wayOut)
}

// wayOut ends the words about damage that only the witness tells.
const wayOut = "restore the newest backup of the whole folder, or, to go on with what is left, remove the file " + witnessName + " in it"

// identify compares the store with what its witness saw, and returns the state
// that it is in. Without a witness, and without a record, it is a new one.
func (s *store) identify(seen testimony, found bool, listed []tableFile) (stateRecord, error) {
	held, err := loadState(s.db)
	if err != nil {
		return stateRecord{}, err
	}
	if found {
		return held, s.checkAgainst(seen, held.state, listed)
	}
	if held.Store == "" {
		if held, err = beginState(s.db); err != nil {
			return stateRecord{}, err
		}
	}
	if !held.isNew() {
		s.logger().Warn("the store has no witness, so nobody knows whether changes are missing; it gets a new one",
			zap.String("dir", s.dir), zap.Uint64("bills", held.Bills))
	}
	return held, nil
}

// checkAgainst returns the damage that shows when the store is compared with
// what its witness saw.
func (s *store) checkAgainst(seen testimony, held state, listed []tableFile) error {
	if err := seen.testifyAgainst(held); err != nil {
		return err
	}
	damage := checkUnbroken(s.db, listed)
	if !errors.Is(damage, ErrDamaged) {
		return damage
	}
	// The next opening would find the same store without a gap.
	seen.Damage = damage.Error()
	return errors.Join(damage, writeTestimony(s.dir, seen))
}

// testifyAgainst compares what the store holds with what its witness saw.
func (s state) testifyAgainst(held state) error {
	switch {
	case held.Store == "":
		return fmt.Errorf("%w: it is not the store that was here, or all of it is gone: change %d with %d bills had been written; %s",
			ErrDamaged, s.Sequence, s.Bills, wayOut)
	case held.Store != s.Store:
		return fmt.Errorf("%w: it is another store (%s) than the one that was here (%s): files of two were mixed; %s",
			ErrDamaged, held.Store, s.Store, wayOut)
	case held.Sequence < s.Sequence || held.Bills < s.Bills:
		return fmt.Errorf("%w: the store has gone back: it is at change %d with %d bills, while change %d with %d bills had been written: paid orders may be missing; %s",
			ErrDamaged, held.Sequence, held.Bills, s.Sequence, s.Bills, wayOut)
	}
	return nil
}
