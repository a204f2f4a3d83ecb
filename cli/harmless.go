package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// harmless returns text from outside with all that a terminal would obey, or
// that would make it show something else than is there, written as an escape:
// control characters, those that reverse the direction of writing, bytes that
// are no UTF-8.
func harmless(text string) string { return escapeRunes(text, "") }

// harmlessLines lets lines and tabs stand.
func harmlessLines(text string) string { return escapeRunes(text, "\n\t") }

func escapeRunes(text, allowed string) string {
	if !strings.ContainsFunc(text, dangerous) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, width := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && width == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case !dangerous(r) || strings.ContainsRune(allowed, r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		text = text[width:]
	}
	return b.String()
}

// dangerous reports what may not reach a terminal: Unicode's classes Cc, Cf
// (marks of direction, zero widths, tags), Zl, Zp.
func dangerous(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// harmlessJSON returns JSON on one line whose strings hold no dangerous
// character as such: in valid JSON they stand in strings alone, where an escape
// means the same.
func harmlessJSON(text []byte) []byte {
	line := make([]byte, 0, len(text)+1)
	for len(text) > 0 {
		r, width := utf8.DecodeRune(text)
		switch {
		case r == '\n' || r == '\r' || r == '\t': // between tokens
		case !dangerous(r):
			line = append(line, text[:width]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			line = fmt.Appendf(line, `\u%04x\u%04x`, high, low)
		default:
			line = fmt.Appendf(line, `\u%04x`, r)
		}
		text = text[width:]
	}
	return line
}

// harmlessWriter is for text that goes to a terminal line by line as it is.
type harmlessWriter struct{ to io.Writer }

func (w harmlessWriter) Write(p []byte) (int, error) {
	clean := strings.ReplaceAll(string(p), "\r\n", "\n")
	if _, err := io.WriteString(w.to, harmlessLines(clean)); err != nil {
		return 0, err
	}
	return len(p), nil
}
