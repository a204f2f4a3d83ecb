package bill_test

import (
	"errors"
	"math/big"
	"math/rand"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func TestASumIsExactAndLosesNoDecimal(t *testing.T) {
	for _, test := range []struct {
		amounts  string
		decimals int
		want     string
	}{
		{"", 2, "0.00"},
		{"", 0, "0"},
		{"15000", 2, "15000.00"},
		{"15000", 0, "15000"},
		{"0.1 0.2", 2, "0.30"}, // which no float adds up to
		{"1.1 2", 0, "3.1"},
		{"0.005 0.005", 2, "0.010"},
		{"0.01", 3, "0.010"},
		{"999999999999999.99 999999999999999.99 0.02", 2, "2000000000000000.00"},
	} {
		if got := total(t, strings.Fields(test.amounts)...).Text(test.decimals); got != test.want {
			t.Errorf("%q with %d decimals: %s, want %s", test.amounts, test.decimals, got, test.want)
		}
	}
}

func TestWhatIsNoAmountIsNotAddedUp(t *testing.T) {
	for _, text := range []string{"", ".", "1.", ".1", "-1", "+1", "1e3", "1,5", " 1", "01", "0x1", "1.2.3", "١", "1_0", "NaN"} {
		sum := total(t, "7")
		if err := sum.Add(bill.Amount(text)); !errors.Is(err, bill.ErrAmount) {
			t.Errorf("%q: %v", text, err)
		}
		if got := sum.Text(0); got != "7" {
			t.Errorf("%q made 7 into %s", text, got)
		}
		if bill.Amount(text).Readable() {
			t.Errorf("%q is readable", text)
		}
	}
}

// FuzzASumOfOne: whatever is an amount at all is its own sum.
func FuzzASumOfOne(f *testing.F) {
	for _, text := range []string{"15000", "0.10", "1.", "-1", "999999999999999.9999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var sum bill.Sum
		err := sum.Add(bill.Amount(text))
		if (err == nil) != bill.Amount(text).Readable() {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && sum.Text(0) != text {
			t.Fatalf("%q sums up to %q", text, sum.Text(0))
		}
	})
}

func TestSumsAreThoseOfRationalNumbersInAnyOrderAndGrouping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amounts := rapid.SliceOf(rapid.StringMatching(`(0|[1-9][0-9]{0,20})(\.[0-9]{1,6})?`)).Draw(t, "amounts")
		exact, decimals := new(big.Rat), 0
		for _, text := range amounts {
			number, ok := new(big.Rat).SetString(text)
			if !ok {
				t.Fatalf("no number: %s", text)
			}
			exact.Add(exact, number)
			_, fraction, _ := strings.Cut(text, ".")
			decimals = max(decimals, len(fraction))
		}
		want := exact.FloatString(decimals) // of so many decimals nothing is rounded
		if got := total(t, amounts...).Text(0); got != want {
			t.Fatalf("%v: %s, want %s", amounts, got, want)
		}
		shuffled := append([]string(nil), amounts...)
		rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed"))).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		if got := total(t, shuffled...).Text(0); got != want {
			t.Fatalf("%v: %s, want %s", shuffled, got, want)
		}
		cut := rapid.IntRange(0, len(amounts)).Draw(t, "cut")
		halves := []string{total(t, amounts[:cut]...).Text(0), total(t, amounts[cut:]...).Text(0)}
		if got := total(t, halves...).Text(0); !bill.Amount(got).Equal(bill.Amount(want)) {
			t.Fatalf("sum of %v: %s, want %s", halves, got, want)
		}
	})
}

func TestMoreDecimalsAreMoreZeros(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.StringMatching(`(0|[1-9][0-9]{0,14})(\.[0-9]{1,4})?`).Draw(t, "amount")
		decimals := rapid.IntRange(0, 8).Draw(t, "decimals")
		text := total(t, amount).Text(decimals)
		_, fraction, hasPoint := strings.Cut(text, ".")
		if !bill.Amount(text).Equal(bill.Amount(amount)) || len(fraction) < decimals || hasPoint != (fraction != "") {
			t.Fatalf("%s with %d decimals: %s", amount, decimals, text)
		}
	})
}

func total(t interface{ Fatal(...any) }, amounts ...string) *bill.Sum {
	sum := new(bill.Sum)
	for _, text := range amounts {
		if err := sum.Add(bill.Amount(text)); err != nil {
			t.Fatal(err)
		}
	}
	return sum
}
