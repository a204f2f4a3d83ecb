package codec_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// story 34
func TestATimeOfAnyZoneComesBackAsTheSameInstantInUTC(t *testing.T) {
	shanghai := time.FixedZone("", 8*60*60)
	given := bill.Event{Kind: bill.EventCreated, At: time.Date(2026, 11, 22, 18, 0, 0, 123456789, shanghai)}
	data, err := codec.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	got, err := codec.Unmarshal[bill.Event](data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(given, got); diff != "" {
		t.Errorf("changed on the way (-given +got):\n%s", diff)
	}
	if got.At.Location() != time.UTC {
		t.Errorf("came back in zone %v", got.At.Location())
	}
}

func TestTextThatIsNotUTF8IsRefusedInsteadOfChanged(t *testing.T) {
	if data, err := codec.Marshal(bill.Event{Note: "\xff"}); err == nil {
		t.Errorf("stored as %s", data)
	}
}

func TestAYearThatJSONCannotHoldIsRefused(t *testing.T) {
	if data, err := codec.Marshal(bill.Event{At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}); err == nil {
		t.Errorf("stored as %s", data)
	}
}

func TestAFieldOfAnotherVersionIsIgnoredAndATwofoldOneRefused(t *testing.T) {
	if _, err := codec.Unmarshal[bill.Event]([]byte(`{"kind":"chosen","hue":"blue"}`)); err != nil {
		t.Errorf("unknown field: %v", err)
	}
	if _, err := codec.Unmarshal[bill.Event]([]byte(`{"kind":"chosen","kind":"forced"}`)); err == nil {
		t.Error("a name given twice was accepted")
	}
}
