package sandbox

import (
	"fmt"
	"strings"
)

// qrisPayload builds a dynamic QR payload as EMVCo's "QR Code Specification for
// Payment Systems, Merchant-Presented Mode" lays it out and QRIS uses it:
// fields of two digits id, two digits length and the value, the last of them a
// checksum. The caller has made sure that the currency has a number.
func qrisPayload(p *Payment, merchant, city string) string {
	merchantAccount := field("00", "ID.CO.QRIS.WWW") + field("02", "ID1020000000001") + field("03", "UMI")
	var b strings.Builder
	b.WriteString(field("00", "01"))            // payload format
	b.WriteString(field("01", "12"))            // good for one payment
	b.WriteString(field("51", merchantAccount)) // the national scheme's slot
	b.WriteString(field("52", "5999"))          // miscellaneous shops
	b.WriteString(field("53", currencies[p.Currency].number))
	b.WriteString(field("54", p.Amount))
	b.WriteString(field("58", p.Country))
	b.WriteString(field("59", emvText(merchant, 25)))
	b.WriteString(field("60", emvText(city, 15)))
	b.WriteString(field("62", field("01", emvText(p.BillCode, 25))))
	b.WriteString("6304") // the checksum covers its own id and length
	return b.String() + fmt.Sprintf("%04X", crc16(b.String()))
}

func field(id, value string) string { return fmt.Sprintf("%s%02d%s", id, len(value), value) }

// emvText fits free text into a field of at most n characters. The fields of
// the main template are alphanumeric: what is not printable ASCII would make a
// wallet's reader count characters where we count bytes.
func emvText(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s[:min(len(s), n)])
	if s == "" {
		return "-"
	}
	return s
}

// crc16 is CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF), as ISO/IEC
// 13239 is read by EMVCo.
func crc16(s string) uint16 {
	crc := uint16(0xFFFF)
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
