package wire_test

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
	"github.com/caddy-qlink/caddy-qlink/store/internal/wire"
)

// kind is a type of records, for tests that go over all of them.
type kind struct {
	filled func(t *testing.T) any // with every field set that is stored
	read   func(data []byte) (any, error)
	json   func(data []byte) (any, error)
	draw   func(t *rapid.T) any
}

var kinds = map[string]kind{
	"Bill":         of[bill.Bill](),
	"Details":      of[bill.Details](),
	"OrderRecord":  of[bill.OrderRecord](),
	"Event":        of[bill.Event](),
	"Notification": of[bill.Notification](),
	"Idempotency":  of[bill.Idempotency](),
	"Orphan":       of[bill.Orphan](),
	"text":         of[string](),
}

// of returns the kind of T. Every value is a *T.
func of[T any]() kind {
	generator := generated[T]()
	return kind{
		filled: func(t *testing.T) any {
			v := new(T)
			number := 0
			fill(t, reflect.ValueOf(v).Elem(), &number)
			return v
		},
		read: func(data []byte) (any, error) {
			v := new(T)
			return v, wire.Read(data, v)
		},
		json: func(data []byte) (any, error) {
			v, err := codec.Unmarshal[T](data)
			return &v, err
		},
		draw: func(t *rapid.T) any {
			v := generator.Draw(t, "record")
			return &v
		},
	}
}

var moment = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)

// fill sets every field that is stored, each to a value of its own.
func fill(t *testing.T, v reflect.Value, number *int) {
	t.Helper()
	*number++
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(moment.Add(time.Duration(*number) * time.Hour)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *number))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*number) * 1000)
	case reflect.Uint64:
		v.SetUint(uint64(*number) * 1000)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), number)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), number)
		fill(t, v.Index(1), number)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(t, v.Field(i), number)
			}
		}
	default:
		t.Fatalf("%v: package wire has no form for a %v", v.Type(), v.Kind())
	}
}

// A field that is added to package bill, and to no other, fails here.
func TestNoFieldIsForgotten(t *testing.T) {
	for name, k := range kinds {
		want := k.filled(t)
		got, err := k.read(mustAppend(t, want))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: read (-written +read):\n%s", name, diff)
		}
	}
}

func mustAppend(t tester, v any) []byte {
	t.Helper()
	data, err := wire.Append(nil, v)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return data
}

// tester is the part of *testing.T that *rapid.T has too.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Records lie beside those of the other form, and are carried between stores of
// both.
func TestWhatIsStoredIsWhatJSONStores(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := k.draw(t)
				text, refusal := codec.Marshal(v)
				data, err := wire.Append(nil, v)
				if (err == nil) != (refusal == nil) {
					t.Fatalf("refused: %v, and as JSON: %v", err, refusal)
				}
				if err != nil {
					return
				}
				want, err := k.json(text)
				if err != nil {
					t.Fatalf("as JSON: %v", err)
				}
				got, err := k.read(data)
				if err != nil {
					t.Fatalf("read: %v", err)
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("read (-by JSON +read):\n%s", diff)
				}
				// A migration compares stores by this text.
				if again, err := codec.Marshal(got); err != nil || !bytes.Equal(again, text) {
					t.Fatalf("as JSON it is %s, %v, and was %s", again, err, text)
				}
			})
		})
	}
}

// generated makes values of T with every exported field set at random, now and
// then to what cannot be stored.
func generated[T any]() *rapid.Generator[T] {
	return rapid.MakeCustom[T](rapid.MakeConfig{
		Kinds: map[reflect.Kind]*rapid.Generator[any]{
			reflect.String: rapid.Custom(drawText).AsAny(),
		},
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[time.Time](): rapid.Custom(drawTime).AsAny(),
		},
	})
}

func drawText(t *rapid.T) string {
	if rapid.IntRange(0, 999).Draw(t, "bad text") == 0 {
		return "a\xff"
	}
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "\x00", "商品", "\U0010ffff", strings.Repeat("x", 300)})).Draw(t, "text")
}

// The last seconds on each side of where an instant is written otherwise.
var edges = []int64{
	-62167219201, -62167219200, // the year 0
	-62135596800, -62135596799, // the zero time
	math.MinInt64/int64(time.Second) - 1, math.MinInt64 / int64(time.Second), math.MinInt64/int64(time.Second) + 1,
	-1, 0, 1,
	math.MaxInt64/int64(time.Second) - 1, math.MaxInt64 / int64(time.Second), math.MaxInt64/int64(time.Second) + 1,
	253402300799,
}

