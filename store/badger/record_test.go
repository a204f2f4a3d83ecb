package badger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// fixtureKey is the key that the fixture was sealed under.
var fixtureKey = textKey(kindBill, "4be7a3b4-68b1-4d0a-a3c4-5c8a1f5b7d10")

// fixtures returns a record of each format, as it lies in stores since the
// release that brought it: line by line, in hexadecimal.
func fixtures(tb testing.TB) map[byte][]byte {
	tb.Helper()
	records := make(map[byte][]byte)
	for _, format := range []byte{formatJSON, formatWire} {
		text, err := os.ReadFile(fmt.Sprintf("testdata/bill-format-%d.hex", format))
		if err != nil {
			tb.Fatal(err)
		}
		if records[format], err = hex.DecodeString(strings.Join(strings.Fields(string(text)), "")); err != nil {
			tb.Fatal(err)
		}
	}
	return records
}

func fixtureBill() bill.Bill {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)
	return bill.Bill{
		ID: "4be7a3b4-68b1-4d0a-a3c4-5c8a1f5b7d10", Ledger: "0123456789abcdef0123456789abcdef",
		Account: "default", Shop: "商店", OrderCode: "O20250804001", Attempt: 2, LiveMode: true,
		Status: bill.Success, Amount: "15000.00", Currency: "IDR", Country: "ID", PayType: "ONLINE", PayChannel: "QRIS",
		BillCode: "B1", PaymentRequestID: "R1", Action: bill.Action{Kind: bill.ActionQR, Value: "000201<&>\u2028"},
		CreatedAt: at, UpdatedAt: at.Add(time.Minute), SignedAt: at, ExpiresAt: at.Add(time.Hour), PayTime: at.Add(time.Second),
		Apply:       bill.Applying{Tries: 1, StartedAt: at, EndedAt: at.Add(time.Second), Accepted: true},
		Cancel:      bill.Cancelling{Reason: bill.CancelBuyer, At: at, Refusals: 1},
		LatePayment: true, SettledBy: bill.ByWebhook, AskedAt: at, Version: 7, Revision: 9, Silent: 1,
	}
}

func TestARecordOfEveryFormatCanBeReadForEver(t *testing.T) {
	for format, record := range fixtures(t) {
		got, err := openRecord[bill.Bill](fixtureKey, record)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fixtureBill(), got); record[0] != format || diff != "" {
			t.Errorf("format %d: read (-want +got):\n%s", format, diff)
		}
	}
}

func TestARecordIsWrittenAsItWas(t *testing.T) {
	b := fixtureBill()
	record, err := seal(fixtureKey, &b)
	if err != nil {
		t.Fatal(err)
	}
	if want := fixtures(t)[formatWire]; !bytes.Equal(record, want) {
		t.Errorf("%x, want %x", record, want)
	}
	if cap(record) > len(record)+len(record)/4 {
		t.Errorf("it takes %d bytes of memory for %d", cap(record), len(record))
	}
}

// Buffers are shared by all who seal.
func TestARecordStaysAsItIsWhenOthersAreSealed(t *testing.T) {
	var tasks sync.WaitGroup
	for range 8 {
		tasks.Go(func() {
			for n := range 500 {
				want := change(strings.Repeat("x", n*n%1000)).Bills[0].Bill
				record, err := seal(fixtureKey, &want)
				if err != nil {
					t.Error(err)
					return
				}
				runtime.Gosched()
				got, err := openRecord[bill.Bill](fixtureKey, record)
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%v, read (-want +got):\n%s", err, diff)
					return
				}
			}
		})
	}
	tasks.Wait()
}

