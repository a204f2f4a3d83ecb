package badger

import (
	"context"
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Notification reads one record.
func (s *store) Notification(ctx context.Context, id string) (bill.Notification, error) {
	return read[bill.Notification](ctx, s, textKey(kindNotification, id))
}

// Notifications walks the index of the bill's notifications.
func (s *store) Notifications(ctx context.Context, billID string) (about []bill.Notification, err error) {
	err = s.view(ctx, func(txn *badgerdb.Txn) (err error) {
		about, err = notifications(txn, billID)
		return err
	})
	return about, err
}

// notifications reads those about a bill, as txn sees them.
func notifications(txn *badgerdb.Txn, billID string) (about []bill.Notification, err error) {
	prefix := toldPrefix(billID)
	it := iterate(txn, prefix)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		id, err := idOfTold(it.Item().Key(), prefix)
		if err != nil {
			return nil, err
		}
		n, err := get[bill.Notification](txn, textKey(kindNotification, id))
		if errors.Is(err, bill.ErrNotFound) {
			return nil, indexAlone("notification", id)
		}
		if err != nil {
			return nil, err
		}
		about = append(about, n)
	}
	return about, nil
}

// PendingNotification reads the place of the pending one, and what stands in
// it, from one snapshot.
func (s *store) PendingNotification(ctx context.Context, url string, key bill.OrderKey) (n bill.Notification, err error) {
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		id, err := get[string](txn, pendingKey(url, key))
		if err != nil {
			return err
		}
		n, err = get[bill.Notification](txn, textKey(kindNotification, id))
		if errors.Is(err, bill.ErrNotFound) {
			return indexAlone("notification", id)
		}
		return err
	})
	return n, err
}

// sealedNotification is a notification with its records encoded.
type sealedNotification struct {
	bill.Notification
	record write
	after  [][]byte // its index entries from now on
	place  *write   // of the pending one; nil for one that is not
}

func sealNotification(n bill.Notification) (sealedNotification, error) {
	record, err := sealedWrite(textKey(kindNotification, n.ID), &n)
	if err != nil {
		return sealedNotification{}, err
	}
	sealed := sealedNotification{Notification: n, record: record, after: notificationIndexKeys(n)}
	if n.State == bill.Pending {
		place, err := sealedWrite(pendingKey(n.URL, n.OrderKey()), &n.ID)
		if err != nil {
			return sealedNotification{}, err
		}
		sealed.place = &place
	}
	return sealed, nil
}

// prepareNotifications adds what is to be written for all notifications of the
// change, their index entries included. Who is pending is decided over all of
// them: the old one may stand behind the one that takes its place.
func (c *sealedChange) prepareNotifications(txn *badgerdb.Txn, set *writeSet) error {
	if len(c.notifications) == 0 {
		return nil
	}
	changed := make(map[string]bool, len(c.notifications))
	var left [][]byte // places of those that were pending before
	for _, n := range c.notifications {
		if changed[n.ID] {
			return fmt.Errorf("%w: notification %.80q is in the change twice", bill.ErrConflict, n.ID)
		}
		changed[n.ID] = true
		held, err := get[bill.Notification](txn, n.record.key)
		if err != nil && !errors.Is(err, bill.ErrNotFound) {
			return err
		}
		if n.Revision != held.Revision+1 {
			return fmt.Errorf("%w: notification %.80q is at revision %d, not before %d",
				bill.ErrConflict, n.ID, held.Revision, n.Revision)
		}
		if held.State == bill.Pending {
			left = append(left, pendingKey(held.URL, held.OrderKey()))
		}
		set.add(n.record)
		var before [][]byte
		if held.Revision > 0 {
			before = notificationIndexKeys(held)
			set.counted.Notification(held, -1)
		}
		set.counted.Notification(n.Notification, 1)
		set.replace(before, n.after)
	}
	return c.preparePending(txn, changed, left, set)
}

// preparePending gives each pending notification its place, unless another one
// keeps it, and clears the places that were left for good.
func (c *sealedChange) preparePending(txn *badgerdb.Txn, changed map[string]bool, left [][]byte, set *writeSet) error {
	taken := make(map[string]bool)
	for _, n := range c.notifications {
		if n.place == nil {
			continue
		}
		holder, err := get[string](txn, n.place.key)
		isFree := errors.Is(err, bill.ErrNotFound)
		if err != nil && !isFree {
			return err
		}
		// A holder that is in the change has left the place, or takes it anew.
		if taken[string(n.place.key)] || !isFree && !changed[holder] {
			return fmt.Errorf("%w: notification %.80q would be the second pending one of its order and URL", bill.ErrConflict, n.ID)
		}
		taken[string(n.place.key)] = true
		if isFree || holder != n.ID {
			set.add(*n.place)
		}
	}
	for _, key := range left {
		if !taken[string(key)] {
			set.add(write{key: key, remove: true})
		}
	}
	return nil
}
