package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
	"github.com/caddy-qlink/caddy-qlink/store/internal/wire"
)

// ErrDamaged is wrapped by errors about a store whose content is not what was
// written: a flipped byte, a missing file. It has to be restored.
var ErrDamaged = errors.New("the store is damaged")

// ErrNewerFormat is wrapped by errors about records that a later version of
// this module has written.
var ErrNewerFormat = errors.New("written by a newer version of this module")

// A record is a byte that says its format, the payload, and a checksum over
// key, format and payload. The key belongs to it: a record that came to stand
// under another one's key is damage too.
//
// A new format is a new case in openRecord, for ever beside the old ones. A new
// field of the payload alone is no new format: who does not know it ignores it.
// Formats lie side by side in a store: a record takes the one of the day when it
// is written next. The store says which is the latest that it may hold, see
// stateRecord.Format: a version that does not know that one refuses to open it.
const (
	formatJSON = 1 // JSON, see package codec: all that early versions wrote, and the store's own records
	formatWire = 2 // the domain's types in their binary form, see package wire

	// newestFormat is the last of them: what a store may hold that this version
	// has written. A new format is a new number here.
	newestFormat = formatWire

	sumSize = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// scratch holds buffers that records are built in, so that a record itself is
// one piece of memory of the right length. Those that grew beyond maxScratch are
// not kept.
var scratch = sync.Pool{New: func() any { return new(make([]byte, 0, 1<<10)) }}

const maxScratch = 64 << 10

// seal returns the record of v, to be stored under key. v is a pointer to what
// the domain has stored, or else a record of the store's own.
func seal(key []byte, v any) ([]byte, error) {
	buffer := scratch.Get().(*[]byte)
	defer scratch.Put(buffer)
	body, err := wire.Append(append((*buffer)[:0], formatWire), v)
	if errors.Is(err, wire.ErrUnknown) {
		return sealJSON(key, v)
	}
	if err != nil {
		return nil, err
	}
	if cap(body) <= maxScratch {
		*buffer = body
	}
	record := make([]byte, 0, len(body)+sumSize)
	return withSum(key, append(record, body...)), nil
}

func sealJSON(key []byte, v any) ([]byte, error) {
	payload, err := codec.Marshal(v)
	if err != nil {
		return nil, err
	}
	record := make([]byte, 0, 1+len(payload)+sumSize)
	return withSum(key, append(append(record, formatJSON), payload...)), nil
}

func withSum(key, body []byte) []byte {
	return binary.BigEndian.AppendUint32(body, checksum(key, body))
}

// openRecord returns what the record found under key holds.
func openRecord[T any](key, record []byte) (v T, err error) {
	if err := verifyRecord(key, record); err != nil {
		return v, err
	}
	payload := record[1 : len(record)-sumSize]
	switch format := record[0]; format {
	case formatJSON:
		v, err = codec.Unmarshal[T](payload)
	case formatWire:
		err = wire.Read(payload, &v)
	default:
		return v, fmt.Errorf("record %.200q has format %d: %w", key, format, ErrNewerFormat)
	}
	if err != nil {
		var none T
		return none, damaged(key, err.Error())
	}
	return v, nil
}

// verifyRecord returns the damage of a record that is not what was sealed under
// key.
func verifyRecord(key, record []byte) error {
	body := len(record) - sumSize
	if body < 1 {
		return damaged(key, "it is too short")
	}
	if binary.BigEndian.Uint32(record[body:]) != checksum(key, record[:body]) {
		return damaged(key, "its checksum does not match")
	}
	return nil
}

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

func damaged(key []byte, how string) error {
	return fmt.Errorf("record %.200q: %s: %w", key, how, ErrDamaged)
}
