package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASectionTakesThePlaceOfTheOneBefore(t *testing.T) {
	page := "before\n<!-- bench:table -->\nold\n<!-- bench:end -->\nafter <!-- bench:other -->\n<!-- bench:end -->\n"
	got, err := replaced([]byte(page), "table", "| new |\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n<!-- bench:table -->\n\n| new |\n\n<!-- bench:end -->\nafter <!-- bench:other -->\n<!-- bench:end -->\n"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := replaced([]byte("no markers"), "table", ""); err == nil {
		t.Error("a page without the section was taken")
	}
}

func TestATableSaysWhatWasNotReached(t *testing.T) {
	got := table([]entry{
		{What: "a", Against: "b", Goal: 0.9, Figures: []float64{0.8, 0.95, 0.85}, Median: 0.85},
		{What: "c", Against: "d", AtMost: true, Goal: 15, Unit: " KB more", Figures: []float64{12.34}, Median: 12.34, Reached: true, Details: "e"},
	})
	for _, line := range []string{
		"| a | b | ≥ 0.90 | 0.85 (0.80 to 0.95) | **no** |  |",
		"| c | d | ≤ 15 KB more | 12.3 KB more | yes | e |",
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("%s\nis not in\n%s", line, got)
		}
	}
}

func TestASampleIsOfItsInnermostPartUnlessItIsTheMachines(t *testing.T) {
	const (
		handler = "github.com/caddy-qlink/caddy-qlink/handlers.(*Handler).status"
		decode  = "github.com/go-json-experiment/json.Unmarshal"
		store   = "github.com/caddy-qlink/caddy-qlink/store/badger.(*store).view"
		badger  = "github.com/dgraph-io/badger/v4.(*DB).get"
		caddy   = "github.com/caddyserver/caddy/v2/modules/caddyhttp.(*Server).ServeHTTP"
	)
	for want, functions := range map[string][]string{
		"memory: allocation and collection": {"runtime.nextFreeFast", "runtime.mallocgc", badger, store, handler, caddy},
		"Badger":                            {"runtime.memmove", badger, store, handler, caddy},
		"the store":                         {decode, store, badger, handler, caddy},
		"the handlers":                      {decode, handler, caddy},
		"Caddy":                             {caddy, "net/http.(*conn).serve"},
		"syncing to the disk":               {"golang.org/x/sys/unix.Msync", badger},
		"the scheduler and the rest":        {"runtime.schedule"},
	} {
		if got := kinds[kindOf(functions)].name; got != want {
			t.Errorf("%s: %s, want %s", functions, got, want)
		}
	}
}

func TestWhatWasNotReachedSaysWhy(t *testing.T) {
	got := reasons([]entry{
		{What: "a", Against: "b", Figures: []float64{0.8}, Median: 0.8, Why: "Because."},
		{What: "c", Against: "d", Figures: []float64{0.8}, Median: 0.8},
		{What: "e", Against: "f", Figures: []float64{1}, Median: 1, Reached: true, Why: "It is."},
	})
	if want := "- **a, against b**: 0.80. Because.\n- **c, against d**: 0.80. Why is not known.\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := reasons(nil); got != "Every goal was reached." {
		t.Errorf("%q", got)
	}
}

func TestFindingsShowTheMedianBeforeAndAfter(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "01-a.txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const head = "found: slow\nchanged: made fast\nshown: BenchmarkA/n=1 ns/op, BenchmarkA/n=1 allocs/op\n\nversion: before\ncpu: one\n"
	write(head + `BenchmarkA/n=1-2  100  123456 ns/op  12.34 x/y  7 allocs/op
BenchmarkA/n=1-2  100  99999 ns/op  12.34 x/y  7 allocs/op
BenchmarkA/n=1-2  100  200000 ns/op  12.34 x/y  8 allocs/op

version: after
BenchmarkA/n=1-2  100  12.3456 ns/op  12.34 x/y  0 allocs/op
`)
	got, err := findings(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| slow | made fast | `A/n=1`, ns/op | 123000 | 12.3 |",
		"|  |  | `A/n=1`, allocs/op | 7 | 0 |",
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("%s\nis not in\n%s", line, got)
		}
	}
	write(head)
	if _, err := findings(dir); err == nil {
		t.Error("a finding without figures was taken")
	}
	write(head + "BenchmarkA/n=1-2  100  none ns/op\n")
	if _, err := findings(dir); err == nil {
		t.Error("a figure that is none was taken")
	}
}

// What the page of this repository tells of profiles can be made.
func TestEveryFindingHasItsFigures(t *testing.T) {
	table, err := findings("../../docs/performance")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(table, "\n") < 10 {
		t.Errorf("%s", table)
	}
}

func TestLimitsAreReckonedFromWhatWasMeasured(t *testing.T) {
	p := point{Bills: 1e7, Held: 1e7, Disk: 2e10, Checkouts: 1000, Webhooks: 4000, Statuses: 8000}
	each := cost{Node: 1.1e-3, Database: 5e-4, Log: 1000}
	got := limits([]point{p}, database{Checkout: each, Webhook: each, Status: each, Bill: 2200})
	for _, words := range []string{
		"= 1.75 ms of one core, so that a core carries 571 payments a second",
		"3.2 × 10⁹ bills and, at 2000 bytes each, 6.3 TB",
		"| checkout | 1.10 ms | 0.50 ms | 1.0 kB |",
		"one and 4 of them | 6.60 ms | 3.00 ms | 6.0 kB |",
		"1000 × 6.60 ms = 6.6 cores; with 2 times the room 13, such as 5 nodes",
		"1000 × 3.00 ms = 3.0 cores, with 2 times the room 6; 3000 commits a second",
		"6 MB of its log a second, 0.5 TB a day",
		"2200 bytes there, so 190 GB a day and 69 TB a year",
	} {
		if !strings.Contains(got, words) {
			t.Errorf("%q is not in\n%s", words, got)
		}
	}
	if got := limits(nil, database{}); got != "Not measured." {
		t.Errorf("%q", got)
	}
}
