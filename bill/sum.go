package bill

import (
	"fmt"
	"math/big"
	"strings"
)

// Sum adds amounts of one currency exactly, however many and however large. The
// zero value is the sum of none.
type Sum struct {
	units    big.Int // of 10^-decimals each
	decimals int
}

// Add adds an amount. The error wraps ErrAmount, and the sum is as before.
func (s *Sum) Add(a Amount) error {
	if !a.Readable() {
		return fmt.Errorf("%w: %.40q cannot be added up", ErrAmount, string(a))
	}
	whole, fraction, _ := strings.Cut(string(a), ".")
	more, _ := new(big.Int).SetString(whole+fraction, 10) // digits alone, as Readable has seen
	s.widen(len(fraction))
	s.units.Add(&s.units, more.Mul(more, power(s.decimals-len(fraction))))
	return nil
}

// widen makes room for so many decimals.
func (s *Sum) widen(decimals int) {
	if decimals > s.decimals {
		s.units.Mul(&s.units, power(decimals-s.decimals))
		s.decimals = decimals
	}
}

// Text returns the sum with at least so many decimals, and more where an amount
// had more: nothing is rounded, and zeros are kept.
func (s *Sum) Text(decimals int) string {
	most := max(decimals, s.decimals)
	units := new(big.Int).Mul(&s.units, power(most-s.decimals))
	if most == 0 {
		return units.String()
	}
	text := fmt.Sprintf("%0*d", most+1, units)
	return text[:len(text)-most] + "." + text[len(text)-most:]
}

func power(of int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(of)), nil)
}
