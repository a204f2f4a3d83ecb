package badger

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strconv"
)

// logHeader is the length of what a write-ahead log of Badger begins with.
const logHeader = 20

// Marks of an entry in a log: one of a transaction, and the one that ends it.
const (
	entryOfTransaction = 1 << 6
	endOfTransaction   = 1 << 7
)

// logEnd returns where a write-ahead log ends: behind the last transaction that
// is there as a whole. Badger finds the same when it opens the log, and cuts it
// there. Behind it are zeros, as a log has its length from the beginning, or what
// a crash has left.
func logEnd(log []byte) int {
	end := logHeader
	var open uint64 // version of a transaction whose end has not come
	for at := logHeader; at < len(log); {
		e, ok := readEntry(log[at:])
		if !ok {
			break
		}
		at += e.length
		switch {
		case e.marks&entryOfTransaction != 0:
			if open != 0 && open != e.version() {
				return end
			}
			open = e.version()
		case e.marks&endOfTransaction != 0:
			if version, err := strconv.ParseUint(string(e.value), 10, 64); err != nil || version != open {
				return end
			}
			open, end = 0, at
		case open != 0:
			return end
		default:
			end = at
		}
	}
	return end
}

// logEntry is an entry of a log: marks, a byte that nobody uses, the lengths of
// key and value, and when it expires (varints), the key and the value, and a
// CRC-32C of all that.
type logEntry struct {
	marks      byte
	key, value []byte
	length     int
}

func readEntry(log []byte) (e logEntry, ok bool) {
	const marks, longest, sum = 2, 1 << 16, 4
	at := marks
	var numbers [3]uint64
	for i := range numbers {
		if at > len(log) {
			return logEntry{}, false
		}
		number, n := binary.Uvarint(log[at:])
		if n <= 0 {
			return logEntry{}, false
		}
		numbers[i] = number
		at += n
	}
	keyLength, valueLength := numbers[0], numbers[1]
	if keyLength == 0 || keyLength > longest || valueLength > math.MaxInt32 {
		return logEntry{}, false
	}
	body := at + int(keyLength+valueLength)
	if body+sum > len(log) || binary.BigEndian.Uint32(log[body:]) != crc32.Checksum(log[:body], castagnoli) {
		return logEntry{}, false
	}
	keyEnd := at + int(keyLength)
	return logEntry{marks: log[0], key: log[at:keyEnd], value: log[keyEnd:body], length: body + sum}, true
}

// version returns the version that ends an entry's key.
func (e logEntry) version() uint64 {
	const size = 8
	if len(e.key) < size {
		return 0
	}
	return math.MaxUint64 - binary.BigEndian.Uint64(e.key[len(e.key)-size:])
}
