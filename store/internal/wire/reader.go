package wire

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	errOrder  = errors.New("it comes behind a field of a higher number")
	errTwice  = errors.New("it is there twice")
	errType   = errors.New("it has another type")
	errLength = errors.New("it is longer than the record")
	errRange  = errors.New("a number that is out of range")
)

// reader walks the fields of a record, and of the nested record that it has
// entered. Its error is the first one, and ends every walk.
type reader struct {
	data []byte
	copy string // the same; every text is a part of it
	at   int
	end  int // of the record, or the nested one
	err  error

	number protowire.Number // of the field whose value comes next …
	kind   protowire.Type   // … and its type
	again  bool             // whether the field before had the same number
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("field %d: %w", r.number, err)
	}
}

// next moves to the next field, and reports whether there is one. Its value has
// to be read, or skipped, before the following call.
func (r *reader) next() bool {
	if r.err != nil || r.at == r.end {
		return false
	}
	number, kind, n := protowire.ConsumeTag(r.data[r.at:r.end])
	if n < 0 {
		r.fail(protowire.ParseError(n))
		return false
	}
	if number < r.number {
		r.fail(errOrder)
		return false
	}
	r.again = number == r.number
	r.number, r.kind = number, kind
	r.at += n
	return true
}

// skip goes over a field that a later version has written.
func (r *reader) skip() {
	switch r.kind {
	case protowire.VarintType, protowire.Fixed32Type, protowire.Fixed64Type, protowire.BytesType:
	default:
		r.fail(errType)
		return
	}
	n := protowire.ConsumeFieldValue(r.number, r.kind, r.data[r.at:r.end])
	if n < 0 {
		r.fail(protowire.ParseError(n))
		return
	}
	r.at += n
}

// once reports whether the field has the given type, and no other its number.
func (r *reader) once(kind protowire.Type) bool {
	if r.again {
		r.fail(errTwice)
	}
	return r.is(kind)
}

func (r *reader) is(kind protowire.Type) bool {
	if r.kind != kind {
		r.fail(errType)
	}
	return r.err == nil
}

func (r *reader) varint() uint64 {
	v, n := protowire.ConsumeVarint(r.data[r.at:r.end])
	if n < 0 {
		r.fail(protowire.ParseError(n))
		return 0
	}
	r.at += n
	return v
}

// length returns the length of a value whose bytes come next, all of which are
// there.
func (r *reader) length() int {
	length := r.varint()
	if length > uint64(r.end-r.at) { //nolint:gosec // never negative
		r.fail(errLength)
		return 0
	}
	return int(length) //nolint:gosec // as it was just compared
}

func (r *reader) text() string {
	if !r.once(protowire.BytesType) {
		return ""
	}
	length := r.length()
	text := r.copy[r.at : r.at+length]
	r.at += length
	if !utf8.ValidString(text) {
		r.fail(errText)
	}
	return text
}

// alone reads a record that is a text and nothing else.
func (r *reader) alone(text *string) {
	for r.next() {
		if r.number == textItself {
			*text = r.text()
		} else {
			r.skip()
		}
	}
}

func (r *reader) count() uint64 {
	if !r.once(protowire.VarintType) {
		return 0
	}
	return r.varint()
}

func (r *reader) integer() int64 {
	return int64(r.count()) //nolint:gosec // two's complement, as the wire format has it
}

// small is an integer that package bill keeps as an int.
func (r *reader) small() int {
	i := r.integer()
	if int64(int(i)) != i {
		r.fail(errRange)
	}
	return int(i)
}

func (r *reader) flag() bool {
	switch r.count() {
	case 0:
		return false
	case 1:
		return true
	}
	r.fail(errRange)
	return false
}

func (r *reader) instant() time.Time {
	if r.kind == protowire.BytesType {
		return r.timestamp()
	}
	if !r.once(protowire.Fixed64Type) {
		return time.Time{}
	}
	nanos, n := protowire.ConsumeFixed64(r.data[r.at:r.end])
	if n < 0 {
		r.fail(protowire.ParseError(n))
		return time.Time{}
	}
	r.at += n
	return time.Unix(0, int64(nanos)).UTC() //nolint:gosec // two's complement
}

func (r *reader) timestamp() time.Time {
	var seconds, nanos int64
	outer := r.enter()
	for r.next() {
		switch r.number {
		case timestampSeconds:
			seconds = r.integer()
		case timestampNanos:
			nanos = r.integer()
		default:
			r.skip()
		}
	}
	r.leave(outer)
	if seconds < earliest || seconds > latest || nanos < 0 || nanos >= int64(time.Second) {
		r.fail(errRange)
		return time.Time{}
	}
	return time.Unix(seconds, nanos).UTC()
}

// outer is where a nested record lies: what the reader goes on with behind it.
type outer struct {
	end    int
	number protowire.Number
}

// enter makes the fields of a nested record the next ones.
func (r *reader) enter() outer {
	r.once(protowire.BytesType)
	return r.enterElement()
}

// enterElement does so for an element of a list.
func (r *reader) enterElement() outer {
	around := outer{r.end, r.number}
	if r.is(protowire.BytesType) {
		length := r.length()
		r.end, r.number = r.at+length, 0
	}
	return around
}

func (r *reader) leave(around outer) {
	r.end, r.number = around.end, around.number
}