func drawTime(t *rapid.T) time.Time {
	seconds := rapid.Int64Range(0, 4_000_000_000).Draw(t, "seconds")
	switch rapid.IntRange(0, 9).Draw(t, "how") {
	case 0:
		return time.Time{}
	case 1:
		seconds = rapid.SampledFrom(edges[1:]).Draw(t, "edge")
	case 2:
		if rapid.IntRange(0, 99).Draw(t, "bad time") == 0 {
			seconds = rapid.SampledFrom([]int64{edges[0], 253402300800, math.MaxInt64 / 2, math.MinInt64 / 2}).Draw(t, "beyond")
		}
	}
	nanos := rapid.SampledFrom([]int64{0, 1, 1000, 999_999_999}).Draw(t, "nanoseconds")
	offset := rapid.IntRange(-12*3600, 14*3600).Draw(t, "offset")
	return time.Unix(seconds, nanos).In(time.FixedZone("", offset))
}

// story 34
func TestATimeOfAnyZoneComesBackAsTheSameInstantInUTC(t *testing.T) {
	shanghai := time.FixedZone("", 8*60*60)
	for _, seconds := range edges[1:] {
		given := time.Unix(seconds, 123456789).In(shanghai)
		var got bill.Event
		if err := wire.Read(mustAppend(t, &bill.Event{At: given}), &got); err != nil {
			t.Fatalf("%v: %v", given, err)
		}
		if !got.At.Equal(given) || got.At.Location() != time.UTC {
			t.Errorf("%v came back as %v", given, got.At)
		}
	}
}

