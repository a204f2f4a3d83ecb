package badger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Counts reads them from the store's record, and the times from the ends of
// two indexes, all of one snapshot.
func (s *store) Counts(ctx context.Context) (c bill.Counts, err error) {
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		held, err := get[stateRecord](txn, stateKey)
		switch {
		case errors.Is(err, bill.ErrNotFound):
			return fmt.Errorf("%w: its own record is missing: %w", bill.ErrUnavailable, ErrDamaged)
		case err != nil:
			return err
		}
		c = held.Counts.Public()
		if c.OldestPending, err = oldestIn(txn, bill.Pending); err != nil {
			return err
		}
		c.OldestDue, err = oldestDue(txn)
		return err
	})
	if err != nil {
		return bill.Counts{}, err
	}
	return c, nil
}

// oldestIn returns when the oldest notification in a state was created, or the
// zero time.
func oldestIn(txn *badgerdb.Txn, s bill.NotificationState) (time.Time, error) {
	prefix := inStatePrefix(s)
	options := badgerdb.DefaultIteratorOptions
	options.PrefetchValues = false
	options.Prefix = prefix
	options.Reverse = true
	it := txn.NewIterator(options)
	defer it.Close()
	it.Seek(append(slices.Clip(prefix), 0xff))
	if !it.Valid() {
		return time.Time{}, nil
	}
	p, err := index{prefix: prefix}.placeIn(it.Item().Key())
	if err != nil {
		return time.Time{}, err
	}
	return p.at(), nil
}

// oldestDue returns since when the bill is due that is so the longest, or the
// zero time.
func oldestDue(txn *badgerdb.Txn) (time.Time, error) {
	it := iterate(txn, []byte{kindDue})
	defer it.Close()
	it.Rewind()
	if !it.Valid() {
		return time.Time{}, nil
	}
	key := it.Item().Key()
	if len(key) < timeEnd {
		return time.Time{}, errTooShort
	}
	return timeIn(key[1:timeEnd]), nil
}
