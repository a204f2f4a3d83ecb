package bench

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// A Caddy that nobody asks anything, with the module and without.
func TestIdle(t *testing.T) {
	around := startPeers(t)
	values := around.values(5 * time.Second)
	var with, without, disk, used []float64
	for range *benchRounds {
		home := t.TempDir()
		a := startCaddy(t, home, qlinkSite, values)
		b := startCaddy(t, t.TempDir(), plainSite, values)
		a.awaitStore()
		with, without = append(with, float64(a.collected())/1e6), append(without, float64(b.collected())/1e6)
		disk = append(disk, float64(lengths(t, home+"/data/caddy/qlink"))/1e6)
		used = append(used, float64(occupied(t, home+"/data/caddy/qlink"))/1e6)
		a.stop()
		b.stop()
	}
	more := make([]float64, len(with))
	for i := range with {
		more[i] = with[i] - without[i]
	}
	book.enter(t, claim{What: "an idle Caddy with `qlink`, empty store: memory", Against: "the same Caddy without", AtMost: true, Goal: 20, margin: 40, Unit: " MB more"}, more,
		"RssAnon after a collection %.1f MB; without %.1f MB", median(with), median(without))
	book.enter(t, claim{What: "the same: disk", Against: "–", AtMost: true, Goal: 64, margin: 64, Unit: " MB"}, disk, "length of the store's files; they are sparse, and take %.2f MB", median(used))
}

// What a bill takes on the disk, beside its line in an export.
func TestDiskOfASettledBill(t *testing.T) {
	around := startPeers(t)
	size := *benchSettled
	home := t.TempDir()
	dir := home + "/data/caddy/qlink"
	(population{bills: size, settled: true}).build(t, dir, around.gateway)
	taken := float64(occupied(t, dir)) / float64(size)
	s := startCaddy(t, home, qlinkSite, around.values(hour))
	s.awaitAdmin()
	paid := (&shop{s}).list(bill.Success, min(size, 500))
	bytes := 0
	for _, b := range paid {
		line := jsontext.Value(s.read("http://" + s.admin + "/qlink/bills/" + b.ID))
		if err := line.Compact(); err != nil {
			t.Fatal(err)
		}
		bytes += len(line) + 1
	}
	line := float64(bytes) / float64(len(paid))
	book.enter(t, claim{What: "disk per settled bill, compacted", Against: "its line of NDJSON with history", AtMost: true, Goal: 1.5, margin: 2}, []float64{taken / line},
		"%.0f bytes with order, details, history, notification and all indexes; the line, the same without indexes, %.0f; %s bills", taken, line, thousands(size))
}
