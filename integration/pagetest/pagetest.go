// Package pagetest keeps pages of docs/ as the code has them. It holds what tests
// share, and imports nothing of ours.
package pagetest

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the pages of docs/ anew that the code writes")

// Keep compares what stands behind a line of a page with what it has to be, and
// fails the test where that differs; with -update it writes the page instead. What
// stands before the line is anybody's.
func Keep(t *testing.T, page, line, generated string) {
	t.Helper()
	written, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	intro, kept, found := strings.Cut(string(written), line)
	switch {
	case !found:
		t.Fatalf("%s has no line %q", page, line)
	case kept == generated:
	case !*update:
		t.Fatalf("%s is not what the code says: go test . -run %s -update", page, t.Name())
	default:
		if err := os.WriteFile(page, []byte(intro+line+generated), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
