package qlink

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// text is a field of the gateway's that the document types as a string: a string, a number
// (kept as its digits) or null. Any other value is an error, since to ignore it would be to
// skip a comparison that depends on it.
type text string

var errNotText = errors.New("neither a string nor a number")

func (t *text) UnmarshalJSON(value []byte) error {
	switch jsontext.Value(value).Kind() {
	case jsontext.KindNull:
		*t = ""
		return nil
	case jsontext.KindString:
		return json.Unmarshal(value, (*string)(t))
	case jsontext.KindNumber:
		*t = text(value)
		return nil
	default:
		return errNotText
	}
}

// note is a field that must never stand in the way: whatever cannot be read is empty. The
// document itself types times and error codes wrongly.
type note string

func (n *note) UnmarshalJSON(value []byte) error {
	var t text
	if err := t.UnmarshalJSON(value); err != nil {
		t = ""
	}
	*n = note(t)
	return nil
}
