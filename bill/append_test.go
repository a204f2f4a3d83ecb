package bill_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// texts are what a stranger may have sent, and what the usual texts are.
var texts = rapid.OneOf(
	rapid.SampledFrom([]string{"", "IDR", "00020101021226670016COM", "<>&='/\"\\", "\u2028\u007f\x00\t\n", "bad \xff\xc0 text", "支付", "😀"}),
	rapid.String(),
	rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) }),
)

// draw fills whatever a bill holds, fields that it gains included.
func draw(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(texts.Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "number"))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "number"))
	case reflect.Struct:
		if at, ok := reflect.TypeAssert[*time.Time](v.Addr()); ok {
			*at = drawTime(t)
			return
		}
		for _, field := range v.Fields() {
			draw(t, field)
		}
	default:
		t.Fatalf("no bill held a %v", v.Type())
	}
}

// drawTime returns any time of year 1 to 9999, of which many are the zero time
// and many whole seconds, in any zone.
func drawTime(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "zero") {
		return time.Time{}
	}
	at := time.Unix(rapid.Int64Range(-62135596800+86400, 253402300799-86400).Draw(t, "seconds"), 0)
	if rapid.Bool().Draw(t, "fraction") {
		at = at.Add(time.Duration(rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")))
	}
	return at.In(time.FixedZone("", rapid.IntRange(-43200, 43200).Draw(t, "zone")))
}

func TestAppendViewWritesWhatTheEncoderMakesOfTheView(t *testing.T) {
	statuses := append(bill.Statuses(), "", "ODD")
	rapid.Check(t, func(t *rapid.T) {
		var b bill.Bill
		draw(t, reflect.ValueOf(&b).Elem())
		b.Status = rapid.SampledFrom(statuses).Draw(t, "status")
		payURL := texts.Draw(t, "payURL")
		want, err := json.Marshal(b.View(payURL), jsontext.AllowInvalidUTF8(true))
		if err != nil {
			t.Fatal(err)
		}
		before := rapid.SampledFrom([]string{"", "data: "}).Draw(t, "before")
		if got := b.AppendView([]byte(before), payURL); string(got) != before+string(want) {
			t.Errorf("appended %s\nencoded  %s", got, want)
		}
	})
}

func TestAppendViewLeavesNoFieldOfTheViewOut(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal(new(bill.Bill).AppendView(nil, ""), &got); err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[bill.View]().Fields() {
		if f.Name == "Metadata" { // which only the shop reads, elsewhere
			continue
		}
		if name := f.Tag.Get("json"); got[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}
