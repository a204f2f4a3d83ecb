package bench

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// grown is a shop over so many settled bills, and what it cost.
type grown struct {
	*shop

	size     int
	home     string
	point    point
	statuses []string
	bills    *ration
	most     int64 // of memory, while it was under load
	watching sync.WaitGroup
	enough   chan struct{}
}

// point is a size in the plot.
type point struct {
	Bills     int     `json:"bills"`     // settled
	Held      int     `json:"held"`      // those that are open among them
	Start     float64 `json:"start"`     // seconds to the first answer
	Memory    float64 `json:"memory"`    // bytes of its own after a collection
	Most      float64 `json:"most"`      // likewise, the most under load
	Disk      float64 `json:"disk"`      // bytes of the store's files
	Status    float64 `json:"status"`    // p50, seconds
	Webhook   float64 `json:"webhook"`   // p50 of one at a time, seconds
	Checkout  float64 `json:"checkout"`  // likewise
	Statuses  float64 `json:"statuses"`  // a second, 32 at once
	Webhooks  float64 `json:"webhooks"`  // a second, 64 at once
	Checkouts float64 `json:"checkouts"` // likewise
}

const (
	webhooksOfSize = 8000 // more than are taken in a second
	aloneOfSize    = 3000
)

// TestGrowth asks stores of all sizes the same, in turn.
func TestGrowth(t *testing.T) {
	around := startPeers(t)
	var shops []*grown
	var base, last *grown
	for text := range strings.SplitSeq(*benchSizes, ",") {
		size, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		last = grow(t, size, around.gateway)
		if base == nil && size >= *benchBase {
			base = last
		}
		shops = append(shops, last)
	}
	reconcile(t, last, around)
	for _, g := range shops {
		g.open(t, around)
	}
	asked := make(map[string][][]taken)
	for what, connections := range map[string]int{"status": 32, "webhook": 64, "checkout": 64, "one status": 1, "one webhook": 1, "one checkout": 1} {
		var sides []func() taken
		for _, g := range shops {
			sides = append(sides, func() taken { return g.ask(what, connections) })
		}
		asked[what] = inTurn(sides...)
	}
	at := func(g *grown) int {
		for i := range shops {
			if shops[i] == g {
				return i
			}
		}
		return -1
	}
	against := fmt.Sprintf("the same with %s bills", thousands(base.size))
	for _, what := range []string{"status", "webhook", "checkout"} {
		small, large := asked[what][at(base)], asked[what][at(last)]
		book.enter(t, claim{What: what + " with " + thousands(last.size) + " bills: throughput", Against: against, Goal: 0.8, margin: 0.25, Why: "Bills that nobody has read lately lie each in a block of its own, among more tables than fit into the processor's and Badger's caches; a larger cache would be memory for what is read once. " + noisy},
			over(perSecond(large), perSecond(small)), "%s; %s", medians(large), medians(small))
		book.enter(t, claim{What: what + " with " + thousands(last.size) + " bills: p99", Against: against, AtMost: true, Goal: 1.3, margin: 8, Why: noisy}, over(p99(large), p99(small)), "%d at once", map[string]int{"status": 32, "webhook": 64, "checkout": 64}[what])
	}
	var points []point
	for i, g := range shops {
		g.point.Most = float64(g.end())
		g.point.Status, g.point.Webhook, g.point.Checkout = median(p50(asked["one status"][i])), median(p50(asked["one webhook"][i])), median(p50(asked["one checkout"][i]))
		g.point.Statuses, g.point.Webhooks, g.point.Checkouts = median(perSecond(asked["status"][i])), median(perSecond(asked["webhook"][i])), median(perSecond(asked["checkout"][i]))
		points = append(points, g.point)
	}
	book.note("growth", points)
	p := last.point
	book.enter(t, claim{What: "start with " + thousands(last.size) + " bills, to the first answer", Against: "–", AtMost: true, Goal: 3, margin: 60, Unit: " s"}, []float64{p.Start}, "the store verified and open")
	book.enter(t, claim{What: "memory with " + thousands(last.size) + " bills after a collection", Against: "–", AtMost: true, Goal: 250, margin: 500, Unit: " MB"}, []float64{p.Memory / 1e6},
		"RssAnon; under all of this load at most %.0f MB", p.Most/1e6)
}

func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// grow builds a store.
func grow(t *testing.T, size int, gateway string) *grown {
	t.Helper()
	g := &grown{size: size, home: t.TempDir(), enough: make(chan struct{})}
	p := grownTo(size)
	p.build(t, g.home+"/data/caddy/qlink", gateway)
	g.point = point{Bills: size, Held: p.bills, Disk: float64(occupied(t, g.home+"/data/caddy/qlink"))}
	return g
}

// grownTo is a store with so many settled bills.
func grownTo(size int) population {
	return population{bills: size + openOfSize(), open: openOfSize(), due: *benchDue}
}

// largest is the last one of all sizes.
func largest() (population, error) {
	size, err := strconv.Atoi((*benchSizes)[strings.LastIndexByte(*benchSizes, ',')+1:])
	return grownTo(size), err
}

// openOfSize is how many open bills a store has beside its settled ones.
func openOfSize() int { return needed(webhooksOfSize) + needed(aloneOfSize) }

// open opens a shop over it, and watches its memory from then on.
func (g *grown) open(t *testing.T, around *peers) {
	t.Helper()
	begun := time.Now()
	g.shop = &shop{startCaddy(t, g.home, qlinkSite, around.values(hour))}
	g.awaitStore()
	g.point.Start = time.Since(begun).Seconds()
	g.awaitAdmin()
	g.point.Memory = float64(g.collected())
	g.statuses = g.shop.statuses(g.list(bill.Success, min(g.size/2, 20_000)))
	g.bills = &ration{t, g.notifications(g.list(bill.Wait, openOfSize()))}
	g.watching.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-g.enough:
				return
			case <-tick.C:
				g.most = max(g.most, g.anonymous())
			}
		}
	})
}

// end returns the most memory that it took.
func (g *grown) end() int64 {
	close(g.enough)
	g.watching.Wait()
	return g.most
}

func (g *grown) ask(what string, connections int) taken {
	g.t.Helper()
	l := load{to: g.site, connections: connections, length: *benchLength}
	seconds := int(benchLength.Seconds())
	switch what {
	case "status", "one status":
		l.requests, l.again = g.statuses, true
	case "webhook":
		l.requests = g.bills.take(seconds * webhooksOfSize)
	case "one webhook":
		l.requests = g.bills.take(seconds * aloneOfSize)
	default:
		l.requests, l.again = checkoutAt(g.site), true
	}
	return l.put(g.t)
}

// occupied returns what files take on the disk, in bytes: holes are not counted.
func occupied(t *testing.T, dir string) int64 {
	t.Helper()
	return summed(t, dir, func(info fs.FileInfo) int64 { return info.Sys().(*syscall.Stat_t).Blocks * 512 })
}

// lengths returns how long files are together, in bytes, with their holes.
func lengths(t *testing.T, dir string) int64 {
	t.Helper()
	return summed(t, dir, fs.FileInfo.Size)
}

func summed(t *testing.T, dir string, of func(fs.FileInfo) int64) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		sum += of(info)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
