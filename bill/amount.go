package bill

import (
	"errors"
	"fmt"
	"strings"
)

// maxWholeDigits bounds the part of an amount before the decimal point.
const maxWholeDigits = 15

// ErrAmount is wrapped by every error about an amount.
var ErrAmount = errors.New("bad amount")

// Amount is a decimal number as text, exactly as the shop wrote it. It is
// never a float, is sent to the gateway as it is and compared as a number.
type Amount string

// ParseAmount checks that text is an amount above zero of the given currency:
// (0|[1-9][0-9]{0,14})(\.[0-9]{1,e})?, e being the currency's decimals by
// ISO 4217. The error wraps ErrAmount.
func ParseAmount(text string, currency Currency) (Amount, error) {
	decimals, ok := currency.Decimals()
	if !ok {
		return "", fmt.Errorf("%w: currency %.8q has no known number of decimals", ErrAmount, string(currency))
	}
	whole, fraction, hasPoint := strings.Cut(text, ".")
	switch {
	case !digits(whole) || !digits(fraction):
		return "", fmt.Errorf("%w: %.40q is not a decimal number", ErrAmount, text)
	case whole == "" || hasPoint && fraction == "":
		return "", fmt.Errorf("%w: %.40q lacks digits beside its point", ErrAmount, text)
	case len(whole) > 1 && whole[0] == '0':
		return "", fmt.Errorf("%w: %.40q has a leading zero", ErrAmount, text)
	case len(whole) > maxWholeDigits:
		return "", fmt.Errorf("%w: more than %d digits before the point", ErrAmount, maxWholeDigits)
	case len(fraction) > decimals:
		return "", fmt.Errorf("%w: %.40q has more than the %d decimals of %s", ErrAmount, text, decimals, currency)
	case strings.Trim(whole+fraction, "0") == "":
		return "", fmt.Errorf("%w: it must be above zero", ErrAmount)
	}
	return Amount(text), nil
}

// Equal compares a and b as numbers: 10 equals 10.00.
func (a Amount) Equal(b Amount) bool { return a.Canonical() == b.Canonical() }

// Readable reports whether a is written as amounts are, so that it can be
// compared and added up. Whether it fits a currency is ParseAmount's to say.
func (a Amount) Readable() bool {
	whole, fraction, hasPoint := strings.Cut(string(a), ".")
	return whole != "" && digits(whole) && digits(fraction) &&
		(whole == "0" || whole[0] != '0') && hasPoint == (fraction != "")
}

// Canonical returns a without zeros that say nothing: equal amounts have the same.
func (a Amount) Canonical() string {
	text := string(a)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(text, "0")
	}
	return strings.TrimSuffix(text, ".")
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