func TestTextThatIsNotUTF8IsNotSealed(t *testing.T) {
	if record, err := seal(fixtureKey, &bill.Bill{Shop: "\xff"}); err == nil {
		t.Errorf("sealed: %x", record)
	}
	if record, err := seal(stateKey, state{Store: "\xff"}); err == nil {
		t.Errorf("sealed: %x", record)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	for format, record := range fixtures(t) {
		for i := range record {
			for bit := range 8 {
				record[i] ^= 1 << bit
				if _, err := openRecord[bill.Bill](fixtureKey, record); !errors.Is(err, ErrDamaged) {
					t.Fatalf("format %d, byte %d, bit %d: %v", format, i, bit, err)
				}
				record[i] ^= 1 << bit
			}
		}
	}
}

func TestACutRecordIsNoticed(t *testing.T) {
	for format, record := range fixtures(t) {
		for length := range record {
			if _, err := openRecord[bill.Bill](fixtureKey, record[:length]); !errors.Is(err, ErrDamaged) {
				t.Fatalf("format %d, cut to %d bytes: %v", format, length, err)
			}
		}
	}
}

func TestARecordUnderAnothersKeyIsNoticed(t *testing.T) {
	for format, record := range fixtures(t) {
		if _, err := openRecord[bill.Bill](textKey(kindBill, "another"), record); !errors.Is(err, ErrDamaged) {
			t.Errorf("format %d: opened: %v", format, err)
		}
	}
}

// resummed returns a record with the given beginning and a checksum that is right.
func resummed(body ...byte) []byte { return withSum(fixtureKey, body) }

func TestContentThatCannotBeReadIsDamage(t *testing.T) {
	for what, record := range map[string][]byte{
		"no JSON":             resummed(formatJSON, '{'),
		"half a field":        resummed(formatWire, 0x0a, 0x05, 'x'),
		"another's type":      resummed(formatWire, 0x08, 0x01),
		"a binary form of it": resummed(formatWire, 0x0a, 0x01, 'x'),
	} {
		_, err := openRecord[bill.Bill](fixtureKey, record)
		if what == "a binary form of it" { // of what has none
			_, err = openRecord[stateRecord](fixtureKey, record)
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAFormatOfTheFutureIsNotTakenForDamage(t *testing.T) {
	_, err := openRecord[bill.Bill](fixtureKey, resummed(formatWire+1, '{', '}'))
	if !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "format 3") {
		t.Errorf("opened: %v", err)
	}
}

func FuzzNoRecordMakesOpeningPanic(f *testing.F) {
	for _, record := range fixtures(f) {
		f.Add(fixtureKey, record[:len(record)-sumSize])
	}
	f.Add([]byte("b"), []byte{formatJSON, '{', '}'})
	f.Fuzz(func(t *testing.T, key, body []byte) {
		if _, err := openRecord[bill.Bill](key, body); err == nil && len(body) <= 1+sumSize {
			t.Error("opened a record of nothing")
		}
		// As if somebody who knows the checksum had written it.
		v, err := openRecord[bill.Bill](key, withSum(key, body))
		if err != nil || body[0] != formatWire {
			return
		}
		if _, err := seal(key, &v); err != nil {
			t.Errorf("what was opened cannot be sealed: %v", err)
		}
	})
}

func BenchmarkSealBill(b *testing.B) {
	v := fixtureBill()
	benchmarkSeal(b, &v)
}

func BenchmarkSealOrder(b *testing.B) { benchmarkSeal(b, change("1").Order) }

func BenchmarkSealEvent(b *testing.B) { benchmarkSeal(b, &change("1").Bills[0].Events[0]) }

func BenchmarkSealNotification(b *testing.B) {
	n := told(fixtureBill(), true)
	benchmarkSeal(b, &n)
}

func benchmarkSeal(b *testing.B, v any) {
	b.Helper()
	b.ReportAllocs()
	var record []byte
	for b.Loop() {
		var err error
		if record, err = seal(fixtureKey, v); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(record)), "bytes")
}

func BenchmarkOpenBill(b *testing.B) { benchmarkOpen(b, fixtureBill()) }

func BenchmarkOpenOrder(b *testing.B) { benchmarkOpen(b, *change("1").Order) }

func BenchmarkOpenEvent(b *testing.B) { benchmarkOpen(b, change("1").Bills[0].Events[0]) }

func BenchmarkOpenNotification(b *testing.B) { benchmarkOpen(b, told(fixtureBill(), true)) }

func benchmarkOpen[T any](b *testing.B, v T) {
	b.Helper()
	record, err := seal(fixtureKey, &v)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openRecord[T](fixtureKey, record); err != nil {
			b.Fatal(err)
		}
	}
}
