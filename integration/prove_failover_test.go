package integration

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

var proveFailovers = flag.Int("prove.failovers", 1, "primaries killed, each with its standby promoted, under load")

// The primary is killed under load, and its standby promoted: what was
// acknowledged is there, since no commit was acknowledged before the standby had
// it, and the nodes find the new primary by themselves.
func TestProveAPromotedStandbyHasAllThatWasAcknowledged(t *testing.T) {
	var orders, acks int64
	var longest time.Duration
	for range *proveFailovers {
		s, took := failOver(t)
		orders, acks, longest = orders+int64(len(s.deals)), acks+s.acks.Load(), max(longest, took)
	}
	prove(t, "the primary killed under load, its synchronous standby promoted", fmt.Sprintf("%d times, %d orders, %d answers", *proveFailovers, orders, acks),
		fmt.Sprintf("0 lost, 0 with a second payment; all nodes served again %.1f s after the promotion at most", longest.Seconds()))
}

// failOver returns how long the nodes took until they served from the new
// primary.
func failOver(t *testing.T) (s *struggle, took time.Duration) {
	t.Helper()
	primary := postgrestest.Start(t)
	standby := primary.Standby()
	dsn := postgrestest.Failover(primary, standby)
	s = &struggle{server: standby, deals: make(map[string]*deal)}
	s.nodes = newNodes(t, []string{dsn, dsn, dsn}, nil)
	s.start()
	ctx, cease := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for worker := range strugglers {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				s.live(fmt.Sprintf("F-%d-%d", worker, i), i)
			}
		})
	}
	s.calm()
	primary.Kill()
	standby.Promote()
	begun := time.Now()
	for _, w := range s.each {
		w.await("the new primary", func() bool { return w.status("GET", "/qlink/bills/11111111-1111-4111-8111-111111111111") == 404 })
	}
	took = time.Since(begun)
	s.calm()
	cease()
	load.Wait()
	s.compare()
	return s, took
}
