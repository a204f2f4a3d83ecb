package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
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
// A new format is a new case in openRecord, for ever beside the old ones, and
// a new value of currentFormat. A new field of the payload alone is no new
// format: who does not know it ignores it.
const (
	formatJSON    = 1 // the domain's types as JSON, see package codec
	currentFormat = formatJSON

	sumSize = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal returns the record of v, to be stored under key.
func seal(key []byte, v any) ([]byte, error) {
	payload, err := codec.Marshal(v)
	if err != nil {
		return nil, err
	}
	record := make([]byte, 0, 1+len(payload)+sumSize)
	record = append(append(record, currentFormat), payload...)
	return binary.BigEndian.AppendUint32(record, checksum(key, record)), nil
}

// openRecord returns what the record found under key holds.
func openRecord[T any](key, record []byte) (T, error) {
	var none T
	if err := verifyRecord(key, record); err != nil {
		return none, err
	}
	body := len(record) - sumSize
	switch format := record[0]; format {
	case formatJSON:
		v, err := codec.Unmarshal[T](record[1:body])
		if err != nil {
			return none, damaged(key, err.Error())
		}
		return v, nil
	default:
		return none, fmt.Errorf("record %.200q has format %d: %w", key, format, ErrNewerFormat)
	}
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
