// Package wire turns what a store keeps of the domain into a compact binary
// form, and back. It exists because an embedded store reads and writes such
// records for every request: JSON, which package codec writes for all else,
// costs ten times as much, and twice the room.
//
// What survives is what survives package codec: times become UTC, to the
// nanosecond; what package bill marks as not stored is left out; text that is
// not UTF-8, and times outside the years 0 to 9999, are errors.
//
// The form is Protocol Buffers' wire format: fields of number, type and value,
// of which those that are zero are left out. Every number stands in fields.go. How
// it may grow:
//   - a new field has the next number of its record, or nested record, and is
//     written last: who does not know it skips it, and who finds it missing
//     takes it for zero;
//   - a number keeps its meaning and type for ever; that of a field that is gone
//     is not given again;
//   - fields are in the order of their numbers, which only the elements of a list
//     share: a field that comes again, or too late, is damage.
//
// It performs no I/O, and knows no keys, checksums or formats of stores. Package
// badger calls it.
package wire

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// ErrUnknown is returned for values that have no binary form.
var ErrUnknown = errors.New("there is no binary form of it")

// errNoPointer keeps a caller from storing in another form what has this one.
var errNoPointer = errors.New("only what a pointer points to has a binary form")

// Append appends the binary form of what v points to: a string, or what package
// bill has stored. It keeps nothing of v.
func Append(buffer []byte, v any) ([]byte, error) {
	w := writer{buffer: buffer}
	switch v := v.(type) {
	case *bill.Bill:
		w.bill(v)
	case *bill.Details:
		w.details(v)
	case *bill.OrderRecord:
		w.order(v)
	case *bill.Event:
		w.event(v)
	case *bill.Notification:
		w.notification(v)
	case *bill.Idempotency:
		w.idempotency(v)
	case *bill.Orphan:
		w.orphan(v)
	case *string:
		w.text(textItself, *v)
	case bill.Bill, bill.Details, bill.OrderRecord, bill.Event, bill.Notification, bill.Idempotency, bill.Orphan, string:
		return buffer, errNoPointer
	default:
		return buffer, ErrUnknown
	}
	if w.err != nil {
		return buffer, fmt.Errorf("encode %v: %w", reflect.TypeOf(v).Elem(), w.err)
	}
	return w.buffer, nil
}

// Read reads what Append wrote into what v points to, which has to be zero. It
// keeps nothing of data. Whatever data is, the memory that this takes is bounded
// by its length.
func Read(data []byte, v any) error {
	// One copy holds all texts of the record, which are parts of it.
	r := reader{data: data, copy: string(data), end: len(data)}
	switch v := v.(type) {
	case *bill.Bill:
		r.bill(v)
	case *bill.Details:
		r.details(v)
	case *bill.OrderRecord:
		r.order(v)
	case *bill.Event:
		r.event(v)
	case *bill.Notification:
		r.notification(v)
	case *bill.Idempotency:
		r.idempotency(v)
	case *bill.Orphan:
		r.orphan(v)
	case *string:
		r.alone(v)
	default:
		return ErrUnknown
	}
	if r.err != nil {
		return fmt.Errorf("decode %v: %w", reflect.TypeOf(v).Elem(), r.err)
	}
	return nil
}
