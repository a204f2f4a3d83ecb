package bench

import (
	"testing"
	"time"
)

const hour = time.Hour // an interval in which nothing is asked after

// What a shop's other traffic feels of the module in its site.
func TestOtherTraffic(t *testing.T) {
	around := startPeers(t)
	with := openShop(t, population{bills: 100, open: 10}, around, hour)
	without := startCaddy(t, t.TempDir(), plainSite, around.values(hour))
	ask := func(c *caddy) func() taken {
		return func() taken {
			return load{to: c.site, connections: 32, length: *benchLength, requests: []string{c.get("/kopi")}, again: true}.put(t)
		}
	}
	came := inTurn(ask(with.caddy), ask(without))
	book.enter(t, claim{What: "other traffic through a site with `qlink`: throughput", Against: "the same site without", Goal: 0.98, margin: 0.5, Why: noisy},
		over(perSecond(came[0]), perSecond(came[1])), "%s; without %s", medians(came[0]), medians(came[1]))
	book.enter(t, claim{What: "other traffic through a site with `qlink`: p99", Against: "the same site without", AtMost: true, Goal: 1.03, margin: 6, Why: noisy},
		over(p99(came[0]), p99(came[1])), "32 at once")
}
