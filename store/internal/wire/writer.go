package wire

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	errText = errors.New("text that is not UTF-8")
	errYear = errors.New("a time outside the years 0 to 9999")
)

// writer appends fields to a buffer. Its error is the first one.
type writer struct {
	buffer []byte
	err    error
}

func (w *writer) fail(number protowire.Number, err error) {
	if w.err == nil {
		w.err = fmt.Errorf("field %d: %w", number, err)
	}
}

func (w *writer) text(number protowire.Number, text string) {
	if text == "" {
		return
	}
	if !utf8.ValidString(text) {
		w.fail(number, errText)
	}
	w.buffer = protowire.AppendTag(w.buffer, number, protowire.BytesType)
	w.buffer = protowire.AppendString(w.buffer, text)
}

func (w *writer) count(number protowire.Number, count uint64) {
	if count == 0 {
		return
	}
	w.buffer = protowire.AppendTag(w.buffer, number, protowire.VarintType)
	w.buffer = protowire.AppendVarint(w.buffer, count)
}

// integer is for what is never negative but by mistake, and costs ten bytes then.
func (w *writer) integer(number protowire.Number, i int64) {
	w.count(number, uint64(i)) //nolint:gosec // two's complement, as the wire format has it
}

func (w *writer) flag(number protowire.Number, flag bool) {
	if flag {
		w.count(number, 1)
	}
}

// The seconds since 1970 within which an instant fits nanoseconds since then in
// 64 bits (the years 1678 to 2262), and the first and last ones of the years
// that can be stored.
const (
	earliestShort = math.MinInt64/int64(time.Second) + 1
	latestShort   = math.MaxInt64/int64(time.Second) - 1
	earliest      = -62167219200
	latest        = 253402300799
)

// instant writes the nanoseconds since 1970 in 8 bytes, and instants that do not
// fit those as a google.protobuf.Timestamp.
func (w *writer) instant(number protowire.Number, t time.Time) {
	if t.IsZero() {
		return
	}
	switch seconds := t.Unix(); {
	case seconds >= earliestShort && seconds <= latestShort:
		w.buffer = protowire.AppendTag(w.buffer, number, protowire.Fixed64Type)
		w.buffer = protowire.AppendFixed64(w.buffer, uint64(t.UnixNano()))
	case seconds < earliest || seconds > latest:
		w.fail(number, errYear)
	default:
		at := w.begin(number)
		w.integer(timestampSeconds, seconds)
		w.integer(timestampNanos, int64(t.Nanosecond()))
		w.end(at)
	}
}

// nested is where a nested record begins: its field, and what follows the one
// byte that is kept for its length.
type nested struct{ field, body int }

func (w *writer) begin(number protowire.Number) nested {
	field := len(w.buffer)
	w.buffer = protowire.AppendTag(w.buffer, number, protowire.BytesType)
	w.buffer = append(w.buffer, 0)
	return nested{field, len(w.buffer)}
}

// end ends a nested record, and takes it back where it is empty.
func (w *writer) end(at nested) {
	if len(w.buffer) == at.body {
		w.buffer = w.buffer[:at.field]
		return
	}
	w.endPresent(at)
}

// endPresent ends one that says something by being there: an element of a list.
func (w *writer) endPresent(at nested) {
	length := uint64(len(w.buffer) - at.body) //nolint:gosec // never negative
	if size := protowire.SizeVarint(length); size > 1 {
		w.buffer = append(w.buffer, make([]byte, size-1)...)
		copy(w.buffer[at.body+size-1:], w.buffer[at.body:])
	}
	protowire.AppendVarint(w.buffer[:at.body-1], length)
}
