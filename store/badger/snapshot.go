package badger

import (
	"bytes"
	"context"
	"fmt"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// snapshot reads the store as it was at one moment, for as long as it takes,
// and yet holds the store's lock for a moment at a time. It is no longer read
// once the store has closed.
type snapshot struct {
	store *store
	txn   *badgerdb.Txn
	at    time.Time
	bills uint64 // that were read
}

func (s *store) takeSnapshot() (*snapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	return &snapshot{store: s, txn: s.db.NewTransaction(false), at: s.now().UTC().Truncate(time.Microsecond)}, nil
}

// end lets go of what only the snapshot kept.
func (p *snapshot) end() {
	p.store.mu.RLock()
	defer p.store.mu.RUnlock()
	if !p.store.closed {
		p.txn.Discard()
	}
}

// with runs one read of the snapshot, as view does for others.
func (p *snapshot) with(ctx context.Context, read func(txn *badgerdb.Txn) error) (err error) {
	p.store.mu.RLock()
	defer p.store.mu.RUnlock()
	if err := p.store.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("%w: panic in a read: %v", bill.ErrUnavailable, panicked)
		}
	}()
	return read(p.txn)
}

// describe returns the state of the store, and the bytes of its tables.
func (p *snapshot) describe(ctx context.Context) (held stateRecord, size uint64, err error) {
	err = p.with(ctx, func(txn *badgerdb.Txn) (err error) {
		for _, table := range p.store.db.Tables() {
			size += uint64(table.OnDiskSize)
		}
		held, err = get[stateRecord](txn, stateKey)
		return err
	})
	return held, size, err
}

// read adds records to a block, beginning at a key, until it is full, and
// returns the key to go on from; nil after the last record.
func (p *snapshot) read(ctx context.Context, from []byte, b *backupWriter) (next []byte, err error) {
	err = p.with(ctx, func(txn *badgerdb.Txn) error {
		it := iterate(txn, nil)
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			item := it.Item()
			if b.isFull() {
				next = item.KeyCopy(nil)
				return nil
			}
			err := item.Value(func(value []byte) error {
				r := backupRecord{item.Key(), value, item.ExpiresAt()}
				if err := r.verify(); err != nil {
					return err
				}
				b.add(r)
				return nil
			})
			if err != nil {
				return fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
			}
			if item.Key()[0] == kindBill {
				p.bills++
			}
		}
		return nil
	})
	return next, err
}

// verify returns the damage that a record shows by itself.
func (r backupRecord) verify() error {
	if len(r.value) > 0 || isSealed(r.key[0]) {
		return verifyRecord(r.key, r.value)
	}
	return nil
}

// isSealed reports whether what lies under keys of a kind is a record; else it
// is an entry of an index, which is empty.
func isSealed(kind byte) bool {
	return bytes.IndexByte([]byte{
		kindBill, kindDetails, kindEvent, kindOrder, kindIdempotency, kindOrphan, kindNotification, kindPending,
		kindRestored, kindMigration, kindState,
	}, kind) >= 0
}
