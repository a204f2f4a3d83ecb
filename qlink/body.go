package qlink

import (
	"unicode/utf16"
	"unicode/utf8"
)

// BodyEscape says how the characters of a sent body are written. The zero value means
// EscapeASCII.
type BodyEscape string

const (
	// EscapeASCII writes everything outside printable ASCII, and each of < > & = ' /, as
	// \uXXXX. The signed text then holds nothing that JSON libraries escape differently,
	// so that the signature holds whichever of them the gateway uses.
	EscapeASCII BodyEscape = "ascii"
	// EscapeNone escapes only what JSON demands, for a gateway that parses the body and
	// writes it again before it hashes.
	EscapeNone BodyEscape = "none"
)

// bodyWriter writes the JSON of a request, its members in the order of the calls: the
// signature is over bytes, so that nothing about them is left to a library's taste.
type bodyWriter struct {
	buf   []byte
	plain bool // EscapeNone
}

func newBody(escape BodyEscape) *bodyWriter {
	return &bodyWriter{buf: append(make([]byte, 0, 512), '{'), plain: escape == EscapeNone}
}

// bytes closes the body and returns it.
func (w *bodyWriter) bytes() []byte {
	w.buf = append(w.buf, '}')
	return w.buf
}

func (w *bodyWriter) name(name string) {
	w.comma()
	w.text(name)
	w.buf = append(w.buf, ':')
}

func (w *bodyWriter) comma() {
	if last := w.buf[len(w.buf)-1]; last != '{' && last != '[' {
		w.buf = append(w.buf, ',')
	}
}

func (w *bodyWriter) field(name, value string) {
	w.name(name)
	w.text(value)
}

// optional leaves an empty value out.
func (w *bodyWriter) optional(name, value string) {
	if value != "" {
		w.field(name, value)
	}
}

// number takes the text of a JSON number, which is sent digit by digit as it is.
func (w *bodyWriter) number(name, digits string) {
	w.name(name)
	w.buf = append(w.buf, digits...)
}

// list leaves an empty list out.
func (w *bodyWriter) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	w.name(name)
	w.buf = append(w.buf, '[')
	for _, v := range values {
		w.comma()
		w.text(v)
	}
	w.buf = append(w.buf, ']')
}

func (w *bodyWriter) text(s string) {
	w.buf = append(w.buf, '"')
	if w.plain {
		w.buf = appendEscaped(w.buf, s, 0)
	} else {
		w.buf = appendASCII(w.buf, s)
	}
	w.buf = append(w.buf, '"')
}

// appendASCII appends valid UTF-8 as the inside of a JSON string of printable ASCII.
// Only the quotation mark and the backslash keep their short escapes: no library writes
// those, or the text they make, in another way.
func appendASCII(dst []byte, s string) []byte {
	done := 0
	for i, char := range s {
		switch {
		case char == '"' || char == '\\':
			dst = append(dst, s[done:i]...)
			dst = utf8.AppendRune(append(dst, '\\'), char)
		case char < 0x80 && asciiClass[char] == 0:
			continue
		default:
			dst = append(dst, s[done:i]...)
			dst = appendUTF16(dst, char)
		}
		done = i + utf8.RuneLen(char)
	}
	return append(dst, s[done:]...)
}

func appendUTF16(dst []byte, char rune) []byte {
	if high, low := utf16.EncodeRune(char); high != utf8.RuneError {
		dst = appendHex(dst, high, lowerHex)
		return appendHex(dst, low, lowerHex)
	}
	return appendHex(dst, char, lowerHex)
}
