package badger

import (
	"bytes"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// write is one key to be set, or removed.
type write struct {
	key       []byte
	value     []byte
	expiresAt uint64 // Unix seconds; 0: never
	remove    bool
}

// writeSet is all that one operation writes.
type writeSet struct {
	writes    []write
	created   uint64        // bills that were not there before
	counted   census.Counts // what there is more of, or less
	committed func()        // called once it is durable, if not nil; must not block
}

func (s *writeSet) add(writes ...write) {
	s.writes = append(s.writes, writes...)
}

// replace removes the keys that are only in before, and sets those that are
// only in after, with no value.
func (s *writeSet) replace(before, after [][]byte) {
	missing := func(keys [][]byte, key []byte) bool {
		return !slices.ContainsFunc(keys, func(other []byte) bool { return bytes.Equal(other, key) })
	}
	for _, key := range before {
		if missing(after, key) {
			s.add(write{key: key, remove: true})
		}
	}
	for _, key := range after {
		if missing(before, key) {
			s.add(write{key: key})
		}
	}
}

// size is what one or more write sets take of a transaction, never less than
// what Badger itself counts.
type size struct {
	bytes, entries int64
}

// Badger's limits for a key and for a value that stays out of the value log:
// ours has none that do not, so that it needs no garbage collection.
const (
	maxKey   = 65000 - 1
	maxValue = 1<<20 - 1
)

// overhead is what Badger adds to key and value: two bytes of flags, and the
// version with the ten bytes it reckons for that.
const overhead = 2 + 10

func (s *writeSet) size() size {
	total := size{entries: int64(len(s.writes))}
	for _, w := range s.writes {
		total.bytes += int64(len(w.key)+len(w.value)) + overhead
	}
	return total
}

// refusable reports whether Badger would refuse one of the writes by itself.
func (s *writeSet) refusable() bool {
	return slices.ContainsFunc(s.writes, func(w write) bool { return len(w.key) > maxKey || len(w.value) > maxValue })
}

func (a size) plus(b size) size { return size{a.bytes + b.bytes, a.entries + b.entries} }

func (a size) within(limit size) bool { return a.bytes <= limit.bytes && a.entries <= limit.entries }

func (a size) half() size { return size{a.bytes / 2, a.entries / 2} }

// largest returns what one transaction of db can hold, less the store's state
// and the entry with which Badger ends it.
func largest(db *badgerdb.DB) size {
	const lastEntry = 64
	return size{
		bytes:   db.MaxBatchSize() - lastEntry - stateRoom.bytes,
		entries: db.MaxBatchCount() - 2 - stateRoom.entries,
	}
}

// apply writes the set into the transaction.
func (s *writeSet) apply(txn *badgerdb.Txn) error {
	for _, w := range s.writes {
		if err := w.apply(txn); err != nil {
			return err
		}
	}
	return nil
}

func (w write) apply(txn *badgerdb.Txn) error {
	if w.remove {
		return txn.Delete(w.key)
	}
	entry := badgerdb.NewEntry(w.key, w.value)
	entry.ExpiresAt = w.expiresAt
	return txn.SetEntry(entry)
}
