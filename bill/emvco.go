package bill

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Errors of an EMVCo payload, wrapped.
var (
	// ErrEMVCo: the text is not built as the specification says.
	ErrEMVCo = errors.New("no EMVCo payload")
	// ErrEMVCoChecksum: it is, and its checksum is another's: a character was
	// lost or changed on the way.
	ErrEMVCoChecksum = errors.New("the EMVCo payload's checksum does not match")
)

// EMVCo is what a merchant-presented QR payload tells the buyer's wallet, as
// far as a buyer can compare it. All of it is untrusted text.
//
// Source: EMVCo, QR Code Specification for Payment Systems, Merchant-Presented
// Mode, version 1.1, sections 3 and 4.
type EMVCo struct {
	MerchantName string // id 59
	MerchantCity string // id 60
	Amount       Amount // id 54; "" where the buyer or the wallet fills it in
}

// The objects of a payload that are read, by their ids.
const (
	emvcoAmount   = "54"
	emvcoName     = "59"
	emvcoCity     = "60"
	emvcoChecksum = "63"
)

// ParseEMVCo reads a payload: objects of two digits id, two digits length in
// characters, and the value, the last of them a checksum over all before it.
// Errors wrap ErrEMVCo; ErrEMVCoChecksum comes with what could be read.
func ParseEMVCo(payload string) (EMVCo, error) {
	var read EMVCo
	rest, seen := payload, make(map[string]bool)
	for rest != "" {
		before := payload[:len(payload)-len(rest)]
		id, value, after, err := emvcoObject(rest)
		if err == nil && seen[id] {
			err = fmt.Errorf("%w: object %s is there twice", ErrEMVCo, id)
		}
		if err != nil {
			return EMVCo{}, err
		}
		seen[id] = true
		rest = after
		switch id {
		case emvcoAmount:
			read.Amount = Amount(value)
		case emvcoName:
			read.MerchantName = value
		case emvcoCity:
			read.MerchantCity = value
		case emvcoChecksum:
			if rest != "" {
				return EMVCo{}, fmt.Errorf("%w: something follows its checksum", ErrEMVCo)
			}
			return read, checkEMVCo(before, value)
		}
	}
	return EMVCo{}, fmt.Errorf("%w: it has no checksum", ErrEMVCo)
}

// checkEMVCo compares the checksum, which covers its own id and length.
func checkEMVCo(before, checksum string) error {
	sum := fmt.Sprintf("%04X", crcCCITT(before+emvcoChecksum+"04"))
	if !strings.EqualFold(checksum, sum) {
		return ErrEMVCoChecksum
	}
	return nil
}

// emvcoObject splits the first object off.
func emvcoObject(text string) (id, value, rest string, err error) {
	if len(text) < 4 || !digits(text[:4]) {
		return "", "", "", fmt.Errorf("%w: an object does not begin with its id and length", ErrEMVCo)
	}
	id = text[:2]
	length, err := strconv.Atoi(text[2:4])
	if err != nil {
		return "", "", "", fmt.Errorf("%w: object %s: %w", ErrEMVCo, id, err)
	}
	text = text[4:]
	for i := range text { // of characters, since a name may be in any script
		if length == 0 {
			return id, text[:i], text[i:], nil
		}
		length--
	}
	if length > 0 {
		return "", "", "", fmt.Errorf("%w: object %s is cut short", ErrEMVCo, id)
	}
	return id, text, "", nil
}

// crcCCITT is the CRC-16 of ISO/IEC 13239 as EMVCo uses it: polynomial 1021,
// begun with FFFF (hexadecimal).
func crcCCITT(text string) uint16 {
	const polynomial, topBit = 0x1021, 0x8000
	sum := uint16(0xFFFF)
	for i := range len(text) {
		sum ^= uint16(text[i]) << 8
		for range 8 {
			carry := sum&topBit != 0
			sum <<= 1
			if carry {
				sum ^= polynomial
			}
		}
	}
	return sum
}

// OtherAmount returns the amount that the bill's QR payload asks for, where it
// names one that is not the bill's.
func (b Bill) OtherAmount() (Amount, bool) {
	if b.Action.Kind != ActionQR {
		return "", false
	}
	read, err := ParseEMVCo(b.Action.Value)
	if err != nil || read.Amount == "" || read.Amount.Equal(b.Amount) {
		return "", false
	}
	return read.Amount, true
}
