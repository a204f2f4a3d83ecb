package badger

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// fixtureKey is the key that the fixture was sealed under.
var fixtureKey = textKey(kindBill, "4be7a3b4-68b1-4d0a-a3c4-5c8a1f5b7d10")

// fixture returns a record of format 1 as it lies in stores since the first
// release: line by line, in hexadecimal.
func fixture(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/bill-format-1.hex")
	if err != nil {
		t.Fatal(err)
	}
	record, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return record
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

func TestARecordOfFormat1CanBeReadForEver(t *testing.T) {
	got, err := openRecord[bill.Bill](fixtureKey, fixture(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fixtureBill(), got); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	record := fixture(t)
	for i := range record {
		for bit := range 8 {
			record[i] ^= 1 << bit
			if _, err := openRecord[bill.Bill](fixtureKey, record); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d, bit %d: %v", i, bit, err)
			}
			record[i] ^= 1 << bit
		}
	}
}

func TestACutRecordIsNoticed(t *testing.T) {
	record := fixture(t)
	for length := range record {
		if _, err := openRecord[bill.Bill](fixtureKey, record[:length]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", length, err)
		}
	}
}

func TestARecordUnderAnothersKeyIsNoticed(t *testing.T) {
	if _, err := openRecord[bill.Bill](textKey(kindBill, "another"), fixture(t)); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened: %v", err)
	}
}

func TestAFormatOfTheFutureIsNotTakenForDamage(t *testing.T) {
	record := fixture(t)
	body := record[:len(record)-sumSize]
	body[0] = 2
	sum := checksum(fixtureKey, body)
	record = append(body, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
	_, err := openRecord[bill.Bill](fixtureKey, record)
	if !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("opened: %v", err)
	}
}

func FuzzNoRecordMakesOpeningPanic(f *testing.F) {
	f.Add([]byte("b"), []byte{formatJSON, '{', '}', 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, key, record []byte) {
		if _, err := openRecord[bill.Bill](key, record); err == nil && len(record) <= 1+sumSize {
			t.Error("opened a record of nothing")
		}
	})
}
