// Command page writes what package bench has measured into docs/performance.md:
// the tables between its markers, and the plot. It measures nothing, and changes
// no other word of the page.
//
//	go run ./bench/page MEASURED docs/performance.md
//
// MEASURED is the folder that the tests of package bench wrote (-bench.write). What
// profiles found comes from the files in docs/performance. It needs gnuplot, and go
// for its profiles. scripts/bench calls it.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
)

// book is what was measured: see package bench.
type book struct {
	Entries []entry `json:"entries"`
	Notes   struct {
		Growth   []point  `json:"growth"`
		Database database `json:"database"`
	} `json:"notes"`
}

type entry struct {
	What    string    `json:"what"`
	Against string    `json:"against"`
	AtMost  bool      `json:"atMost"`
	Goal    float64   `json:"goal"`
	Unit    string    `json:"unit"`
	Figures []float64 `json:"figures"`
	Median  float64   `json:"median"`
	Reached bool      `json:"reached"`
	Details string    `json:"details"`
	Why     string    `json:"why"` // it is not reached
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: page MEASURED PAGE")
		os.Exit(2)
	}
	if err := write(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func write(ctx context.Context, measured, page string) error {
	data, err := os.ReadFile(filepath.Join(measured, "book.json"))
	if err != nil {
		return err
	}
	var b book
	if err := json.Unmarshal(data, &b); err != nil {
		return err
	}
	machine, err := os.ReadFile(filepath.Join(measured, "machine"))
	if err != nil {
		return err
	}
	shares, err := whereTimeGoes(ctx, measured)
	if err != nil {
		return err
	}
	found, err := findings(filepath.Join(filepath.Dir(page), "performance"))
	if err != nil {
		return err
	}
	if err := plot(ctx, b.Notes.Growth, filepath.Join(filepath.Dir(page), "images", "growth.png")); err != nil {
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	for name, section := range map[string]string{
		"table": table(b.Entries), "machine": string(machine), "growth": growthTable(b.Notes.Growth),
		"limits": limits(b.Notes.Growth, b.Notes.Database), "time": shares, "why": reasons(b.Entries), "found": found,
	} {
		if text, err = replaced(text, name, section); err != nil {
			return err
		}
	}
	return os.WriteFile(page, text, 0o600)
}

// replaced puts a section between its markers.
func replaced(page []byte, name, section string) ([]byte, error) {
	begin, end := "<!-- bench:"+name+" -->\n", "<!-- bench:end -->"
	before, rest, found := strings.Cut(string(page), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return nil, fmt.Errorf("the page has no section %q", name)
	}
	return []byte(before + begin + "\n" + strings.TrimSpace(section) + "\n\n" + end + after), nil
}

// table is the table of what was to be reached, and was.
func table(entries []entry) string {
	var out strings.Builder
	out.WriteString("| what | measured against, in the same run | goal | measured | reached | figures |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, e := range entries {
		sign, verdict := "≥", "yes"
		if e.AtMost {
			sign = "≤"
		}
		if !e.Reached {
			verdict = "**no**"
		}
		fmt.Fprintf(&out, "| %s | %s | %s %s%s | %s | %s | %s |\n", e.What, e.Against, sign, figure(e.Goal), e.Unit, span(e), verdict, e.Details)
	}
	return out.String()
}

// reasons say of each goal that was not reached why.
func reasons(entries []entry) string {
	var out strings.Builder
	for _, e := range entries {
		if !e.Reached {
			fmt.Fprintf(&out, "- **%s, against %s**: %s. %s\n", e.What, e.Against, span(e), cmp.Or(e.Why, "Why is not known."))
		}
	}
	return cmp.Or(out.String(), "Every goal was reached.")
}

// span is the median of all rounds, and between what they lay.
func span(e entry) string {
	if len(e.Figures) == 1 {
		return figure(e.Median) + e.Unit
	}
	least, most := e.Figures[0], e.Figures[0]
	for _, f := range e.Figures {
		least, most = min(least, f), max(most, f)
	}
	return fmt.Sprintf("%s%s (%s to %s)", figure(e.Median), e.Unit, figure(least), figure(most))
}

func figure(f float64) string {
	switch {
	case f >= 100 || f == float64(int(f)):
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}
