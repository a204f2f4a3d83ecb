package badger

import (
	badgerdb "github.com/dgraph-io/badger/v4"
)

// recent holds records, by their keys, as they are in the newest moment: the
// thousands that were read last. A webhook reads its bill and order,
// and the committer both once more; a buyer's page asks for its bill every few
// seconds. Looking a key up in Badger takes longer than all else in such a read.
//
// It is coherent because there is one writer, which says what it writes before it
// commits that: what is written is forgotten when the next moment begins, and
// what was read of an older moment is not taken. All methods are called with the
// lock of moments.
type recent struct {
	young, old map[string]any      // young becomes old when it is full
	writing    map[string]struct{} // keys of what the next moment has otherwise
}

// recentRecords bounds each of the two generations. A bill takes a kilobyte.
const recentRecords = 2048

func (r *recent) get(key []byte) (any, bool) {
	v, ok := r.young[string(key)]
	if !ok {
		if v, ok = r.old[string(key)]; ok {
			r.put(string(key), v)
		}
	}
	return v, ok
}

func (r *recent) put(key string, v any) {
	if r.young == nil || len(r.young) >= recentRecords {
		r.old, r.young = r.young, make(map[string]any)
	}
	r.young[key] = v
}

func (r *recent) forgetWritten() {
	for key := range r.writing {
		delete(r.young, key)
		delete(r.old, key)
	}
	clear(r.writing)
}

func (r *recent) forgetAll() { *r = recent{} }

// writing is told by the committer what it is about to commit.
func (m *moments) writing(writes []write) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range writes {
		if kind := w.key[0]; kind == kindBill || kind == kindOrder {
			if m.recent.writing == nil {
				m.recent.writing = make(map[string]struct{})
			}
			m.recent.writing[string(w.key)] = struct{}{}
		}
	}
}

// recall returns the record under key as it is in the newest moment, if it is
// held.
func recall[T any](m *moments, key []byte) (v T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held, ok := m.recent.get(key)
	if ok {
		v = held.(T)
	}
	return v, ok
}

// keep holds a record that was read in a moment, if that is still the newest.
func keep[T any](m *moments, of *moment, key []byte, v T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newest == of {
		m.recent.put(string(key), v)
	}
}

// predecessor returns the record under key as txn, the committer's, sees it.
func predecessor[T any](m *moments, txn *badgerdb.Txn, key []byte) (T, error) {
	m.mu.Lock()
	_, written := m.recent.writing[string(key)]
	held, ok := m.recent.get(key)
	m.mu.Unlock()
	if ok && !written {
		return held.(T), nil
	}
	return get[T](txn, key)
}
