// Package bench measures what the module costs, beside what the same machine
// does without it: Caddy processes on loopback, wrk before them, and ratios of
// what was measured in one and the same round. It holds tests alone. A short form
// runs with all other tests, and fails on ratios with wide margins; the long one
// is scripts/bench, which writes docs/performance.md.
package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

var (
	benchRounds = flag.Int("bench.rounds", 3, "rounds of each measurement, of which the median counts")
	benchLength = flag.Duration("bench.length", time.Second, "of one measurement in a round")
)

// What a copy of the test binary is to play.
const (
	playing   = "QLINK_BENCH_PLAY"
	playCaddy = "caddy" // one with the handlers of this package, too
	playPeers = "peers"
)

// The cores that the measured side, and those around it, run on.
const (
	measuredCore = "0"
	loadCore     = "1"
)

// What is built once.
var (
	caddyBinary string // cmd/caddy, without the race detector
	storeTests  string // the tests of store/badger, which build populations
)

func TestMain(m *testing.M) {
	switch os.Getenv(playing) {
	case playCaddy:
		caddycmd.Main() // exits by itself
	case playPeers:
		os.Exit(servePeers())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "caddy-qlink-bench")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	caddyBinary, storeTests = filepath.Join(dir, "caddy"), filepath.Join(dir, "store")
	for _, args := range [][]string{
		{"build", "-o", caddyBinary, "../cmd/caddy"},
		{"test", "-c", "-o", storeTests, "../store/badger"},
	} {
		build := exec.Command("go", args...)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "go", args, err)
			return 1
		}
	}
	return m.Run()
}
