package badger

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Every key begins with a letter for its kind. Inside, (x) is x made to end
// unambiguously (appendText), x without brackets runs to the key's end, and
// numbers are big-endian, so that the order of keys is the order of values.
//
//	b id                                a bill
//	d id                                what the shop handed over with it
//	h (id) revision index               an event: its place among those of one write
//	o (ledger) (shop) orderCode         an order's record
//	i key                               an answer under an Idempotency-Key; Badger drops it some time after it expired
//	x (ledger) id                       an orphan
//	p id                                a notification
//	w (url) (ledger) (shop) orderCode   the id of the notification to a URL about an order that is pending
//	s                                   the store's own state
//
// and the indexes, empty records that stand and fall with the bill or the
// notification:
//
//	c ^createdAt id                     all bills, newest first
//	n id                                bills that have not ended
//	a (client) id                       those of them that name a client's address
//	u due id                            bills that want to be asked after, the longest due first
//	e updatedAt id                      bills that have ended and were not forgotten since, the longest ended first
//	t due id                            notifications that want to be delivered, the longest due first
//	m (bill) sequence id                notifications about a bill, oldest first
const (
	kindBill            = 'b'
	kindDetails         = 'd'
	kindEvent           = 'h'
	kindOrder           = 'o'
	kindIdempotency     = 'i'
	kindOrphan          = 'x'
	kindNotification    = 'p'
	kindPending         = 'w'
	kindState           = 's'
	kindCreated         = 'c'
	kindOpen            = 'n'
	kindOpenOf          = 'a'
	kindDue             = 'u'
	kindEnded           = 'e'
	kindNotificationDue = 't'
	kindTold            = 'm'
)

// textKey is the key of a record that has one text for a name.
func textKey(kind byte, text string) []byte {
	return append([]byte{kind}, text...)
}

func orderKey(k bill.OrderKey) []byte {
	return appendOrder([]byte{kindOrder}, k)
}

// pendingKey is the place of the one notification to url about the order that
// may be pending.
func pendingKey(url string, k bill.OrderKey) []byte {
	return appendOrder(appendText([]byte{kindPending}, url), k)
}

func appendOrder(key []byte, k bill.OrderKey) []byte {
	key = appendText(key, k.Ledger)
	return append(appendText(key, k.Shop), k.OrderCode...)
}

func orphanKey(ledger, id string) []byte {
	return append(appendText([]byte{kindOrphan}, ledger), id...)
}

// historyPrefix is what the keys of all events of a bill begin with.
func historyPrefix(id string) []byte {
	return appendText([]byte{kindEvent}, id)
}

func eventKey(id string, revision uint64, index uint32) []byte {
	key := binary.BigEndian.AppendUint64(historyPrefix(id), revision)
	return binary.BigEndian.AppendUint32(key, index)
}

// indexKeys are the index entries that a bill has in its present state.
func indexKeys(b bill.Bill) [][]byte {
	keys := [][]byte{createdKey(b.CreatedAt, b.ID)}
	if !b.Status.Final() {
		keys = append(keys, textKey(kindOpen, b.ID))
		if b.Client != "" {
			keys = append(keys, append(openOfPrefix(b.Client), b.ID...))
		}
	}
	if !b.Due.IsZero() {
		keys = append(keys, dueKey(kindDue, b.Due, b.ID))
	}
	if b.Forgettable() {
		keys = append(keys, dueKey(kindEnded, b.UpdatedAt, b.ID))
	}
	return keys
}

// openOfPrefix is what the entries of a client's open bills begin with.
func openOfPrefix(client string) []byte {
	return appendText([]byte{kindOpenOf}, client)
}

// notificationIndexKeys are the index entries that a notification has in its
// present state.
func notificationIndexKeys(n bill.Notification) [][]byte {
	keys := [][]byte{toldKey(n)}
	if !n.Due.IsZero() {
		keys = append(keys, dueKey(kindNotificationDue, n.Due, n.ID))
	}
	return keys
}

// toldPrefix is what the entries of all notifications about a bill begin with.
func toldPrefix(billID string) []byte {
	return appendText([]byte{kindTold}, billID)
}

func toldKey(n bill.Notification) []byte {
	key := binary.BigEndian.AppendUint64(toldPrefix(n.Bill), n.Sequence)
	return append(key, n.ID...)
}

// idOfTold returns the id of the notification in a key of toldKey.
func idOfTold(key, prefix []byte) (string, error) {
	const sequence = 8
	if len(key) < len(prefix)+sequence {
		return "", errTooShort
	}
	return string(key[len(prefix)+sequence:]), nil
}

func createdKey(at time.Time, id string) []byte {
	key := appendTime([]byte{kindCreated}, at)
	for i := range key[1:] {
		key[1+i] = ^key[1+i]
	}
	return append(key, id...)
}

// dueKey is the entry of an id in one of the indexes that sort by time, oldest
// first.
func dueKey(kind byte, at time.Time, id string) []byte {
	return append(appendTime([]byte{kind}, at), id...)
}

// timeEnd is where a time ends in the keys of createdKey and dueKey.
const timeEnd = 1 + 8 + 4

var errTooShort = errors.New("an index key is too short")

// idOf returns the id in a key of createdKey or dueKey.
func idOf(key []byte) (string, error) {
	if len(key) < timeEnd {
		return "", errTooShort
	}
	return string(key[timeEnd:]), nil
}

// appendText appends text so that it ends unambiguously and sorts as text: a
// zero byte becomes 00 FF, the end is 00 01.
func appendText(key []byte, text string) []byte {
	for i := range len(text) {
		key = append(key, text[i])
		if text[i] == 0 {
			key = append(key, 0xff)
		}
	}
	return append(key, 0, 1)
}

// appendTime appends a time of any year so that it sorts as a time.
func appendTime(key []byte, t time.Time) []byte {
	seconds := uint64(t.Unix()) ^ 1<<63 //nolint:gosec // the sign bit is flipped, so that times before 1970 sort first
	key = binary.BigEndian.AppendUint64(key, seconds)
	return binary.BigEndian.AppendUint32(key, uint32(t.Nanosecond())) //nolint:gosec // below 1e9
}
