package cursor_test

import (
	"errors"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/cursor"
)

func TestACursorGivesItsPositionBack(t *testing.T) {
	for _, position := range []string{"", "a", "\x00\xff/+?"} {
		got, err := cursor.Decode("bills", cursor.Encode("bills", []byte(position)))
		if err != nil || string(got) != position {
			t.Errorf("position %q came back as %q, %v", position, got, err)
		}
	}
}

func TestACursorOfAnotherListingIsInvalid(t *testing.T) {
	if _, err := cursor.Decode("orphans", cursor.Encode("bills", []byte("a"))); !errors.Is(err, bill.ErrCursor) {
		t.Errorf("got %v", err)
	}
}

func FuzzNoTextMakesDecodePanicOrPassUnlessItWasEncoded(f *testing.F) {
	f.Add(cursor.Encode("bills", []byte("position")))
	f.Add("")
	f.Add("AAAA")
	f.Add("%%%")
	f.Fuzz(func(t *testing.T, text string) {
		position, err := cursor.Decode("bills", text)
		if err == nil && cursor.Encode("bills", position) != text {
			t.Errorf("%q passed for %q", text, position)
		}
	})
}
