package badger

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Find reads the bill of that id, and walks the indexes of the other names.
func (s *store) Find(ctx context.Context, name string, limit int) (found []bill.Bill, err error) {
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		if name == "" || limit <= 0 {
			return nil
		}
		if found, err = named(ctx, txn, name, limit); err != nil {
			return err
		}
		b, err := get[bill.Bill](txn, textKey(kindBill, name))
		switch {
		case errors.Is(err, bill.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if !slices.ContainsFunc(found, func(other bill.Bill) bool { return other.ID == b.ID }) {
			found = append(found, b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b bill.Bill) int {
		return bytes.Compare(placeOf(a.CreatedAt, a.ID), placeOf(b.CreatedAt, b.ID))
	})
	return found[:min(max(limit, 0), len(found))], nil
}

// named returns the newest bills that have a name besides their id.
func named(ctx context.Context, txn *badgerdb.Txn, name string, limit int) (found []bill.Bill, err error) {
	var indexes []index
	for _, kind := range []byte{nameOrderCode, nameBillCode, namePaymentRequestID} {
		indexes = append(indexes, index{prefix: namePrefix(kind, name)})
	}
	along, err := merge(txn, indexes, time.Time{}, nil)
	if err != nil {
		return nil, err
	}
	defer along.close()
	for len(found) < limit {
		at, ok, err := along.next()
		if err != nil || !ok {
			return found, err
		}
		if !at.held {
			continue
		}
		b, err := get[bill.Bill](txn, textKey(kindBill, at.place.id()))
		switch {
		case errors.Is(err, bill.ErrNotFound):
			return nil, indexAlone("bill", at.place.id())
		case err != nil:
			return nil, err
		case b.OrderCode == name || b.BillCode == name || b.PaymentRequestID == name: // no key holds all of a long one
			found = append(found, b)
		}
	}
	return found, ctx.Err()
}
