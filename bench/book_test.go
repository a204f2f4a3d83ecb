package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// claim is a row of the table: what is measured, beside what, and how it is to
// come out.
type claim struct {
	What    string  `json:"what"`
	Against string  `json:"against"`
	AtMost  bool    `json:"atMost"` // the goal is an upper bound, else a lower one
	Goal    float64 `json:"goal"`
	Unit    string  `json:"unit,omitzero"` // of goal and figure; "" is a ratio
	Why     string  `json:"why,omitzero"`  // it may not be reached, and what was tried
	margin  float64 // beyond which the short form fails, on a machine that does other things
}

func (c claim) reached(figure float64) bool { return holds(c.AtMost, c.Goal, figure) }

func holds(atMost bool, bound, figure float64) bool {
	if atMost {
		return figure <= bound
	}
	return figure >= bound
}

// noisy is why a figure can be on either side of its goal.
const noisy = "The machine is shared: how far apart the rounds lie, the brackets say."

// entry is what came of a claim.
type entry struct {
	claim

	Figures []float64 `json:"figures"` // of each round
	Median  float64   `json:"median"`
	Reached bool      `json:"reached"`
	Details string    `json:"details"` // absolute figures behind it
}

// book holds all that was measured in this run.
var book ledger

type ledger struct {
	mu      sync.Mutex
	entries []entry
	notes   map[string]any
}

// enter puts a claim's figures into the book, and fails the test where the short
// form finds its margin crossed.
func (l *ledger) enter(t *testing.T, c claim, figures []float64, details string, args ...any) {
	t.Helper()
	e := entry{claim: c, Figures: figures, Median: median(figures), Details: fmt.Sprintf(details, args...)}
	e.Reached = c.reached(e.Median)
	l.mu.Lock()
	l.entries = append(l.entries, e)
	l.mu.Unlock()
	t.Logf("%s, against %s: %.3g%s (of %.3g), goal %.3g: %s", c.What, c.Against, e.Median, c.Unit, figures, c.Goal, e.Details)
	if *benchWrite == "" && !holds(c.AtMost, c.margin, e.Median) {
		t.Errorf("%s, against %s: %.3g%s, beyond the margin of %.3g", c.What, c.Against, e.Median, c.Unit, c.margin)
	}
}

// note keeps something else that the page tells.
func (l *ledger) note(name string, value any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notes == nil {
		l.notes = make(map[string]any)
	}
	l.notes[name] = value
}

// write leaves the book where it was asked for.
func (l *ledger) write() error {
	if *benchWrite == "" {
		return nil
	}
	data, err := json.Marshal(map[string]any{"entries": l.entries, "notes": l.notes}, json.Deterministic(true), jsontext.WithIndent("\t"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*benchWrite, "book.json"), data, 0o600)
}

func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// over divides the figures of one side by those of another, round by round.
func over(figures, by []float64) []float64 {
	ratios := make([]float64, len(figures))
	for i := range figures {
		ratios[i] = figures[i] / by[i]
	}
	return ratios
}

// inTurn measures several sides a round after the other, each round beginning
// with another side, and returns what each came to, by side and round. A round
// ahead of them, which is not counted, warms all up.
func inTurn[T any](sides ...func() T) [][]T {
	came := make([][]T, len(sides))
	for round := range *benchRounds + 1 {
		for i := range sides {
			side := (round + i) % len(sides)
			if figure := sides[side](); round > 0 {
				came[side] = append(came[side], figure)
			}
		}
	}
	return came
}

func perSecond(rounds []taken) []float64 {
	return each(rounds, func(t taken) float64 { return t.perSecond })
}

func p50(rounds []taken) []float64 {
	return each(rounds, func(t taken) float64 { return t.p50.Seconds() })
}

func p99(rounds []taken) []float64 {
	return each(rounds, func(t taken) float64 { return t.p99.Seconds() })
}

func each[T any](rounds []T, figure func(T) float64) []float64 {
	figures := make([]float64, len(rounds))
	for i, r := range rounds {
		figures[i] = figure(r)
	}
	return figures
}

// medians puts a side's medians into words.
func medians(rounds []taken) string {
	busy := median(each(rounds, func(t taken) float64 { return t.generatorBusy }))
	return fmt.Sprintf("%.0f/s, p50 %s, p99 %s, wrk busy %.0f %%", median(perSecond(rounds)), rounded(median(p50(rounds))), rounded(median(p99(rounds))), busy*100)
}

// rounded writes seconds as people read them.
func rounded(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return strings.Replace(d.Round(time.Microsecond).String(), "µs", " µs", 1)
	}
}
