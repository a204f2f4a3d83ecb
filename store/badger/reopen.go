package badger

import (
	"context"
	"errors"
	"fmt"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// restored is the record that a restore leaves under restoredKey, for as long
// as checkouts are closed.
type restored struct {
	At     time.Time `json:"at"`     // when; checkouts are closed since
	Backup time.Time `json:"backup"` // when the backup was taken
	Store  string    `json:"store"`  // id of the store that it was taken of
}

var restoredKey = []byte{kindRestored}

// loadMarks takes note of the records that say how a store may be used, those
// of them that there are.
func (s *store) loadMarks() error {
	return s.db.View(func(txn *badgerdb.Txn) error {
		mark, err := get[restored](txn, restoredKey)
		if err == nil {
			s.checkoutsClosed.Store(mark.At.UnixNano())
		} else if !errors.Is(err, bill.ErrNotFound) {
			return err
		}
		m, err := get[bill.Migration](txn, migrationKey)
		if err == nil {
			s.migration.Store(&m)
		} else if !errors.Is(err, bill.ErrNotFound) {
			return err
		}
		return nil
	})
}

// CheckoutsClosed returns when the store was restored.
func (s *store) CheckoutsClosed() time.Time {
	since := s.checkoutsClosed.Load()
	if since == 0 {
		return time.Time{}
	}
	return time.Unix(0, since).UTC()
}

// Reopen removes the record as a change of its own.
func (s *store) Reopen(ctx context.Context) error {
	if s.CheckoutsClosed().IsZero() {
		return s.readable()
	}
	if err := s.refused(); err != nil {
		return fmt.Errorf("reopen checkouts: %w: %w", bill.ErrUnavailable, err)
	}
	if err := checkFreeSpace(s.dir, s.minFree); errors.Is(err, bill.ErrUnavailable) {
		return err
	}
	err := s.committer.do(ctx, func(*badgerdb.Txn) (writeSet, error) {
		return writeSet{
			writes:    []write{{key: restoredKey, remove: true}},
			committed: func() { s.checkoutsClosed.Store(0) },
		}, nil
	})
	if err != nil {
		return fmt.Errorf("reopen checkouts: %w", err)
	}
	return nil
}

// readable returns why the store cannot be used, or nil.
func (s *store) readable() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.usable()
}

// Interface guards
var (
	_ bill.Backuper   = (*store)(nil)
	_ bill.Restorable = (*store)(nil)
	_ bill.Sizer      = (*store)(nil)
)
