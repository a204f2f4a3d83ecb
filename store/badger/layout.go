package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/census"
)

// currentLayout is the number of the indexes and counts that came after the
// first version. A store that was last written under another one, by an older or
// a newer version of this module, gets them anew when it is opened. What money
// depends on, the other indexes, has had its layout from the first day.
const currentLayout = 1

// rebuilt are the kinds of keys that are written anew.
var rebuilt = []byte{kindLabel, kindName, kindInState, kindUntold, kindOpenOf, kindEnded, kindTold}

// layOut brings an opened store to the current layout and returns its record.
// The number is written last: where it is cut short, all of it is done again.
// It changes no answer about a bill, and nobody has the store yet.
func (s *store) layOut(ctx context.Context, held stateRecord) (stateRecord, error) {
	if held.Layout == currentLayout {
		return held, nil
	}
	s.logger().Info("the store gets the indexes of this version; until then it serves nobody",
		zap.String("dir", s.dir), zap.Uint64("bills", held.Bills), zap.Int("from", held.Layout), zap.Int("to", currentLayout))
	held.Layout, held.Counts = 0, census.Counts{}
	b := &builder{store: s, ctx: ctx, limit: largest(s.db).half(), held: held}
	for _, build := range []func() error{b.clear, b.bills, b.notifications, b.orphans} {
		if err := build(); err != nil {
			return stateRecord{}, fmt.Errorf("indexes: %w", err)
		}
	}
	b.held.Layout, b.held.Counts = currentLayout, b.counted
	if err := b.flush(); err != nil {
		return stateRecord{}, fmt.Errorf("indexes: %w", err)
	}
	s.logger().Info("the store has its indexes", zap.String("dir", s.dir))
	return b.held, nil
}

// builder writes indexes, in transactions that are as large as those of the
// committer, and as whole: each carries the store's record.
type builder struct {
	store   *store
	ctx     context.Context // of the opening
	limit   size
	held    stateRecord // as of the last transaction
	counted census.Counts
	set     writeSet
	size    size
}

// each shows every record of a kind, as of now, to what adds to the builder.
func (b *builder) each(kind byte, show func(txn *badgerdb.Txn, item *badgerdb.Item) error) error {
	return b.store.db.View(func(txn *badgerdb.Txn) error {
		it := iterate(txn, []byte{kind})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			if err := show(txn, it.Item()); err != nil {
				return err
			}
		}
		return nil
	})
}

// add writes what does not fit any more first.
func (b *builder) add(writes ...write) error {
	more := (&writeSet{writes: writes}).size()
	if !b.size.plus(more).within(b.limit) {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.set.add(writes...)
	b.size = b.size.plus(more)
	return nil
}

func (b *builder) flush() error {
	if err := checkFreeSpace(b.store.dir, b.store.minFree); errors.Is(err, bill.ErrUnavailable) {
		return err
	}
	next := b.held.next(0, census.Counts{})
	err := b.store.db.Update(func(txn *badgerdb.Txn) error {
		return errors.Join(b.set.apply(txn), next.apply(txn))
	})
	b.held, b.set, b.size = next, writeSet{}, size{}
	return err
}

// clear removes what another layout has left: a version that does not know an
// index leaves it as it was.
func (b *builder) clear() error {
	for _, kind := range rebuilt {
		err := b.each(kind, func(_ *badgerdb.Txn, item *badgerdb.Item) error {
			return b.add(write{key: item.KeyCopy(nil), remove: true})
		})
		if err != nil {
			return err
		}
	}
	return b.flush()
}

func (b *builder) bills() error {
	return b.each(kindBill, func(_ *badgerdb.Txn, item *badgerdb.Item) error {
		held, err := value[bill.Bill](item)
		if err != nil {
			return err
		}
		b.counted.Bill(held, 1)
		return b.add(rebuiltOf(indexKeys(held))...)
	})
}

// notifications also tells those from before which bill they stand with.
func (b *builder) notifications() error {
	return b.each(kindNotification, func(txn *badgerdb.Txn, item *badgerdb.Item) error {
		held, err := value[bill.Notification](item)
		if err != nil {
			return err
		}
		b.counted.Notification(held, 1)
		var writes []write
		if held.BillCreatedAt.IsZero() {
			about, err := get[bill.Bill](txn, textKey(kindBill, held.Bill))
			if err != nil && !errors.Is(err, bill.ErrNotFound) {
				return err
			}
			held.BillCreatedAt = about.CreatedAt
			record, err := sealedWrite(item.KeyCopy(nil), &held)
			if err != nil {
				return err
			}
			writes = append(writes, record)
		}
		return b.add(append(writes, rebuiltOf(notificationIndexKeys(held))...)...)
	})
}

func (b *builder) orphans() error {
	return b.each(kindOrphan, func(_ *badgerdb.Txn, item *badgerdb.Item) error {
		held, err := value[bill.Orphan](item)
		b.counted.Orphan(held, 1)
		return err
	})
}

// rebuiltOf are the writes of those keys that are written anew.
func rebuiltOf(keys [][]byte) (writes []write) {
	for _, key := range keys {
		if bytes.IndexByte(rebuilt, key[0]) >= 0 {
			writes = append(writes, write{key: key})
		}
	}
	return writes
}
