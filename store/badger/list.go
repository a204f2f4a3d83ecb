package badger

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/cursor"
)

// What one call goes over at the most, in keys: a filter that matches nothing
// gives an empty page and the way on, instead of a long wait.
const (
	maxKeys    = 61_000
	recordKeys = 60 // that could be gone over in the time that it takes to read a record
)

// maxOrders is how many bills the beginning of an order code may match that
// are sorted for each page; where there are more, the other indexes are walked.
const maxOrders = 10_000

// paging is one call for a page.
type paging struct {
	name   string // in its cursors
	limit  int
	oldest time.Time // created at or after; zero: any
	left   int       // of maxKeys
}

// fill goes along a way and fills a page with what read wants of it.
func fill[T any](ctx context.Context, l *paging, along way, read func(place) (T, bool, error)) (page []T, next string, err error) {
	var last place
	for {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		if l.left <= 0 && last != nil {
			return page, cursor.Encode(l.name, last), nil
		}
		at, ok, err := along.next()
		if err != nil {
			return nil, "", err
		}
		if !ok || at.place.isBefore(l.oldest) {
			return page, "", nil
		}
		l.left -= at.keys
		if at.held {
			if len(page) == clamp(l.limit) {
				return page, cursor.Encode(l.name, last), nil
			}
			v, wanted, err := read(at.place)
			if err != nil {
				return nil, "", err
			}
			l.left -= recordKeys
			if wanted {
				page = append(page, v)
			}
		}
		last = at.place
	}
}

// List walks the index that holds the least of what q selects, and looks at
// what it leads to.
func (s *store) List(ctx context.Context, q bill.Query) (page []bill.Bill, next string, err error) {
	after, err := placeAfter(listingBills, q.Cursor)
	if err != nil {
		return nil, "", err
	}
	l := &paging{name: listingBills, limit: q.Limit, oldest: q.From, left: maxKeys}
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		page, next, err = list(ctx, txn, l, q, after)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}

func list(ctx context.Context, txn *badgerdb.Txn, l *paging, q bill.Query, after place) ([]bill.Bill, string, error) {
	along, isUntold, err := l.way(txn, q, after)
	if err != nil {
		return nil, "", err
	}
	defer along.close()
	return fill(ctx, l, along, func(p place) (bill.Bill, bool, error) {
		return selected(txn, l, q, p, isUntold)
	})
}

// selected reads the bill at a place and reports whether q selects it.
func selected(txn *badgerdb.Txn, l *paging, q bill.Query, p place, isUntold bool) (bill.Bill, bool, error) {
	b, err := get[bill.Bill](txn, textKey(kindBill, p.id()))
	switch {
	case errors.Is(err, bill.ErrNotFound) && isUntold:
		return b, false, nil // a notification says of what bill it is
	case errors.Is(err, bill.ErrNotFound):
		// Both are written and removed together, and read from one snapshot.
		return b, false, indexAlone("bill", p.id())
	case err != nil || !q.Selects(b):
		return b, false, err
	case isUntold || !q.Untold:
		return b, true, nil
	}
	about, err := notifications(txn, b.ID)
	l.left -= recordKeys * len(about)
	return b, slices.ContainsFunc(about, bill.Notification.Undelivered), err
}

// way returns what q is to go along, and whether all that stands there is
// untold.
func (l *paging) way(txn *badgerdb.Txn, q bill.Query, after place) (along way, isUntold bool, err error) {
	var youngest time.Time
	if !q.To.IsZero() {
		youngest = q.To.Add(-time.Nanosecond)
	}
	if q.Order != "" {
		found, all, err := l.orders(txn, q.Order, youngest, after)
		if err != nil || all {
			return &found, false, err
		}
	}
	along, err = merge(txn, indexesOf(q), youngest, after)
	return along, q.Untold, err
}

// indexesOf returns the indexes that together hold all that q selects.
func indexesOf(q bill.Query) []index {
	labelled := func(labels ...string) (indexes []index) {
		for _, label := range labels {
			indexes = append(indexes, index{prefix: labelPrefix(label)})
		}
		return indexes
	}
	switch {
	case q.Untold:
		return []index{{prefix: []byte{kindUntold}, isUntold: true}}
	case q.Refund:
		return labelled(labelRefund)
	case q.Late:
		return labelled(labelLate)
	case !q.StuckAt.IsZero():
		return labelled(labelHeld, string(bill.Choose), string(bill.Created), string(bill.Wait))
	case q.Status != "":
		return labelled(string(q.Status))
	}
	return []index{{prefix: []byte{kindCreated}}}
}

// orders returns the places of the bills whose order codes begin with the given
// text, in order, from the first one that is not younger than the given time
// and behind after; false where there are too many.
func (l *paging) orders(txn *badgerdb.Txn, beginning string, youngest time.Time, after place) (found places, all bool, err error) {
	it := iterate(txn, orderPrefix(beginning))
	defer it.Close()
	it.Rewind()
	for count := 0; it.Valid(); it.Next() {
		l.left--
		if count++; count > maxOrders {
			return nil, false, nil
		}
		_, rest, err := splitText(it.Item().Key()[2:])
		if err == nil && len(rest) < placeTime {
			err = errTooShort
		}
		if err != nil {
			return nil, false, err
		}
		p := place(rest)
		if bytes.Compare(p, after) > 0 && (youngest.IsZero() || bytes.Compare(p, placeOf(youngest, "")) >= 0) {
			found = append(found, slices.Clone(p))
		}
	}
	slices.SortFunc(found, func(a, b place) int { return bytes.Compare(a, b) })
	return found, true, nil
}

// ListNotifications walks the notifications in the wanted state, or those in
// any.
func (s *store) ListNotifications(ctx context.Context, q bill.NotificationQuery) (page []bill.Notification, next string, err error) {
	after, err := placeAfter(listingNotifications, q.Cursor)
	if err != nil {
		return nil, "", err
	}
	states := bill.NotificationStates()
	if q.State != "" {
		states = []bill.NotificationState{q.State}
	}
	var indexes []index
	for _, state := range states {
		indexes = append(indexes, index{prefix: inStatePrefix(state)})
	}
	l := &paging{name: listingNotifications, limit: q.Limit, oldest: q.Since, left: maxKeys}
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		along, err := merge(txn, indexes, time.Time{}, after)
		if err != nil {
			return err
		}
		defer along.close()
		page, next, err = fill(ctx, l, along, func(p place) (bill.Notification, bool, error) {
			n, err := get[bill.Notification](txn, textKey(kindNotification, p.id()))
			if errors.Is(err, bill.ErrNotFound) {
				return n, false, indexAlone("notification", p.id())
			}
			return n, true, err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}
