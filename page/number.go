package page

import (
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// money writes an amount as a language does, digit by digit, so that nothing
// is ever rounded: the currency's code, and separators between groups.
func (v *voice) money(amount bill.Amount, currency bill.Currency) string {
	whole, fraction, hasPoint := strings.Cut(string(amount), ".")
	var b strings.Builder
	b.WriteString(string(currency) + "\u00a0")
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteString(v.group)
		}
		b.WriteRune(digit)
	}
	if hasPoint {
		b.WriteString(v.decimal + fraction)
	}
	return b.String()
}

// separators finds out how a language groups digits and marks decimals, where
// it writes the digits that all wallets show.
func separators(tag language.Tag) (group, decimal string) {
	latin, err := tag.SetTypeForKey("nu", "latn")
	if err != nil {
		latin = tag
	}
	const probe = 1234567.5 // never an amount: only its separators are looked at
	written := message.NewPrinter(latin).Sprint(number.Decimal(probe))
	marks := strings.FieldsFunc(written, func(r rune) bool { return r >= '0' && r <= '9' })
	if len(marks) < 2 {
		return ",", "."
	}
	return marks[0], marks[len(marks)-1]
}

// moment is a time that reads the same in every language, and names its zone:
// who reads it may be in any. Where scripts run, the page shows it in the
// reader's own.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }
