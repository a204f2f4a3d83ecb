package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// kind is what a processor was about.
type kind struct {
	name    string
	pattern *regexp.Regexp
}

// A sample is of the first of these that one of its functions matches, whoever
// called it; else of the kind of the innermost function that has one.
const byAnyFunction = 3

var kinds = []kind{
	{"memory: allocation and collection", regexp.MustCompile(`^runtime\.(mallocgc|gcBgMarkWorker|gcAssist|bgsweep|bgscavenge|growslice|newobject|makeslice|gcStart)`)},
	{"syncing to the disk", regexp.MustCompile(`[mM]sync|\.Fsync|Fdatasync`)},
	{"system calls of the network", regexp.MustCompile(`^internal/poll\.\(\*FD\)\.|^runtime\.netpoll`)},
	{"Badger", regexp.MustCompile(`^github\.com/dgraph-io/`)},
	{"the store", regexp.MustCompile(`caddy-qlink/store/`)},
	{"the gateway's protocol", regexp.MustCompile(`caddy-qlink/qlink\.`)},
	{"the engine and the domain", regexp.MustCompile(`caddy-qlink/(payment|bill)\.`)},
	{"the handlers", regexp.MustCompile(`caddy-qlink(/handlers)?\.`)},
	{"Caddy", regexp.MustCompile(`^github\.com/caddyserver/`)},
	{"net/http", regexp.MustCompile(`^net/http\.`)},
	{name: "the scheduler and the rest"},
}

var profiles = []string{"status", "webhooks", "checkouts"}

// whereTimeGoes is a table of the processor's time, by what it was spent on.
func whereTimeGoes(ctx context.Context, measured string) (string, error) {
	shares := make(map[string][]float64) // of each profile, by kind
	for _, name := range profiles {
		of, err := sharesOf(ctx, filepath.Join(measured, name+".pprof"))
		if err != nil {
			return "", err
		}
		shares[name] = of
	}
	var out strings.Builder
	fmt.Fprintf(&out, "| processor time goes into | %s |\n| --- |%s\n", strings.Join(profiles, " | "), strings.Repeat(" ---: |", len(profiles)))
	for i, k := range kinds {
		fmt.Fprintf(&out, "| %s |", k.name)
		for _, name := range profiles {
			fmt.Fprintf(&out, " %.0f %% |", shares[name][i]*100)
		}
		out.WriteString("\n")
	}
	return out.String(), nil
}

// sharesOf reads the stacks of a profile, as pprof prints them: a line of dashes,
// then the sample's time and its functions, the innermost first.
func sharesOf(ctx context.Context, profile string) ([]float64, error) {
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", profile).Output() //nolint:gosec // a file of our own
	if err != nil {
		return nil, fmt.Errorf("go tool pprof %s: %w", profile, err)
	}
	took := make([]time.Duration, len(kinds))
	var total time.Duration
	for sample := range strings.SplitSeq(string(out), "-----------+-------------------------------------------------------\n") {
		lines := strings.Split(strings.TrimSpace(sample), "\n")
		first := strings.Fields(lines[0])
		if len(first) < 2 {
			continue
		}
		d, err := time.ParseDuration(first[0])
		if err != nil {
			continue // the head of the output
		}
		functions := []string{first[1]}
		for _, line := range lines[1:] {
			functions = append(functions, strings.TrimSpace(line))
		}
		took[kindOf(functions)] += d
		total += d
	}
	shares := make([]float64, len(kinds))
	for i, d := range took {
		shares[i] = d.Seconds() / total.Seconds()
	}
	return shares, nil
}

func kindOf(functions []string) int {
	for i, k := range kinds[:byAnyFunction] {
		if slices.ContainsFunc(functions, k.pattern.MatchString) {
			return i
		}
	}
	for _, f := range functions {
		for i, k := range kinds[byAnyFunction : len(kinds)-1] {
			if k.pattern.MatchString(f) {
				return byAnyFunction + i
			}
		}
	}
	return len(kinds) - 1
}
