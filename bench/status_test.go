package bench

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// respondSite answers everything with what a bill's status answers.
func respondSite(t *testing.T, url string) string {
	t.Helper()
	header, body := got(t, url)
	var headers []string
	for name, values := range header {
		if name != "Date" && name != "Content-Length" && name != "Server" {
			headers = append(headers, fmt.Sprintf("\theader %s `%s`\n", name, values[0]))
		}
	}
	sort.Strings(headers)
	return "{\n" + plainOptions + "}\nhttp://{{site}} {\n" + strings.Join(headers, "") + "\trespond `" + string(body) + "`\n}\n"
}

func TestStatus(t *testing.T) {
	around := startPeers(t)
	s := openShop(t, population{bills: 10_000, open: 5000}, around, hour)
	requests := s.statuses(s.list(bill.Wait, 1000))
	static := startCaddy(t, t.TempDir(), respondSite(t, strings.Fields("http://" + s.site + " " + requests[0])[0]+strings.Fields(requests[0])[1]), nil)
	var ours, theirs float64 // allocations
	ask := func(c *caddy, allocated *float64) func() taken {
		return func() taken {
			before := c.allocations()
			came := load{to: c.site, connections: 32, length: *benchLength, requests: requests, again: true}.put(t)
			*allocated = (c.allocations() - before) / came.answered
			return came
		}
	}
	came := inTurn(ask(s.caddy, &ours), ask(static, &theirs))
	book.enter(t, claim{What: "`GET /bills/{id}`: throughput", Against: "`respond` with the same body and headers", Goal: 0.9, margin: 0.35},
		over(perSecond(came[0]), perSecond(came[1])), "%s; `respond` %s; 32 at once, 1000 bills in turn", medians(came[0]), medians(came[1]))
	book.enter(t, claim{What: "allocations of a status read", Against: "`respond`'s", AtMost: true, Goal: 15, margin: 25, Unit: " more"},
		[]float64{ours - theirs}, "%.0f; `respond` %.0f", ours, theirs)
	s.profile(t, "status", load{to: s.site, connections: 32, requests: requests, again: true})
}
