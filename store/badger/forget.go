package badger

import (
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

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
		set.counted.Notification(n, -1)
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
