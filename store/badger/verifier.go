package badger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/proto"
)

// verifier reads tables whole, one after the other, a block at a time. Badger's
// own Table.VerifyChecksum does the same, but keeps all blocks of a table in
// memory until the last one is read, four times the table's size.
//
// A table is its blocks, the index that says where they are, and the index's
// checksum, the latter two each with its length behind it. A block, which is
// compressed as a whole, ends in its checksum and the length of that.
type verifier struct {
	in                  *bufio.Reader
	index, block, plain []byte
	sum                 pb.Checksum
}

// readAhead is read of a table at once.
const readAhead = 128 << 10

// maxTableBlock is more than a block has: Badger ends one behind the entry with which
// it is larger than 4 KiB, and none of ours is larger than maxKey and maxValue.
const maxTableBlock = 4 << 20

var (
	errChecksum = errors.New("a checksum does not match")
	errNoTable  = errors.New("it was cut, or is no table")
)

// verify reads a table of so many bytes to its end.
func (v *verifier) verify(table io.ReaderAt, size int64, compression options.CompressionType) (err error) {
	defer func() {
		if p := recover(); p != nil { // over an index that is not one, though its checksum is right
			err = errNoTable
		}
	}()
	sum, end, err := textBefore(table, size, nil)
	if err != nil {
		return err
	}
	v.index, _, err = textBefore(table, end, v.index)
	if err != nil {
		return err
	}
	if err := v.compare(v.index, sum); err != nil {
		return err
	}
	index := fb.GetRootAsTableIndex(v.index, 0)
	if index.OffsetsLength() == 0 {
		return errNoTable
	}
	var place fb.BlockOffset
	at := int64(-1) // where the next byte that v.in reads is in the table
	for i := range index.OffsetsLength() {
		if !index.Offsets(&place, i) {
			return errNoTable
		}
		if begin := int64(place.Offset()); at != begin { // only at the first one: blocks follow each other
			at = begin
			v.seek(io.NewSectionReader(table, at, end-at))
		}
		at += int64(place.Len())
		if at > end {
			return errNoTable
		}
		v.block = withRoom(v.block, int64(place.Len()))
		if _, err := io.ReadFull(v.in, v.block); err != nil {
			return err
		}
		if err := v.verifyBlock(compression); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

// verifyBlock decompresses the block that was read and compares its checksum.
func (v *verifier) verifyBlock(compression options.CompressionType) (err error) {
	plain := v.block
	switch compression {
	case options.None:
	case options.Snappy:
		if n, err := snappy.DecodedLen(v.block); err != nil || n > maxTableBlock {
			return errChecksum
		}
		if v.plain, err = snappy.Decode(v.plain[:cap(v.plain)], v.block); err != nil {
			return errChecksum
		}
		plain = v.plain
	default:
		return fmt.Errorf("compressed in a way that no store of this module is: %d", compression)
	}
	const number = 4
	end := len(plain) - number
	if end < 0 {
		return errChecksum
	}
	length := binary.BigEndian.Uint32(plain[end:])
	if uint64(length) > uint64(end) {
		return errChecksum
	}
	begin := end - int(length)
	return v.compare(plain[:begin], plain[begin:end])
}

// compare computes the checksum of data.
func (v *verifier) compare(data, sum []byte) error {
	if proto.Unmarshal(sum, &v.sum) != nil || y.VerifyChecksum(data, &v.sum) != nil {
		return errChecksum
	}
	return nil
}

// textBefore returns the bytes before end that have their length behind them, and
// where they begin.
func textBefore(table io.ReaderAt, end int64, into []byte) (text []byte, begin int64, err error) {
	var number [4]byte
	end -= int64(len(number))
	if end < 0 {
		return nil, 0, errNoTable
	}
	if _, err := table.ReadAt(number[:], end); err != nil {
		return nil, 0, err
	}
	length := int64(binary.BigEndian.Uint32(number[:]))
	if length == 0 || length > end {
		return nil, 0, errNoTable
	}
	text = withRoom(into, length)
	begin = end - length
	_, err = table.ReadAt(text, begin)
	return text, begin, err
}

func (v *verifier) seek(from io.Reader) {
	if v.in == nil {
		v.in = bufio.NewReaderSize(from, readAhead)
	} else {
		v.in.Reset(from)
	}
}

// withRoom returns so many bytes, the ones it is given where they are enough.
func withRoom(given []byte, length int64) []byte {
	if int64(cap(given)) < length {
		return make([]byte, length)
	}
	return given[:length]
}
