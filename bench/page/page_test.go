package main

import (
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
