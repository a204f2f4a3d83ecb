package badger

import (
	"context"
	"errors"
	"fmt"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/cursor"
)

// Ended walks the index of bills that can be forgotten. A cursor is where the
// walk stopped.
func (s *store) Ended(ctx context.Context, until time.Time, after string, limit int) (page []string, next string, err error) {
	start, end := []byte{kindEnded}, dueKey(kindEnded, until, "")
	if after != "" {
		position, err := cursor.Decode(listingEnded, after)
		if err != nil {
			return nil, "", err
		}
		start = append(append(start, position...), 0)
	}
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		it := iterate(txn, []byte{kindEnded})
		defer it.Close()
		var last []byte
		for it.Seek(start); it.Valid() && !isAfter(it.Item().Key(), end); it.Next() {
			if len(page) == clamp(limit) {
				next = cursor.Encode(listingEnded, last[1:])
				return nil
			}
			last = it.Item().KeyCopy(last)
			id, err := idOf(last)
			if err != nil {
				return err
			}
			page = append(page, id)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}

// prepareForgetting adds the removal of all that is kept of a bill besides its
// record, as txn sees it.
func prepareForgetting(txn *badgerdb.Txn, id string, set *writeSet) error {
	told, err := notifications(txn, id)
	if err != nil {
		return err
	}
	for _, n := range told {
		if n.Undelivered() {
			return fmt.Errorf("%w: notification %.80q is %s", bill.ErrConflict, n.ID, n.State)
		}
		set.add(write{key: textKey(kindNotification, n.ID), remove: true})
		set.replace(notificationIndexKeys(n), nil)
	}
	details := textKey(kindDetails, id)
	switch _, err := txn.Get(details); {
	case err == nil:
		set.add(write{key: details, remove: true})
	case !errors.Is(err, badgerdb.ErrKeyNotFound):
		return fmt.Errorf("%w: look for %.200q: %w", bill.ErrUnavailable, details, err)
	}
	it := iterate(txn, historyPrefix(id))
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		set.add(write{key: it.Item().KeyCopy(nil), remove: true})
	}
	return nil
}
