package bill_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// transport is the example of EMVCo's specification (version 1.1, annex B).
const transport = "00020101021229300012D156000000000510A93FO3230Q31280012D15600000001030812345678520441115802CN5914BEST TRANSPORT" +
	"6007BEIJING64200002ZH0104最佳运输0202北京540523.7253031565502016233030412340603***0708A60086670902ME91320016A0112233449988770708123456786304A13A"

func TestTheSpecificationsExampleIsRead(t *testing.T) {
	read, err := bill.ParseEMVCo(transport)
	want := bill.EMVCo{MerchantName: "BEST TRANSPORT", MerchantCity: "BEIJING", Amount: "23.72"}
	if err != nil || read != want {
		t.Errorf("%+v, %v; want %+v", read, err, want)
	}
}

func TestAChangedCharacterIsNoticed(t *testing.T) {
	for i, r := range transport {
		if i+4 >= len(transport) { // the checksum itself, whose letters may be of either case
			break
		}
		changed := transport[:i] + string(r^1) + transport[i+len(string(r)):]
		if _, err := bill.ParseEMVCo(changed); !errors.Is(err, bill.ErrEMVCo) && !errors.Is(err, bill.ErrEMVCoChecksum) {
			t.Errorf("changed at %d: %v", i, err)
		}
	}
	if read, err := bill.ParseEMVCo(strings.Replace(transport, "23.72", "99.72", 1)); !errors.Is(err, bill.ErrEMVCoChecksum) || read.Amount != "99.72" {
		t.Errorf("another amount: %+v, %v", read, err)
	}
	if _, err := bill.ParseEMVCo(strings.Replace(transport, "A13A", "a13a", 1)); err != nil {
		t.Errorf("a checksum in lower case: %v", err)
	}
}

func TestWhatIsBuiltOtherwiseIsNoPayload(t *testing.T) {
	for _, text := range []string{
		"", "0", "000201", "00020", "0002019", "00XX01", "000299", transport + "0", transport[:len(transport)-8],
		strings.Replace(transport, "5802CN", "5802CN5802CN", 1), "000201\xff", "٠٠٠٢٠١",
	} {
		if read, err := bill.ParseEMVCo(text); !errors.Is(err, bill.ErrEMVCo) || read != (bill.EMVCo{}) {
			t.Errorf("%q: %+v, %v", text, read, err)
		}
	}
}

func TestOnlyAnotherAmountIsAnother(t *testing.T) {
	for amount, other := range map[bill.Amount]bool{"23.72": false, "23.720": false, "23.7": true, "2372": true} {
		b := bill.Bill{Amount: amount, Action: bill.NewAction(transport)}
		if found, is := b.OtherAmount(); is != other || is && found != "23.72" {
			t.Errorf("a bill over %s: %q, %v", amount, found, is)
		}
	}
	if _, is := (bill.Bill{Amount: "1", Action: bill.NewAction("https://pay.example/")}).OtherAmount(); is {
		t.Error("a web address asks for no amount")
	}
}

func FuzzParseEMVCo(f *testing.F) {
	f.Add(transport)
	f.Fuzz(func(t *testing.T, text string) {
		read, err := bill.ParseEMVCo(text)
		if err == nil && !strings.Contains(text, string(read.Amount)) {
			t.Errorf("%q was never in %q", read.Amount, text)
		}
	})
}
