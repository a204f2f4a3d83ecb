package badger

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// A backup is a file that is written, and read, from front to back. Numbers
// are big-endian, of 4 bytes where nothing else is said; a varint is
// encoding/binary's, unsigned.
//
//	{"qlinkBackup":1,"at":"2026-11-22T12:00:00Z","store":"…","sequence":7,"bills":3,"size":4096}⏎
//	block …
//	0, sum
//	{"records":42,"bytes":1234,"sha256":"…"}⏎
//
// The first line says what it is: the format, when the snapshot was taken (UTC),
// id and state of the store it was taken of, and how many bytes that store's
// tables took, which is about what a restore needs.
//
// A block is the length of its payload, a sum, and the payload: one frame of
// zstd (RFC 8878), which holds at most maxBlock bytes of records. The sum is the
// CRC-32C of the block's number, counted from 0, in 8 bytes, and the payload; so
// no block can stand in another one's place. A length of 0, with the sum of the
// number that comes next, ends the blocks.
//
// A record is its key and its value, each behind its length (varint), and when
// it expires (varint, Unix seconds; 0: never). Records are what the store holds,
// ordered by key, none twice; those that the store seals are as sealed, with
// their own checksums.
//
// The last line counts the records and the bytes before the line, and has the
// SHA-256 of those bytes. It is compared byte for byte with the line that has to
// be there, and nothing may follow it. So a file that was cut anywhere, or has
// one wrong byte anywhere, is not taken for a backup.
const backupFormat = 1

// Bounds of a backup, which nothing that is read goes beyond.
const (
	maxFirstLine = 4 << 10
	fullBlock    = 256 << 10                           // of records: from here on it takes no more
	maxBlock     = fullBlock + maxKey + maxValue + 128 // one more record may have come on top
	maxPayload   = maxBlock + maxBlock/64 + 1024       // of what could not be compressed
)

// ErrBadBackup is wrapped by errors about a file that is no backup, or not the
// one that was written: cut, or changed.
var ErrBadBackup = errors.New("this is not a whole backup")

// backupHeader is the first line.
type backupHeader struct {
	Format   int       `json:"qlinkBackup"`
	At       time.Time `json:"at"`
	Store    string    `json:"store"`
	Sequence uint64    `json:"sequence"`
	Bills    uint64    `json:"bills"`
	Size     uint64    `json:"size"`
}

