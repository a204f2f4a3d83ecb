package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
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
//	r                                   that the store was restored, and its checkouts are closed; gone once they are open
//	v                                   the store's part in a migration into another one; gone where it has none
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
//
// What operators look through, newest first, is kept by what they look for. A
// key of these ends in a place, see place:
//
//	l (label) ^createdAt id             bills by what labels returns
//	k kind (name) ^createdAt id         bills by the names they have besides their id
//	y (state) ^createdAt id             notifications by their state
//	g ^billCreatedAt (bill) id          undelivered notifications by the place of their bill
//
// A change of what is in these indexes, or in a, e and m, is a new layout: see
// currentLayout.
const (
	kindBill            = 'b'
	kindDetails         = 'd'
	kindEvent           = 'h'
	kindOrder           = 'o'
	kindIdempotency     = 'i'
	kindOrphan          = 'x'
	kindNotification    = 'p'
	kindPending         = 'w'
	kindRestored        = 'r'
	kindMigration       = 'v'
	kindState           = 's'
	kindCreated         = 'c'
	kindOpen            = 'n'
	kindOpenOf          = 'a'
	kindDue             = 'u'
	kindEnded           = 'e'
	kindNotificationDue = 't'
	kindTold            = 'm'
	kindLabel           = 'l'
	kindName            = 'k'
	kindInState         = 'y'
	kindUntold          = 'g'
)

// The labels of bills beside their statuses.
const (
	labelLate   = "late"   // paid after it had ended
	labelRefund = "refund" // to be given back
	labelHeld   = "held"   // reported as paid, and not confirmed
)

// labels are what a bill is listed under.
func labels(b bill.Bill) []string {
	labels := []string{string(b.Status)}
	if b.LatePayment {
		labels = append(labels, labelLate)
	}
	if b.RefundDue {
		labels = append(labels, labelRefund)
	}
	if b.Unconfirmed() {
		labels = append(labels, labelHeld)
	}
	return labels
}

// The kinds of names that a bill has besides its id.
const (
	nameOrderCode        = 'o'
	nameBillCode         = 'b'
	namePaymentRequestID = 'r'
)

// maxName bounds what is kept of a name in a key, in bytes: who finds a bill by
// a longer one has to look at the bill, too. The gateway's names may be of any
// length, and no key is.
const maxName = 512

// keyRoom is more than most keys need, so that they are not moved while they
// grow: three allocations of four.
const keyRoom = 96

// newKey begins a key.
func newKey(kind byte) []byte {
	return append(make([]byte, 0, keyRoom), kind)
}

// textKey is the key of a record that has one text for a name.
func textKey(kind byte, text string) []byte {
	return append(newKey(kind), text...)
}

func orderKey(k bill.OrderKey) []byte {
	return appendOrder(newKey(kindOrder), k)
}

// pendingKey is the place of the one notification to url about the order that
// may be pending.
func pendingKey(url string, k bill.OrderKey) []byte {
	return appendOrder(appendText(newKey(kindPending), url), k)
}

func appendOrder(key []byte, k bill.OrderKey) []byte {
	key = appendText(key, k.Ledger)
	return append(appendText(key, k.Shop), k.OrderCode...)
}

func orphanKey(ledger, id string) []byte {
	return append(appendText(newKey(kindOrphan), ledger), id...)
}

// historyPrefix is what the keys of all events of a bill begin with.
func historyPrefix(id string) []byte {
	return appendText(newKey(kindEvent), id)
}

func eventKey(id string, revision uint64, index uint32) []byte {
	key := binary.BigEndian.AppendUint64(historyPrefix(id), revision)
	return binary.BigEndian.AppendUint32(key, index)
}

// indexKeys are the index entries that a bill has in its present state.
func indexKeys(b bill.Bill) [][]byte {
	const most = 10 // that an ordinary bill has
	keys := append(make([][]byte, 0, most), createdKey(b.CreatedAt, b.ID))
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
	return appendLookupKeys(keys, b)
}

