package qlink

import (
	"slices"
	"unicode/utf8"
)

// charSet is a set of classes of characters that some JSON library writes as an escape
// inside a string.
type charSet uint8

const (
	mandatory charSet = 1 << iota // " \ and U+0000-U+001F: RFC 8259 leaves no choice
	angles                        // < > &
	quotes                        // = '
	slashes                       // /
	latin                         // U+007F-U+00A0
	lines                         // U+2028 U+2029
	capitals                      // not a class: hexadecimal digits of latin in upper case
)

// escapings are the known ways in which a gateway's JSON library may have written the
// body into the signed text. They differ only for bodies that hold one of the
// characters concerned, which candidates makes use of.
var escapings = [...]struct {
	name string
	set  charSet
}{
	{"minimal", 0},
	{"go", angles | lines},
	{"html", angles | quotes | lines},
	{"c1", latin | lines},
	{"c1 in capitals", latin | lines | capitals},
	{"slash", slashes},
	// The library that can be told to escape the slash escapes C1 as well, so that the
	// two are met together.
	{"slash and c1", slashes | latin | lines},
	{"slash and c1 in capitals", slashes | latin | lines | capitals},
}

// candidates returns the escapings that write a text with the characters of present
// differently from each other: only the minimal one for the usual body.
func candidates(present charSet) []charSet {
	distinct := make([]charSet, 0, len(escapings))
	for _, e := range escapings {
		set := e.set & (present | capitals)
		if set&latin == 0 {
			set &^= capitals
		}
		if !slices.Contains(distinct, set) {
			distinct = append(distinct, set)
		}
	}
	return distinct
}

var asciiClass = func() (class [0x80]charSet) {
	for c := range 0x20 {
		class[c] = mandatory
	}
	for set, chars := range map[charSet]string{
		mandatory: `"\`, angles: "<>&", quotes: "='", slashes: "/", latin: "\x7f",
	} {
		for _, c := range []byte(chars) {
			class[c] = set
		}
	}
	return class
}()

// classAt returns the class of the character at s[i] (0 if no library escapes it), the
// character and its width in bytes. It works on bytes: text that is not UTF-8 passes
// through unchanged, as the signature is over raw bytes.
func classAt[T string | []byte](s T, i int) (class charSet, char rune, width int) {
	b := s[i]
	switch {
	case b < 0x80:
		return asciiClass[b], rune(b), 1
	case b == 0xC2 && i+1 < len(s) && 0x80 <= s[i+1] && s[i+1] <= 0xA0:
		return latin, rune(s[i+1]), 2
	case b == 0xE2 && i+2 < len(s) && s[i+1] == 0x80 && s[i+2]|1 == 0xA9:
		return lines, 0x2028 | rune(s[i+2]&1), 3
	default:
		return 0, rune(b), 1
	}
}

// classesIn returns every class of which s holds a character.
func classesIn[T string | []byte](s T) (present charSet) {
	for i := 0; i < len(s); {
		class, _, width := classAt(s, i)
		present |= class
		i += width
	}
	return present
}

// appendEscaped appends s as the inside of a JSON string, escaping what JSON demands and
// the classes of set.
func appendEscaped[T string | []byte](dst []byte, s T, set charSet) []byte {
	done := 0
	for i := 0; i < len(s); {
		class, char, width := classAt(s, i)
		if class&(set|mandatory) != 0 {
			dst = append(dst, s[done:i]...)
			dst = appendEscape(dst, char, set)
			done = i + width
		}
		i += width
	}
	return append(dst, s[done:]...)
}

// appendEscape appends the escape of one character of the basic multilingual plane, in
// the short form where JSON has one.
func appendEscape(dst []byte, char rune, set charSet) []byte {
	switch char {
	case '"', '\\', '/':
		return utf8.AppendRune(append(dst, '\\'), char)
	case '\b':
		return append(dst, `\b`...)
	case '\t':
		return append(dst, `\t`...)
	case '\n':
		return append(dst, `\n`...)
	case '\f':
		return append(dst, `\f`...)
	case '\r':
		return append(dst, `\r`...)
	}
	if set&capitals != 0 && char >= 0x7f {
		return appendHex(dst, char, "0123456789ABCDEF")
	}
	return appendHex(dst, char, lowerHex)
}

const lowerHex = "0123456789abcdef"

func appendHex(dst []byte, char rune, digits string) []byte {
	return append(dst, '\\', 'u',
		digits[char>>12&0xF], digits[char>>8&0xF], digits[char>>4&0xF], digits[char&0xF])
}
