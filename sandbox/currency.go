package sandbox

import (
	"regexp"
	"strings"
)

// currency is what ISO 4217 says of one: its number and decimals.
type currency struct {
	number   string
	decimals int
}

// currencies are those a gateway in Asia meets, and the ones whose decimals are
// not two. Any other three letters are taken, with two decimals and no QR.
var currencies = map[string]currency{
	"IDR": {"360", 2}, "PHP": {"608", 2}, "VND": {"704", 0}, "THB": {"764", 2}, "SGD": {"702", 2},
	"MYR": {"458", 2}, "USD": {"840", 2}, "CNY": {"156", 2}, "HKD": {"344", 2}, "EUR": {"978", 2},
	"GBP": {"826", 2}, "AUD": {"036", 2}, "INR": {"356", 2}, "TWD": {"901", 2}, "KHR": {"116", 2},
	"LAK": {"418", 2}, "MMK": {"104", 2}, "BND": {"096", 2}, "JPY": {"392", 0}, "KRW": {"410", 0},
	"BIF": {"108", 0}, "CLP": {"152", 0}, "DJF": {"262", 0}, "GNF": {"324", 0}, "ISK": {"352", 0},
	"KMF": {"174", 0}, "PYG": {"600", 0}, "RWF": {"646", 0}, "UGX": {"800", 0}, "VUV": {"548", 0},
	"XAF": {"950", 0}, "XOF": {"952", 0}, "XPF": {"953", 0}, "BHD": {"048", 3}, "IQD": {"368", 3},
	"JOD": {"400", 3}, "KWD": {"414", 3}, "LYD": {"434", 3}, "OMR": {"512", 3}, "TND": {"788", 3},
}

func decimals(code string) int {
	if c, ok := currencies[code]; ok {
		return c.decimals
	}
	return 2
}

var (
	twoLetters   = regexp.MustCompile(`^[A-Z]{2}$`)
	threeLetters = regexp.MustCompile(`^[A-Z]{3}$`)
	amountForm   = regexp.MustCompile(`^(0|[1-9][0-9]{0,14})(?:\.([0-9]+))?$`)
)

// amountProblem says what is wrong with an amount in a currency; empty: nothing.
func amountProblem(amount, code string) string {
	m := amountForm.FindStringSubmatch(amount)
	switch {
	case m == nil:
		return "must be a decimal such as 15000 or 15000.50, no sign, no leading zeros, no separators"
	case len(m[2]) > decimals(code):
		return "has more decimals than " + code + " has"
	case strings.Trim(amount, "0.") == "":
		return "must be above zero"
	}
	return ""
}