// appendLookupKeys adds those of them that operators look through.
func appendLookupKeys(keys [][]byte, b bill.Bill) [][]byte {
	for _, label := range labels(b) {
		keys = append(keys, appendPlace(labelPrefix(label), b.CreatedAt, b.ID))
	}
	for _, name := range []struct {
		kind byte
		text string
	}{{nameOrderCode, b.OrderCode}, {nameBillCode, b.BillCode}, {namePaymentRequestID, b.PaymentRequestID}} {
		if name.text != "" {
			keys = append(keys, appendPlace(namePrefix(name.kind, name.text), b.CreatedAt, b.ID))
		}
	}
	return keys
}

// labelPrefix is what the entries of all bills of a label begin with.
func labelPrefix(label string) []byte {
	return appendText(newKey(kindLabel), label)
}

// namePrefix is what the entries of all bills of a name begin with.
func namePrefix(kind byte, name string) []byte {
	return appendText(append(newKey(kindName), kind), cut(name))
}

// orderPrefix is what the entries of all bills begin with whose order codes
// begin with the given text.
func orderPrefix(beginning string) []byte {
	return appendEscaped(append(newKey(kindName), nameOrderCode), cut(beginning))
}

func cut(name string) string { return name[:min(len(name), maxName)] }

// openOfPrefix is what the entries of a client's open bills begin with.
func openOfPrefix(client string) []byte {
	return appendText(newKey(kindOpenOf), client)
}

// notificationIndexKeys are the index entries that a notification has in its
// present state.
func notificationIndexKeys(n bill.Notification) [][]byte {
	const most = 4
	keys := append(make([][]byte, 0, most), toldKey(n))
	if !n.Due.IsZero() {
		keys = append(keys, dueKey(kindNotificationDue, n.Due, n.ID))
	}
	// Operators look through these.
	keys = append(keys, appendPlace(inStatePrefix(n.State), n.CreatedAt, n.ID))
	if n.Undelivered() {
		keys = append(keys, untoldKey(n))
	}
	return keys
}

// inStatePrefix is what the entries of all notifications in a state begin with.
func inStatePrefix(s bill.NotificationState) []byte {
	return appendText(newKey(kindInState), string(s))
}

func untoldKey(n bill.Notification) []byte {
	key := appendPlace(newKey(kindUntold), n.BillCreatedAt, "")
	return append(appendText(key, n.Bill), n.ID...)
}

// toldPrefix is what the entries of all notifications about a bill begin with.
func toldPrefix(billID string) []byte {
	return appendText(newKey(kindTold), billID)
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
	return appendPlace(newKey(kindCreated), at, id)
}

// dueKey is the entry of an id in one of the indexes that sort by time, oldest
// first.
func dueKey(kind byte, at time.Time, id string) []byte {
	return append(appendTime(newKey(kind), at), id...)
}

// timeEnd is where a time ends in the keys of createdKey and dueKey.
const timeEnd = 1 + 8 + 4

var (
	errTooShort = errors.New("an index key is too short")
	errNoText   = errors.New("an index key has a text without an end")
)

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
	return append(appendEscaped(key, text), 0, 1)
}

func appendEscaped(key []byte, text string) []byte {
	if strings.IndexByte(text, 0) < 0 {
		return append(key, text...)
	}
	for i := range len(text) {
		key = append(key, text[i])
		if text[i] == 0 {
			key = append(key, 0xff)
		}
	}
	return key
}

// splitText returns the text that key begins with, as appendText wrote it, and
// what follows.
func splitText(key []byte) (text string, rest []byte, err error) {
	escaped, rest, ok := bytes.Cut(key, []byte{0, 1})
	if !ok {
		return "", nil, errNoText
	}
	return string(bytes.ReplaceAll(escaped, []byte{0, 0xff}, []byte{0})), rest, nil
}

// appendTime appends a time of any year so that it sorts as a time.
func appendTime(key []byte, t time.Time) []byte {
	seconds := uint64(t.Unix()) ^ 1<<63 //nolint:gosec // the sign bit is flipped, so that times before 1970 sort first
	key = binary.BigEndian.AppendUint64(key, seconds)
	return binary.BigEndian.AppendUint32(key, uint32(t.Nanosecond())) //nolint:gosec // below 1e9
}

// timeIn returns the time that appendTime wrote.
func timeIn(key []byte) time.Time {
	seconds := int64(binary.BigEndian.Uint64(key) ^ 1<<63) //nolint:gosec // the sign bit, flipped back
	return time.Unix(seconds, int64(binary.BigEndian.Uint32(key[8:]))).UTC()
}
