package badger

import (
	"bytes"
	"context"
	"fmt"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/cursor"
)

const maxPage = 1000

// The names of the listings in their cursors.
const (
	listingBills         = "bills"
	listingNotifications = "notifications"
	listingOrphans       = "orphans"
	listingEnded         = "ended"
)

// indexAlone is the error about an index entry whose record is not there.
func indexAlone(what, id string) error {
	return fmt.Errorf("%w: %s %.80q is in the index alone: %w", bill.ErrUnavailable, what, id, ErrDamaged)
}

// Orphans walks the orphans themselves, which lie in the listing's order.
func (s *store) Orphans(ctx context.Context, after string, limit int) (page []bill.Orphan, next string, err error) {
	return walk(ctx, s, listing{listingOrphans, kindOrphan, nil}, after, limit, value[bill.Orphan])
}

// Ended walks the index of bills that can be forgotten.
func (s *store) Ended(ctx context.Context, until time.Time, after string, limit int) (page []string, next string, err error) {
	return walk(ctx, s, listing{listingEnded, kindEnded, dueKey(kindEnded, until, "")}, after, limit,
		func(item *badgerdb.Item) (string, error) { return idOf(item.Key()) })
}

// listing is what lies under the keys of one kind, in their order.
type listing struct {
	name string // in its cursors
	kind byte
	end  []byte // see isAfter; nil: all of it
}

// walk returns a page of a listing. A cursor is where the walk stopped.
func walk[T any](
	ctx context.Context, s *store, l listing, after string, limit int, read func(*badgerdb.Item) (T, error),
) (page []T, next string, err error) {
	start := []byte{l.kind}
	if after != "" {
		position, err := cursor.Decode(l.name, after)
		if err != nil {
			return nil, "", err
		}
		start = append(append(start, position...), 0)
	}
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		it := iterate(txn, []byte{l.kind})
		defer it.Close()
		var last []byte
		for it.Seek(start); it.Valid() && (l.end == nil || !isAfter(it.Item().Key(), l.end)); it.Next() {
			if len(page) == clamp(limit) {
				next = cursor.Encode(l.name, last[1:])
				return nil
			}
			v, err := read(it.Item())
			if err != nil {
				return err
			}
			page, last = append(page, v), it.Item().KeyCopy(last)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}

// Due walks the index of due times; bills that are not due cost nothing.
func (s *store) Due(ctx context.Context, until time.Time, limit int) ([]string, error) {
	return s.due(ctx, kindDue, until, limit)
}

// DueNotifications does the same in an index of its own.
func (s *store) DueNotifications(ctx context.Context, until time.Time, limit int) ([]string, error) {
	return s.due(ctx, kindNotificationDue, until, limit)
}

func (s *store) due(ctx context.Context, kind byte, until time.Time, limit int) (ids []string, err error) {
	end := dueKey(kind, until, "")
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		it := iterate(txn, []byte{kind})
		defer it.Close()
		for it.Rewind(); it.Valid() && len(ids) < limit; it.Next() {
			key := it.Item().Key()
			if isAfter(key, end) {
				return nil
			}
			id, err := idOf(key)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// isAfter reports whether a key of dueKey has a later time than end, such a key
// without an id.
func isAfter(key, end []byte) bool {
	return bytes.Compare(key[:min(timeEnd, len(key))], end) > 0
}

// OpenBillsOf walks the entries of one client and stops at the limit.
func (s *store) OpenBillsOf(ctx context.Context, client string, limit int) (count int, err error) {
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		it := iterate(txn, openOfPrefix(client))
		defer it.Close()
		for it.Rewind(); it.Valid() && count < limit; it.Next() {
			count++
		}
		return ctx.Err()
	})
	if err != nil {
		return 0, err
	}
	return count, nil
}

func clamp(limit int) int { return min(max(limit, 1), maxPage) }
