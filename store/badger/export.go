package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/cursor"
)

// exported are the kinds of records that are carried into another store, in the
// order of their keys. Details and events go with their bill; all else is made
// of these.
var exported = []byte{kindBill, kindIdempotency, kindOrder, kindNotification, kindOrphan}

// fullPage is how many bytes of records an exported page takes no more from.
const fullPage = 256 << 10

const listingExport = "export"

// Export walks the records themselves. A cursor is the last key that was gone
// over.
func (s *store) Export(ctx context.Context, after string, limit int) (page []bill.Record, next string, err error) {
	var last []byte
	if after != "" {
		if last, err = cursor.Decode(listingExport, after); err != nil {
			return nil, "", err
		}
		if len(last) == 0 {
			return nil, "", bill.ErrCursor
		}
	}
	err = s.view(ctx, func(txn *badgerdb.Txn) error {
		x := &exporter{txn: txn, limit: clamp(limit), last: last, events: iterate(txn, []byte{kindEvent})}
		defer x.events.Close()
		more, err := x.walk()
		if page = x.page; more {
			next = cursor.Encode(listingExport, x.last)
		}
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}

// exporter fills one page.
type exporter struct {
	txn    *badgerdb.Txn
	events *badgerdb.Iterator // of all bills: a walk over them goes on where the last bill's end
	limit  int
	bytes  int64
	page   []bill.Record
	last   []byte // key of the last record
}

// walk goes on behind the last record, and reports whether there are more than
// fit.
func (x *exporter) walk() (more bool, err error) {
	for _, kind := range exported {
		if len(x.last) > 0 && x.last[0] > kind {
			continue
		}
		if more, err = x.kind(kind); more || err != nil {
			return more, err
		}
	}
	return false, nil
}

func (x *exporter) kind(kind byte) (more bool, err error) {
	it := iterate(x.txn, []byte{kind})
	defer it.Close()
	start := []byte{kind}
	if len(x.last) > 0 && x.last[0] == kind {
		start = append(bytes.Clone(x.last), 0)
	}
	for it.Seek(start); it.Valid(); it.Next() {
		if len(x.page) == x.limit || x.bytes >= fullPage {
			return true, nil
		}
		record, err := x.record(it.Item())
		if err != nil {
			return false, err
		}
		x.page = append(x.page, record)
		x.bytes += it.Item().EstimatedSize()
		x.last = it.Item().KeyCopy(nil)
	}
	return false, nil
}

func (x *exporter) record(item *badgerdb.Item) (r bill.Record, err error) {
	switch key := item.Key(); key[0] {
	case kindBill:
		r.Bill, err = x.bill(item)
	case kindIdempotency:
		var answer bill.Idempotency
		answer, err = value[bill.Idempotency](item)
		answer.Key = string(key[1:])
		r.Idempotency = &answer
	case kindOrder:
		r.Order, err = order(item)
	case kindNotification:
		var n bill.Notification
		n, err = value[bill.Notification](item)
		r.Notification = &n
	default:
		var o bill.Orphan
		o, err = value[bill.Orphan](item)
		r.Orphan = &o
	}
	return r, err
}

// order reads an order's record, with its key.
func order(item *badgerdb.Item) (*bill.OrderRecord, error) {
	record, err := value[bill.OrderRecord](item)
	if err != nil {
		return nil, err
	}
	rest := item.Key()[1:]
	if record.Key.Ledger, rest, err = splitText(rest); err != nil {
		return nil, err
	}
	if record.Key.Shop, rest, err = splitText(rest); err != nil {
		return nil, err
	}
	record.Key.OrderCode = string(rest)
	return &record, nil
}

// bill reads a bill, with what is kept beside it.
func (x *exporter) bill(item *badgerdb.Item) (*bill.WholeBill, error) {
	held, err := value[bill.Bill](item)
	if err != nil {
		return nil, err
	}
	whole := &bill.WholeBill{Bill: held}
	if whole.Details, err = x.details(held.ID); err != nil {
		return nil, err
	}
	prefix := historyPrefix(held.ID)
	for x.events.Seek(prefix); x.events.ValidForPrefix(prefix); x.events.Next() {
		event, err := value[bill.Event](x.events.Item())
		if err != nil {
			return nil, err
		}
		whole.Events = append(whole.Events, event)
		x.bytes += x.events.Item().EstimatedSize()
	}
	return whole, nil
}

// details reads what the shop handed over with a bill; nil where that is not
// there.
func (x *exporter) details(id string) (*bill.Details, error) {
	key := textKey(kindDetails, id)
	item, err := x.txn.Get(key)
	switch {
	case errors.Is(err, badgerdb.ErrKeyNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: read %.200q: %w", bill.ErrUnavailable, key, err)
	}
	x.bytes += item.EstimatedSize()
	details, err := value[bill.Details](item)
	return &details, err
}
