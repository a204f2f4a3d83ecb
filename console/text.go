package console

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var functions = template.FuncMap{
	"clear":   visible,
	"money":   money,
	"time":    moment,
	"machine": machine,
	"took":    took,
	"status":  statusWords,
	"tone":    tone,
	"source":  source,
	"state":   func(s bill.NotificationState) string { return stateWords[s] },
	"web":     isWeb,
	"address": bill.ShownURL,
}

// visible shows what would not be seen, or would turn around what is: controls
// of direction, zero-width characters and the like stand there by their number.
func visible(text any) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(fmt.Sprint(text), "�") {
		if unicode.IsGraphic(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "‹U+%04X›", r)
		}
	}
	return b.String()
}

// money groups the digits of an amount, and rounds nothing.
func money(b bill.Bill) string {
	whole, fraction, hasPoint := strings.Cut(string(b.Amount), ".")
	var text strings.Builder
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			text.WriteByte(',')
		}
		text.WriteRune(digit)
	}
	if hasPoint {
		text.WriteString("." + fraction)
	}
	return string(b.Currency) + "\u00a0" + text.String()
}

// moment is a time for people.
func moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// machine is a time for programs.
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// took writes a duration as short as it is still true.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1))
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// isWeb tells whether an address may become a link.
func isWeb(address string) bool {
	return strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://")
}
