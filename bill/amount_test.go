package bill_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func TestAmountsAreTakenAsTheCurrencyAllows(t *testing.T) {
	for _, test := range []struct {
		text     string
		currency bill.Currency
		ok       bool
	}{
		{"15000", "IDR", true},
		{"1.1", "IDR", true}, // the document's own example
		{"1.10", "IDR", true},
		{"1.101", "IDR", false},
		{"15000", "VND", true}, // story 28: a currency without decimals
		{"15000.0", "VND", false},
		{"1.234", "KWD", true},
		{"1.2345", "KWD", false},
		{"999999999999999.99", "IDR", true},
		{"1000000000000000", "IDR", false},
		{"0.01", "IDR", true},
		{"0", "IDR", false},
		{"0.00", "IDR", false},
		{"", "IDR", false},
		{".5", "IDR", false},
		{"5.", "IDR", false},
		{"007", "IDR", false},
		{"-1", "IDR", false},
		{"+1", "IDR", false},
		{"1e3", "IDR", false},
		{"1,000", "IDR", false},
		{" 1", "IDR", false},
		{"1.1.1", "IDR", false},
		{"١٢٣", "IDR", false},
		{"NaN", "IDR", false},
		{"1", "XXX", false},
		{"1", "idr", false},
	} {
		amount, err := bill.ParseAmount(test.text, test.currency)
		switch {
		case test.ok && (err != nil || string(amount) != test.text):
			t.Errorf("%q %s: %q, %v; want it as written", test.text, test.currency, amount, err)
		case !test.ok && !errors.Is(err, bill.ErrAmount):
			t.Errorf("%q %s: %q, %v; want ErrAmount", test.text, test.currency, amount, err)
		}
	}
}

// story 30
func TestAmountsAreComparedAsNumbers(t *testing.T) {
	for _, test := range []struct {
		a, b  bill.Amount
		equal bool
	}{
		{"10", "10.00", true},
		{"10.0", "10.00", true},
		{"10", "100", false},
		{"10", "1", false},
		{"0.10", "0.1", true},
		{"0.10", "0.01", false},
		{"19.90", "1990", false}, // story 29
	} {
		if test.a.Equal(test.b) != test.equal || test.b.Equal(test.a) != test.equal {
			t.Errorf("%s equal %s: want %v", test.a, test.b, test.equal)
		}
	}
}

func TestZerosAfterTheDecimalsNeverChangeAnAmount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[1-9][0-9]{0,14}`).Draw(t, "whole")
		fraction := rapid.StringMatching(`[0-9]{0,2}`).Draw(t, "fraction")
		short := text
		if fraction != "" {
			short += "." + fraction
		}
		padded := text + "." + (fraction + "000")[:3]
		a, err := bill.ParseAmount(short, "KWD")
		if err != nil {
			t.Fatal(err)
		}
		b, err := bill.ParseAmount(padded, "KWD")
		if err != nil {
			t.Fatal(err)
		}
		if !a.Equal(b) {
			t.Fatalf("%s is not %s", a, b)
		}
	})
}

func TestCurrenciesHaveTheDecimalsOfISO4217(t *testing.T) {
	for currency, want := range map[bill.Currency]int{
		"IDR": 2, "PHP": 2, "VND": 0, "THB": 2, "SGD": 2, "MYR": 2, "USD": 2, "CNY": 2,
		"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "KWD": 3, "BHD": 3, "CLF": 4, "MMK": 2, "KHR": 2, "LAK": 2,
	} {
		if got, ok := currency.Decimals(); !ok || got != want {
			t.Errorf("%s: %d, %v; want %d", currency, got, ok, want)
		}
	}
	for _, currency := range []bill.Currency{"", "XXX", "XAU", "usd", "US", "USDT"} {
		if _, ok := currency.Decimals(); ok {
			t.Errorf("%q passes for a currency", currency)
		}
	}
}
