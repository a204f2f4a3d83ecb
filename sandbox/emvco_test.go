package sandbox

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheChecksumIsThatOfEMVCosOwnExample(t *testing.T) {
	// Annex of EMVCo's merchant-presented QR specification.
	const example = "00020101021229300012D156000000000510A93FO3230Q31280012D15600000001030812345678520441115802CN" +
		"5914BEST TRANSPORT6007BEIJING64200002ZH0104最佳运输0202北京540523.7253031565502016233030412340603***" +
		"0708A60086670902ME91320016A0112233449988770708123456786304A13A"
	body, want := example[:len(example)-4], example[len(example)-4:]
	if got := fmt.Sprintf("%04X", crc16(body)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := crc16("123456789"); got != 0x29B1 { // the check value of CRC-16/CCITT-FALSE
		t.Errorf("%04X", got)
	}
}

// fields takes a payload apart.
func fields(t *testing.T, payload string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for payload != "" {
		var length int
		if _, err := fmt.Sscanf(payload[2:4], "%02d", &length); err != nil || len(payload) < 4+length {
			t.Fatalf("cut short at %q", payload)
		}
		found[payload[:2]] = payload[4 : 4+length]
		payload = payload[4+length:]
	}
	return found
}

func TestAQRPayloadHoldsAmountCurrencyAndMerchant(t *testing.T) {
	p := &Payment{BillCode: "SB0123456789ABCDEF", Currency: "IDR", Country: "ID", Amount: "15000.50"}
	payload := qrisPayload(p, "Toko 商店 Bunga "+strings.Repeat("x", 40), "Jakarta")
	f := fields(t, payload)
	for id, want := range map[string]string{
		"00": "01", "01": "12", "53": "360", "54": "15000.50", "58": "ID", "60": "Jakarta", "62": "0118SB0123456789ABCDEF",
	} {
		if f[id] != want {
			t.Errorf("field %s: %q, want %q", id, f[id], want)
		}
	}
	if name := f["59"]; len(name) != 25 || !strings.HasPrefix(name, "Toko  Bunga") {
		t.Errorf("merchant %q", name)
	}
	if !strings.HasPrefix(f["51"], "0014ID.CO.QRIS.WWW") || f["63"] != fmt.Sprintf("%04X", crc16(payload[:len(payload)-4])) {
		t.Errorf("%v", f)
	}
}
