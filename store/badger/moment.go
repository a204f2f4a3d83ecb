package badger

import (
	"sync"

	badgerdb "github.com/dgraph-io/badger/v4"
)

// moment is the store as of one commit: a transaction that all reads share
// until the next one. To begin and end one for each read costs more than most
// reads: six ways through channels of Badger. And one that begins during a
// commit waits for its sync, though nobody was promised to see it yet.
//
// Badger says that a transaction is not safe for concurrent use. One that only
// reads changes nothing but the count of its iterators, which is atomic.
type moment struct {
	txn   *badgerdb.Txn
	users int // reads under way, and the store itself while it is the newest
}

// moments knows the newest moment. An older one is kept until the last read of
// it has ended, and no longer, so that compactions drop what nobody reads.
type moments struct {
	db *badgerdb.DB

	mu     sync.Mutex
	newest *moment
	recent recent
}

// advance has later reads see what the committer has committed.
func (m *moments) advance() { m.replace(m.now(), (*recent).forgetWritten) }

// renew has later reads see all that is committed, by whomever.
func (m *moments) renew() { m.replace(m.now(), (*recent).forgetAll) }

// end lets go of the newest moment. There are no more reads.
func (m *moments) end() { m.replace(nil, (*recent).forgetAll) }

func (m *moments) now() *moment {
	return &moment{txn: m.db.NewTransaction(false), users: 1}
}

func (m *moments) replace(newest *moment, forget func(*recent)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	forget(&m.recent)
	older := m.newest
	m.newest = newest
	if older != nil {
		older.release()
	}
}

// enter returns the newest moment, to be left after the read.
func (m *moments) enter() *moment {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newest.users++
	return m.newest
}

func (m *moments) leave(left *moment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	left.release()
}

// release is called with the lock of moments.
func (o *moment) release() {
	if o.users--; o.users == 0 {
		o.txn.Discard()
	}
}
