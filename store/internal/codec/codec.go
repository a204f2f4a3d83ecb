// Package codec turns values of the domain into the JSON that stores keep, and
// back. It exists so that every store agrees on what survives being stored:
// times become UTC, fields that package bill marks as not stored are left out,
// and text that is not UTF-8 is an error instead of quietly another text.
//
// It performs no I/O and knows no keys. The stores call it.
package codec

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// utc writes times in UTC, to the nanosecond; what was written that way reads
// back in UTC.
var utc = json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, t time.Time) error {
	text, err := t.UTC().MarshalText()
	if err != nil {
		return err
	}
	return enc.WriteToken(jsontext.String(string(text)))
}))

// Marshal returns v as JSON. Times outside the years 0 to 9999 and text that
// is not UTF-8 are errors.
func Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v, utc)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return data, nil
}

// Unmarshal reads what Marshal wrote. Fields it does not know are ignored, so
// that a record with a new optional field needs no new format.
func Unmarshal[T any](data []byte) (T, error) {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		var zero T
		return zero, fmt.Errorf("decode %T: %w", v, err)
	}
	return v, nil
}