// backupTrailer is the last line.
type backupTrailer struct {
	Records uint64 `json:"records"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
}

func manifestOf(h backupHeader, t backupTrailer) bill.Manifest {
	return bill.Manifest{
		Format: h.Format, At: h.At, Store: h.Store, Sequence: h.Sequence, Bills: h.Bills,
		Records: t.Records, Bytes: t.Bytes, SHA256: t.SHA256,
	}
}

// tally counts and hashes the bytes of a backup as they go by.
type tally struct {
	sum     hash.Hash
	bytes   int64
	blocks  uint64
	records uint64
}

func newTally() tally { return tally{sum: sha256.New()} }

func (t *tally) pass(p []byte) {
	t.bytes += int64(len(p))
	t.sum.Write(p)
}

// trailer returns the last line of what has gone by.
func (t *tally) trailer() (backupTrailer, []byte, error) {
	trailer := backupTrailer{Records: t.records, Bytes: t.bytes, SHA256: hex.EncodeToString(t.sum.Sum(nil))}
	text, err := codec.Marshal(trailer)
	return trailer, append(text, '\n'), err
}

// blockSum is the checksum of the block that comes next.
func (t *tally) blockSum(payload []byte) uint32 {
	number := binary.BigEndian.AppendUint64(nil, t.blocks)
	return crc32.Update(crc32.Checksum(number, castagnoli), castagnoli, payload)
}

// backupRecord is one record of a backup.
type backupRecord struct {
	key, value []byte
	expiresAt  uint64
}

// backupWriter writes a backup. It holds one block.
type backupWriter struct {
	w io.Writer
	tally
	encoder *zstd.Encoder
	block   []byte // records
	packed  []byte
}

func newBackupWriter(w io.Writer) (*backupWriter, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(2*fullBlock), zstd.WithEncoderCRC(false))
	return &backupWriter{w: w, tally: newTally(), encoder: encoder}, err
}

func (b *backupWriter) write(p []byte) error {
	b.pass(p)
	_, err := b.w.Write(p)
	return err
}

func (b *backupWriter) begin(h backupHeader) error {
	line, err := codec.Marshal(h)
	if err != nil {
		return err
	}
	return b.write(append(line, '\n'))
}

// isFull reports whether the block has to be ended before another record.
func (b *backupWriter) isFull() bool { return len(b.block) >= fullBlock }

func (b *backupWriter) add(r backupRecord) {
	b.block = binary.AppendUvarint(b.block, uint64(len(r.key)))
	b.block = append(b.block, r.key...)
	b.block = binary.AppendUvarint(b.block, uint64(len(r.value)))
	b.block = append(b.block, r.value...)
	b.block = binary.AppendUvarint(b.block, r.expiresAt)
	b.records++
}

// endBlock writes what was added, if anything was.
func (b *backupWriter) endBlock() error {
	if len(b.block) == 0 {
		return nil
	}
	const head = 8
	b.packed = b.encoder.EncodeAll(b.block, append(b.packed[:0], make([]byte, head)...))
	payload := b.packed[head:]
	binary.BigEndian.PutUint32(b.packed, uint32(len(payload))) //nolint:gosec // maxPayload at most
	binary.BigEndian.PutUint32(b.packed[4:], b.blockSum(payload))
	b.blocks++
	b.block = b.block[:0]
	return b.write(b.packed)
}

func (b *backupWriter) finish() (backupTrailer, error) {
	err := b.endBlock()
	if err == nil {
		err = b.write(binary.BigEndian.AppendUint32(make([]byte, 4), b.blockSum(nil)))
	}
	if err != nil {
		return backupTrailer{}, err
	}
	trailer, line, err := b.trailer()
	if err != nil {
		return backupTrailer{}, err
	}
	_, err = b.w.Write(line)
	return trailer, err
}

// backupReader reads a backup, and believes nothing of it. It holds one block.
type backupReader struct {
	r *bufio.Reader
	tally
	header  backupHeader
	decoder *zstd.Decoder
	packed  []byte
	block   []byte
	held    []backupRecord
	last    []byte // key
}

// openBackup reads the first line. The caller closes what it gets.
func openBackup(r io.Reader) (*backupReader, error) {
	b := &backupReader{r: bufio.NewReaderSize(r, maxFirstLine), tally: newTally()}
	line, err := b.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull), errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: it does not begin as one", ErrBadBackup)
	case err != nil:
		return nil, err
	}
	b.pass(line)
	b.header, err = codec.Unmarshal[backupHeader](line)
	switch {
	case err != nil, b.header.Format < backupFormat, b.header.Store == "":
		return nil, fmt.Errorf("%w: it does not begin as one", ErrBadBackup)
	case b.header.Format > backupFormat:
		return nil, fmt.Errorf("%w: it has format %d: %w", ErrBadBackup, b.header.Format, ErrNewerFormat)
	}
	b.header.At = b.header.At.UTC()
	b.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock), zstd.WithDecoderLowmem(true))
	return b, err
}

func (b *backupReader) close() { b.decoder.Close() }

// read fills p.
func (b *backupReader) read(p []byte) error {
	_, err := io.ReadFull(b.r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it was cut", ErrBadBackup)
	}
	b.pass(p)
	return err
}

// next returns the records of the next block, which are overwritten by the next
// call; io.EOF once the end was reached, and is the right one.
func (b *backupReader) next() ([]backupRecord, error) {
	head := make([]byte, 8)
	if err := b.read(head); err != nil {
		return nil, err
	}
	length, sum := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
	if length > maxPayload {
		return nil, b.wrong("is too long")
	}
	b.packed = append(b.packed[:0], make([]byte, length)...)
	if err := b.read(b.packed); err != nil {
		return nil, err
	}
	if b.blockSum(b.packed) != sum {
		return nil, b.wrong("has another checksum")
	}
	if length == 0 {
		return nil, b.end()
	}
	var err error
	if b.block, err = b.decoder.DecodeAll(b.packed, b.block[:0]); err != nil {
		return nil, b.wrong(err.Error())
	}
	if err := b.split(); err != nil {
		return nil, err
	}
	b.blocks++
	return b.held, nil
}

func (b *backupReader) wrong(how string) error {
	return fmt.Errorf("%w: block %d %s", ErrBadBackup, b.blocks, how)
}

// split finds the records in the block.
func (b *backupReader) split() error {
	b.held = b.held[:0]
	for rest := b.block; len(rest) > 0; {
		var r backupRecord
		var okKey, okValue bool
		r.key, rest, okKey = cutText(rest, maxKey)
		r.value, rest, okValue = cutText(rest, maxValue)
		expiresAt, n := binary.Uvarint(rest)
		if !okKey || !okValue || n <= 0 || bytes.Compare(r.key, b.last) <= 0 {
			return b.wrong("holds no records in their order")
		}
		r.expiresAt, rest = expiresAt, rest[n:]
		b.last = append(b.last[:0], r.key...)
		b.held = append(b.held, r)
		b.records++
	}
	return nil
}

// cutText cuts a text that stands behind its length off p.
func cutText(p []byte, most uint64) (text, rest []byte, ok bool) {
	length, n := binary.Uvarint(p)
	if n <= 0 || length > most || length > uint64(len(p)-n) { //nolint:gosec // n is not beyond p
		return nil, nil, false
	}
	p = p[n:]
	return p[:length], p[length:], true
}

// end reads the last line, and returns io.EOF where it is the right one.
func (b *backupReader) end() error {
	_, want, err := b.trailer()
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(b.r, got); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it was cut", ErrBadBackup)
	} else if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: its last line does not match the rest", ErrBadBackup)
	}
	switch _, err := b.r.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: something follows its end", ErrBadBackup)
	case !errors.Is(err, io.EOF):
		return err
	}
	return io.EOF
}

// manifest returns what a backup that was read to its end holds.
func (b *backupReader) manifest() (bill.Manifest, error) {
	t, _, err := b.trailer()
	return manifestOf(b.header, t), err
}
