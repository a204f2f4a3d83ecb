package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// PostgreSQL's text holds all of UTF-8 but the zero byte. In columns it is
// written with the byte 1 before it, and so is that byte itself: texts differ,
// sort and begin with each other as they did. Records need none of this, since
// JSON has its own way.
const escape = "\x01"

var (
	escaper   = strings.NewReplacer("\x00", escape+"\x01", escape, escape+"\x02")
	unescaper = strings.NewReplacer(escape+"\x01", "\x00", escape+"\x02", escape)
)

// text is what a column holds for a text.
func text(s string) string {
	if !utf8.ValidString(s) {
		s = hex.EncodeToString([]byte(s)) // can only be looked for: what is not UTF-8 is never stored
		return escape + "\x03" + s
	}
	return escaper.Replace(s)
}

// plain returns what text was given.
func plain(column string) string { return unescaper.Replace(column) }

// maxName bounds what is kept of a name in an index, in bytes: the gateway's
// may be of any length, and no entry of an index may.
const maxName = 512

// name is what a column holds for a text that is looked for as a whole: as
// text, with the end of a long one hashed.
func name(s string) string {
	column := text(s)
	if len(column) <= maxName {
		return column
	}
	sum := sha256.Sum256([]byte(s))
	return cut(column) + escape + "\x04" + hex.EncodeToString(sum[:])
}

// isHashed reports whether a column of name does not hold all of its text.
func isHashed(columns ...string) bool {
	return slices.ContainsFunc(columns, func(column string) bool { return strings.Contains(column, escape+"\x04") })
}

// cut returns the beginning of a column that every longer one of the same
// beginning has in common with it.
func cut(column string) string {
	end := min(len(column), maxName)
	for end > 0 && end < len(column) && (!utf8.RuneStart(column[end]) || column[end-1] == escape[0]) {
		end--
	}
	return column[:end]
}

// optional is name for a column that is NULL without one.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	column := name(s)
	return &column
}

// after returns the first text behind all that begin with the given one, and
// whether there is one.
func after(beginning string) (string, bool) {
	for beginning != "" {
		last, size := utf8.DecodeLastRuneInString(beginning)
		beginning = beginning[:len(beginning)-size]
		switch {
		case last == 0xD7FF:
			return beginning + "\uE000", true // no text has what lies between
		case last < utf8.MaxRune:
			return beginning + string(last+1), true
		}
	}
	return "", false
}

// target is what a notification is on the way to.
func target(url string, key bill.OrderKey) string {
	hash := sha256.New()
	for _, part := range []string{url, key.Ledger, key.Shop, key.OrderCode} {
		sum := sha256.Sum256([]byte(part))
		hash.Write(sum[:])
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// moment is what a column holds for a time that may be none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// from returns the first time of PostgreSQL's microseconds that is not before
// t.
func from(t time.Time) time.Time {
	if whole := t.Truncate(time.Microsecond); !whole.Equal(t) {
		return whole.Add(time.Microsecond)
	}
	return t
}