func TestWhatCannotBeStoredIsRefused(t *testing.T) {
	for want, v := range map[string]any{
		"encode bill.Event: field 8: text that is not UTF-8":                   &bill.Event{Note: "\xff"},
		"encode bill.Event: field 2: a time outside the years 0 to 9999":       &bill.Event{At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"encode bill.OrderRecord: field 3: text that is not UTF-8":             &bill.OrderRecord{Attempts: []bill.Attempt{{Amount: "\xff"}}},
		"encode bill.Idempotency: field 3: a time outside the years 0 to 9999": &bill.Idempotency{ExpiresAt: time.Date(-1, 12, 31, 23, 59, 59, 0, time.UTC)},
		"encode bill.Notification: field 9: text that is not UTF-8":            &bill.Notification{Payload: "{\xff}", LastError: "\xff"},
		"only what a pointer points to has a binary form":                      bill.Event{},
		"there is no binary form of it":                                        new(int),
	} {
		if data, err := wire.Append([]byte("before"), v); err == nil || err.Error() != want || string(data) != "before" {
			t.Errorf("%#v: %v, want %s; and %q", v, err, want, data)
		}
	}
}

func TestAnElementThatIsEmptyIsThereAllTheSame(t *testing.T) {
	for _, want := range []any{
		&bill.OrderRecord{Attempts: make([]bill.Attempt, 3)},
		&bill.Details{Items: make([]bill.Item, 1)},
		&bill.Notification{Log: make([]bill.Try, 2)},
		&bill.Orphan{Resolved: &bill.Resolution{}},
	} {
		got, err := kinds[reflect.TypeOf(want).Elem().Name()].read(mustAppend(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read (-written +read):\n%s", diff)
		}
	}
}

func TestZeroTakesNothing(t *testing.T) {
	for name, k := range kinds {
		v, err := k.read(nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if data := mustAppend(t, v); len(data) != 0 {
			t.Errorf("%s: %x", name, data)
		}
	}
}

// later are fields that a later version may add, of every type there is.
func later() []byte {
	data := protowire.AppendVarint(protowire.AppendTag(nil, 5000, protowire.VarintType), 1<<63)
	data = protowire.AppendFixed32(protowire.AppendTag(data, 5001, protowire.Fixed32Type), 7)
	data = protowire.AppendFixed64(protowire.AppendTag(data, 5002, protowire.Fixed64Type), 7)
	data = protowire.AppendBytes(protowire.AppendTag(data, 5003, protowire.BytesType), []byte("\xff"))
	return protowire.AppendBytes(protowire.AppendTag(data, 5003, protowire.BytesType), nil)
}

func TestAFieldOfALaterVersionIsSkipped(t *testing.T) {
	for name, k := range kinds {
		want := k.filled(t)
		got, err := k.read(append(mustAppend(t, want), later()...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: read (-written +read):\n%s", name, diff)
		}
	}
	// In each nested record, too.
	for number := protowire.Number(1); number < 50; number++ {
		for name, k := range kinds {
			nested := protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), later())
			if _, err := k.read(nested); err != nil && !strings.Contains(err.Error(), "another type") && !strings.Contains(err.Error(), "UTF-8") {
				t.Errorf("%s, field %d: %v", name, number, err)
			}
		}
	}
}

func TestDamageIsRefused(t *testing.T) {
	kind, version := mustAppend(t, &bill.Event{Kind: "chosen"}), mustAppend(t, &bill.Event{Version: 300})
	report := mustAppend(t, &bill.Event{Report: bill.Report{TradeUUID: "x"}})
	field := func(number protowire.Number, kind protowire.Type, value ...byte) []byte {
		return append(protowire.AppendTag(nil, number, kind), value...)
	}
	for what, data := range map[string][]byte{
		"twice":                      append(kind, kind...),
		"a nested record twice":      append(report, report...),
		"in another order":           append(version, kind...),
		"cut in a number":            version[:2],
		"cut in a tag":               {0x80},
		"no field number":            {0x00, 0x00},
		"longer than the record":     {kind[0], 0x7f, 'a'},
		"longer than the nested one": field(9, protowire.BytesType, 2, 0x0a, 9, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'),
		"longer than any memory":     append(field(1, protowire.BytesType), protowire.AppendVarint(nil, math.MaxUint64)...),
		"text that is not UTF-8":     field(1, protowire.BytesType, 1, 0xff),
		"a number for a text":        field(1, protowire.VarintType, 1),
		"a text for a number":        field(6, protowire.BytesType, 1, 'a'),
		"a text for a nested record": field(9, protowire.VarintType, 1),
		"a flag of two":              field(14, protowire.VarintType, 2),
		"a number without an end":    field(6, protowire.VarintType, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"half an instant":            field(2, protowire.Fixed64Type, 1, 2, 3),
		"an instant of no year":      field(2, protowire.BytesType, append([]byte{11, 8}, protowire.AppendVarint(nil, 1<<63)...)...),
		"nanoseconds of two seconds": field(2, protowire.BytesType, append([]byte{6, 16}, protowire.AppendVarint(nil, 1_000_000_000)...)...),
		"a group":                    field(5000, protowire.StartGroupType, protowire.AppendTag(nil, 5000, protowire.EndGroupType)...),
	} {
		var e bill.Event
		if err := wire.Read(data, &e); err == nil || !strings.HasPrefix(err.Error(), "decode bill.Event: field ") {
			t.Errorf("%s (%x): %v, %+v", what, data, err, e)
		}
	}
}

func TestACutRecordNeverPassesForTheWholeOne(t *testing.T) {
	for name, k := range kinds {
		want := k.filled(t)
		data := mustAppend(t, want)
		for length := range data {
			if got, err := k.read(data[:length]); err == nil && cmp.Equal(want, got) {
				t.Errorf("%s: cut to %d of %d bytes, it is the same", name, length, len(data))
			}
		}
	}
}

func TestReadingKeepsNothingOfTheBytes(t *testing.T) {
	want := kinds["Bill"].filled(t)
	data := mustAppend(t, want)
	got, err := kinds["Bill"].read(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changed with the bytes (-written +read):\n%s", diff)
	}
}

func TestABillCostsOneAllocation(t *testing.T) {
	v := kinds["Bill"].filled(t)
	buffer := mustAppend(t, v)
	if n := testing.AllocsPerRun(100, func() { buffer, _ = wire.Append(buffer[:0], v) }); n > 0 {
		t.Errorf("to write: %v", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		var b bill.Bill
		if err := wire.Read(buffer, &b); err != nil {
			t.Error(err)
		}
	}); n > 1 {
		t.Errorf("to read: %v", n)
	}
}

func FuzzNoRecordMakesReadingPanic(f *testing.F) {
	for _, g := range golden(f) {
		f.Add(g.data)
	}
	f.Add(later())
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, k := range kinds {
			v, err := k.read(data)
			if err != nil {
				continue
			}
			again, err := k.read(mustAppend(t, v))
			if err != nil {
				t.Fatalf("%s: what was read cannot be stored: %v", name, err)
			}
			if diff := cmp.Diff(v, again); diff != "" {
				t.Fatalf("%s: stored again (-read +again):\n%s", name, diff)
			}
		}
	})
}
