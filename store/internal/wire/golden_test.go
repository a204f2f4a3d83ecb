package wire_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-qlink/caddy-qlink/store/internal/wire"
)

// goldenRecord is a record as the first version of this form wrote it, and what it
// holds.
type goldenRecord struct {
	kind string
	json string
	data []byte
}

// golden reads testdata/records.txt: a line with the kind and the content as
// JSON, and lines of hexadecimal behind it. A record is only ever added.
func golden(tb testing.TB) (records []goldenRecord) {
	tb.Helper()
	text, err := os.ReadFile("testdata/records.txt")
	if err != nil {
		tb.Fatal(err)
	}
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		head, digits, _ := strings.Cut(block, "\n")
		name, json, _ := strings.Cut(head, " ")
		data, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		records = append(records, goldenRecord{name, json, data})
	}
	return records
}

// Stores hold such records for ever.
func TestTheFormIsWhatItWas(t *testing.T) {
	for _, g := range golden(t) {
		k := kinds[g.kind]
		want, err := k.json([]byte(g.json))
		if err != nil {
			t.Fatalf("%s: %v", g.kind, err)
		}
		got, err := k.read(g.data)
		if err != nil {
			t.Fatalf("%s: %v", g.kind, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: read (-want +read):\n%s", g.kind, diff)
		}
		data, err := wire.Append(nil, want)
		if err != nil {
			t.Fatalf("%s: %v", g.kind, err)
		}
		if !bytes.Equal(data, g.data) {
			t.Errorf("%s: written as %x, and it was %x", g.kind, data, g.data)
		}
	}
}
