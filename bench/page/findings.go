package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// finding is a file of docs/performance: what a profile found and what was
// changed, with the output of `go test -bench` before and after, as benchstat
// reads it:
//
//	found: …
//	changed: …
//	shown: BenchmarkSettle/writers=64 ns/op, BenchmarkSettle/writers=64 allocs/op
//	version: before
//	BenchmarkSettle/… 100 1234 ns/op …
//	version: after
//	…
type finding struct {
	found, changed string
	shown          []string             // benchmark and unit
	figures        map[string][]float64 // by version, benchmark and unit
}

// findings is the table of all of them, in the order of their names.
func findings(dir string) (string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return "", err
	}
	slices.Sort(paths)
	var out strings.Builder
	out.WriteString("| found | changed | benchmark | before | after |\n| --- | --- | --- | ---: | ---: |\n")
	for _, path := range paths {
		f, err := readFinding(path)
		if err != nil {
			return "", err
		}
		for i, shown := range f.shown {
			before, after := f.figures["before "+shown], f.figures["after "+shown]
			if len(before) == 0 || len(after) == 0 {
				return "", fmt.Errorf("%s: no figures for %q", path, shown)
			}
			found, changed := f.found, f.changed
			if i > 0 {
				found, changed = "", ""
			}
			benchmark, unit, _ := strings.Cut(shown, " ")
			fmt.Fprintf(&out, "| %s | %s | `%s`, %s | %s | %s |\n", found, changed, strings.TrimPrefix(benchmark, "Benchmark"), unit, amount(median(before)), amount(median(after)))
		}
	}
	return out.String(), nil
}

func readFinding(path string) (*finding, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f := &finding{figures: make(map[string][]float64)}
	version := ""
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "found":
			f.found = value
		case name == "changed":
			f.changed = value
		case name == "shown":
			f.shown = strings.Split(value, ", ")
		case name == "version":
			version = value
		case strings.HasPrefix(name, "Benchmark"):
			if err := f.take(version, strings.Fields(lines.Text())); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return f, lines.Err()
}

// take takes a line of results: the benchmark with its number of processors, its
// runs, and figures, each before its unit.
func (f *finding) take(version string, fields []string) error {
	benchmark, _, _ := strings.Cut(fields[0], "-")
	for i := 2; i+1 < len(fields); i += 2 {
		figure, err := strconv.ParseFloat(fields[i], 64) //nolint:forbidigo // a benchmark's, no money
		if err != nil {
			return err
		}
		key := version + " " + benchmark + " " + fields[i+1]
		f.figures[key] = append(f.figures[key], figure)
	}
	return nil
}

func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	return sorted[len(sorted)/2]
}

// amount writes a figure of a benchmark to three digits.
func amount(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
	unit := math.Pow10(int(math.Log10(f)) - 2)
	return strconv.FormatFloat(math.Round(f/unit)*unit, 'f', 0, 64)
}
