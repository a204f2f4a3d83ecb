package qlink

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// answer is what the gateway answered, taken out of whichever envelope it came in. The
// document shows bare arrays and objects, yet says that every answer has `success`; other
// gateways of the family wrap the payload. All of these are read.
type answer struct {
	success   *bool // nil where the answer doesn't say
	message   string
	errorCode string
	rows      []jsontext.Value // the payload: objects, none of them blank
	// empty says that the gateway certainly answered with nothing. It isn't the same as no
	// rows: an answer may hold something that is not understood.
	empty bool
}

var (
	errScalar   = errors.New("the answer is neither an object nor an array")
	errBadRow   = errors.New("a row of the answer is not an object")
	errSuccess  = errors.New("success is neither true nor false")
	errTooDeep  = errors.New("the answer has too many envelopes")
	errNoRow    = errors.New("the answer holds nothing of what was asked for")
	errManyRows = errors.New("the answer holds more than one payment")
)

type object map[string]jsontext.Value

// parseAnswer reads an answer's body strictly: a name that stands twice could mean two
// things, and is an error.
func parseAnswer(body []byte) (answer, error) {
	var a answer
	var value jsontext.Value
	if err := json.Unmarshal(body, &value); err != nil {
		return a, err
	}
	return a, a.read(value, 0)
}

// read takes a payload that may be an envelope. An envelope may hold one more, which must
// then say so by its own `success`.
func (a *answer) read(value jsontext.Value, depth int) error {
	switch value.Kind() {
	case jsontext.KindNull:
		a.empty = true
		return nil
	case jsontext.KindBeginArray:
		return a.readRows(value)
	case jsontext.KindBeginObject:
		var o object
		if err := json.Unmarshal(value, &o); err != nil {
			return err
		}
		return a.readObject(value, o, depth)
	default:
		return errScalar
	}
}

func (a *answer) readRows(value jsontext.Value) error {
	var rows []jsontext.Value
	if err := json.Unmarshal(value, &rows); err != nil {
		return err
	}
	for _, row := range rows {
		if blank(row) {
			continue
		}
		if row.Kind() != jsontext.KindBeginObject {
			return errBadRow
		}
		a.rows = append(a.rows, row)
	}
	a.empty = len(a.rows) == 0
	return nil
}

func (a *answer) readObject(whole jsontext.Value, o object, depth int) error {
	if err := a.readEnvelope(o); err != nil {
		return err
	}
	payload, wrapped, err := o.payload()
	switch {
	case err != nil:
		return err
	case a.refused():
		return nil
	case payload.Kind() == jsontext.KindBeginArray:
		return a.readRows(payload)
	case payload != nil && envelopeInside(payload):
		if depth > 0 {
			return errTooDeep
		}
		return a.read(payload, depth+1)
	case payload != nil:
		a.rows = []jsontext.Value{payload}
	case o.isRow(wrapped):
		a.rows = []jsontext.Value{whole}
	default:
		a.empty = a.certainlyEmpty(o)
	}
	return nil
}

// readEnvelope takes over what stands around a payload; an inner envelope's words replace
// the outer's.
func (a *answer) readEnvelope(o object) error {
	success, err := o.success()
	if err != nil {
		return err
	}
	if success != nil {
		a.success = success
	}
	for _, name := range []string{"message", "msg", "errorMsg"} {
		if m := o.note(name); m != "" {
			a.message = m
			break
		}
	}
	if c := o.note("errorCode"); c != "" {
		a.errorCode = c
	}
	return nil
}

func (a *answer) refused() bool { return a.success != nil && !*a.success }

// certainlyEmpty decides whether an envelope without a payload means that there is nothing.
// That belief lets a payment be asked for again, so it takes `success:true` and no container
// that might be a payload under a name unknown here, or else nothing at all.
func (a *answer) certainlyEmpty(o object) bool {
	saysSuccess := a.success != nil && *a.success
	for name, value := range o {
		switch {
		case name == "success" || blank(value):
		case !saysSuccess || !blank(container(value)):
			return false
		}
	}
	return true
}

// success reads a boolean, or the text of one.
func (o object) success() (*bool, error) {
	value, ok := o["success"]
	if !ok || blank(value) {
		return nil, nil
	}
	yes := strings.EqualFold(strings.Trim(string(value), `"`), "true")
	no := strings.EqualFold(strings.Trim(string(value), `"`), "false")
	if !yes && !no {
		return nil, errSuccess
	}
	return &yes, nil
}

func (o object) note(name string) string {
	var n note
	if value, ok := o[name]; ok && json.Unmarshal(value, &n) != nil {
		return ""
	}
	return string(n)
}

// payload returns the object or array that the envelope wraps, nil if there is none or it
// is blank. wrapped says that a place for it is there, be it blank.
func (o object) payload() (payload jsontext.Value, wrapped bool, err error) {
	for _, name := range []string{"result", "data", "content"} {
		value, ok := o[name]
		if !ok {
			continue
		}
		inner := container(value)
		switch {
		case inner == nil:
			wrapped = wrapped || blank(value)
		case !inner.IsValid():
			return nil, true, errors.New(name + " holds a text of bad JSON")
		case blank(inner):
			wrapped = true
		default:
			return inner, true, nil
		}
	}
	return nil, wrapped, nil
}

// isRow says whether the object is itself a payload, its fields beside `success`. Next to a
// blank place for a payload only a payment's key makes it one: gateways put a `status` or
// `type` of their own into envelopes.
func (o object) isRow(wrapped bool) bool {
	if o.has("tradeUuid", "billCode") {
		return true
	}
	return !wrapped && o.has("status", "actionValue", "paymentRequestId", "orderCode", "type", "channelCode")
}

func (o object) has(names ...string) bool {
	for _, name := range names {
		if !blank(o[name]) {
			return true
		}
	}
	return false
}

func envelopeInside(payload jsontext.Value) bool {
	var o object
	return json.Unmarshal(payload, &o) == nil && o["success"] != nil
}

// container returns the object or array that a value is, or is the JSON text of; the
// latter need not be valid. It returns nil for any other value.
func container(value jsontext.Value) jsontext.Value {
	switch value.Kind() {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return value
	case jsontext.KindString:
		var s string
		if json.Unmarshal(value, &s) != nil {
			return nil
		}
		s = strings.TrimSpace(s)
		if strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
			return jsontext.Value(s)
		}
	}
	return nil
}

// blank says whether a value is missing or says nothing: null, "", {}, [], the text "null",
// or an object or array of nothing but these, which is what Java makes of an empty row. It
// looks one level deep, so that no depth of nesting costs more than the answer's length.
func blank(value jsontext.Value) bool {
	switch value.Kind() {
	case jsontext.KindBeginObject:
		var o object
		if json.Unmarshal(value, &o) != nil {
			return false
		}
		for _, member := range o {
			if !hollow(member) {
				return false
			}
		}
		return true
	case jsontext.KindBeginArray:
		var elements []jsontext.Value
		return json.Unmarshal(value, &elements) == nil &&
			!slices.ContainsFunc(elements, func(v jsontext.Value) bool { return !hollow(v) })
	default:
		return hollow(value)
	}
}

func hollow(value jsontext.Value) bool {
	switch value.Kind() {
	case jsontext.KindInvalid, jsontext.KindNull:
		return true
	case jsontext.KindString:
		return string(value) == `""` || string(value) == `"null"`
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return len(bytes.TrimSpace(value[1:len(value)-1])) == 0
	default:
		return false
	}
}
