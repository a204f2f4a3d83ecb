// Package cursor makes the opaque cursors of paged listings. A cursor says
// where a page ended, is safe to put into a URL, and carries a checksum, so
// that a mistyped one, or one of another listing, is an error instead of a
// wrong page. It keeps no secret and proves no right to anything.
//
// The stores call it.
package cursor

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the cursor for a position in the named listing.
func Encode(listing string, position []byte) string {
	data := binary.BigEndian.AppendUint32(nil, sum(listing, position))
	return base64.RawURLEncoding.EncodeToString(append(data, position...))
}

// Decode returns the position that a cursor of the named listing stands for,
// or bill.ErrCursor.
func Decode(listing, cursor string) ([]byte, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(data) < sumSize {
		return nil, bill.ErrCursor
	}
	position := data[sumSize:]
	if binary.BigEndian.Uint32(data) != sum(listing, position) {
		return nil, bill.ErrCursor
	}
	return position, nil
}

func sum(listing string, position []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(listing), castagnoli), castagnoli, position)
}
