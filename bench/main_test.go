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
	benchRounds  = flag.Int("bench.rounds", 3, "rounds of each measurement, of which the median counts")
	benchLength  = flag.Duration("bench.length", time.Second, "of one measurement in a round, in whole seconds")
	benchSizes   = flag.String("bench.sizes", "1000,20000", "settled bills of the stores that are compared: the last one with the first of at least -bench.base")
	benchBase    = flag.Int("bench.base", 1000, "see -bench.sizes")
	benchSettled = flag.Int("bench.settled", 5000, "bills in the store of which the disk that a bill takes is measured")
	benchStreams = flag.Int("bench.streams", 400, "event streams that are open at once")
	benchChanges = flag.Int("bench.changes", 100, "changes a second that they are told of")
	benchDue     = flag.Int("bench.due", 200, "bills that are due at once")
	benchGateway = flag.String("bench.gateway", "", "host:port for the gateway, which the bills of a store know it by; none: a free one")
	benchStores  = flag.String("bench.stores", "", "folder with stores that were built before, each named BILLS-OPEN-DUE, for that gateway; they are used up")
	benchBuild   = flag.String("bench.build", "", "folder into which the largest of -bench.sizes is built for -bench.stores, and nothing is measured")
	benchWrite   = flag.String("bench.write", "", "folder into which what was measured is written; then goals are reported, and the margins of the short form are not judged")
)

// What a copy of the test binary is to play.
const (
	playing   = "QLINK_BENCH_PLAY"
	playCaddy = "caddy" // one with the handler of this package, too
	playPeers = "peers"
	playOwn   = "own"
)

// The cores that the measured side, and those around it, run on.
const (
	measuredCore = "0"
	loadCore     = "1"
)

// What is built once, without the race detector, as people run it.
var (
	caddyBinary string // cmd/caddy
	players     string // these tests
	storeTests  string // those of store/badger, which build populations
)

func TestMain(m *testing.M) {
	switch os.Getenv(playing) {
	case playCaddy:
		caddycmd.Main() // exits by itself
	case playPeers:
		os.Exit(servePeers())
	case playOwn:
		os.Exit(serveOwn())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "caddy-qlink-bench")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	caddyBinary, players, storeTests = filepath.Join(dir, "caddy"), filepath.Join(dir, "players"), filepath.Join(dir, "store")
	for _, args := range [][]string{
		{"build", "-o", caddyBinary, "../cmd/caddy"},
		{"test", "-c", "-o", players, "."},
		{"test", "-c", "-o", storeTests, "../store/badger"},
	} {
		build := exec.Command("go", args...)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "go", args, err)
			return 1
		}
	}
	if *benchBuild != "" {
		p, err := largest()
		if err == nil {
			err = p.write(filepath.Join(*benchBuild, p.name()), *benchGateway)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	code := m.Run()
	if err := book.write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
