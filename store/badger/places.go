package badger

import (
	"bytes"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/cursor"
)

// A place is where a bill or a notification stands in a listing, newest first:
// its ^createdAt and its id, as keys have them. The cursor of a listing is the
// last place that a page has gone over, so that it holds in whatever index the
// next page is walked, and whatever became of what stood there.
type place []byte

const placeTime = timeEnd - 1 // bytes of a place that are its time

func placeOf(at time.Time, id string) place {
	return appendPlace(make([]byte, 0, placeTime+len(id)), at, id)
}

// appendPlace ends a key with a place.
func appendPlace(key []byte, at time.Time, id string) []byte {
	begin := len(key)
	key = appendTime(key, at)
	for i := range key[begin:] {
		key[begin+i] = ^key[begin+i]
	}
	return append(key, id...)
}

func (p place) at() time.Time {
	turned := slices.Clone(p[:placeTime])
	for i := range turned {
		turned[i] = ^turned[i]
	}
	return timeIn(turned)
}

func (p place) id() string { return string(p[placeTime:]) }

// isBefore reports whether p's time is before the given one; nothing is before
// the zero time.
func (p place) isBefore(t time.Time) bool {
	return !t.IsZero() && bytes.Compare(p[:placeTime], placeOf(t, "")) > 0
}

// placeAfter returns the place that a cursor stands for, nil for that of the
// first page.
func placeAfter(listing, text string) (place, error) {
	if text == "" {
		return nil, nil
	}
	position, err := cursor.Decode(listing, text)
	if err != nil {
		return nil, err
	}
	if len(position) < placeTime {
		return nil, bill.ErrCursor
	}
	return position, nil
}

// index is a range of keys that hold places.
type index struct {
	prefix   []byte
	isUntold bool // keys of untoldKey: the place's id has an end, and a notification's follows
}

// begin returns the key to seek for a walk from the first place that is not
// younger than the given time, the zero one for none, and that is behind after.
func (x index) begin(notAfter time.Time, after place) []byte {
	begin := slices.Clone(x.prefix)
	if !notAfter.IsZero() {
		begin = append(begin, placeOf(notAfter, "")...)
	}
	if after == nil {
		return begin
	}
	behind := slices.Concat(x.prefix, after, []byte{0})
	if x.isUntold {
		// Right behind 00 01, which ends the id of all that stand there.
		behind = slices.Concat(x.prefix, after[:placeTime])
		behind = append(appendEscaped(behind, after.id()), 0, 2)
	}
	if bytes.Compare(behind, begin) > 0 {
		return behind
	}
	return begin
}

// placeIn returns the place in a key of the index.
func (x index) placeIn(key []byte) (place, error) {
	p := place(key[len(x.prefix):])
	if len(p) < placeTime {
		return nil, errTooShort
	}
	if !x.isUntold {
		return slices.Clone(p), nil
	}
	id, _, err := splitText(p[placeTime:])
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(p[:placeTime]), id...), nil
}

// step is a place on a walk.
type step struct {
	place place
	held  bool // something stands there; false: it did
	keys  int  // how many were gone over for it
}

// walker goes through an index. It also sees the places that were left: Badger
// keeps their keys for a while, and to go over many of them takes time, too.
type walker struct {
	index index
	it    *badgerdb.Iterator
	key   []byte // the last one looked at
	head  place  // where it stands; nil: at the end
	held  bool
	keys  int // gone over since they were last asked for
}

func newWalker(txn *badgerdb.Txn, x index, notAfter time.Time, after place) (*walker, error) {
	options := badgerdb.DefaultIteratorOptions
	options.PrefetchValues = false
	options.Prefix = x.prefix
	options.AllVersions = true
	w := &walker{index: x, it: txn.NewIterator(options)}
	w.it.Seek(x.begin(notAfter, after))
	return w, w.advance()
}

// advance goes to the next key, whether it is still there or not.
func (w *walker) advance() (err error) {
	w.head = nil
	for ; w.it.Valid(); w.it.Next() {
		w.keys++
		item := w.it.Item()
		if bytes.Equal(item.Key(), w.key) {
			continue // how it was before
		}
		w.key = item.KeyCopy(w.key)
		w.held = !item.IsDeletedOrExpired()
		w.head, err = w.index.placeIn(w.key)
		w.it.Next()
		return err
	}
	return nil
}

// merged goes through several indexes at once, in the order of their places. What
// stands in more than one of them is seen once.
type merged []*walker

func merge(txn *badgerdb.Txn, indexes []index, notAfter time.Time, after place) (merged, error) {
	var all merged
	for _, x := range indexes {
		w, err := newWalker(txn, x, notAfter, after)
		all = append(all, w)
		if err != nil {
			all.close()
			return nil, err
		}
	}
	return all, nil
}

// next returns the next step, and false at the end.
func (all merged) next() (next step, ok bool, err error) {
	for _, w := range all {
		if w.head != nil && (next.place == nil || bytes.Compare(w.head, next.place) < 0) {
			next.place = w.head
		}
	}
	for _, w := range all {
		for w.head != nil && bytes.Equal(w.head, next.place) {
			next.held = next.held || w.held
			if err := w.advance(); err != nil {
				return step{}, false, err
			}
		}
		next.keys += w.keys
		w.keys = 0
	}
	return next, next.place != nil, nil
}

func (all merged) close() {
	for _, w := range all {
		w.it.Close()
	}
}

// places are steps that were found before, in order.
type places []place

func (p *places) next() (next step, ok bool, err error) {
	if len(*p) == 0 {
		return step{}, false, nil
	}
	next = step{place: (*p)[0], held: true, keys: 1}
	*p = (*p)[1:]
	return next, true, nil
}

func (*places) close() {}

// way is what a listing goes along.
type way interface {
	next() (step, bool, error)
	close()
}
