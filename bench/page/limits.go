package main

import (
	"fmt"
	"math"
	"strings"
)

// cost is what one request takes where bills are in PostgreSQL.
type cost struct {
	Node     float64 `json:"node"`     // seconds of a core, of the Caddy
	Database float64 `json:"database"` // likewise, of PostgreSQL
	Log      float64 `json:"log"`      // bytes that PostgreSQL writes ahead
}

func (c cost) times(n float64) cost { return cost{c.Node * n, c.Database * n, c.Log * n} }

func (c cost) plus(o cost) cost { return cost{c.Node + o.Node, c.Database + o.Database, c.Log + o.Log} }

// database is what was measured of a shop over PostgreSQL.
type database struct {
	Checkout cost    `json:"checkout"`
	Webhook  cost    `json:"webhook"`
	Status   cost    `json:"status"`
	Bill     float64 `json:"bill"` // bytes of a settled one
}

// What is reckoned with.
const (
	wanted  = 1000 // payments a second
	looks   = 4    // at a bill's status by each buyer's page, where it has no stream
	commits = 3    // of a payment: two of its checkout, one of its webhook
	reserve = 2    // how many times what is needed is kept
	day     = 24 * 3600
	year    = 365 * day
)

// limits is where the next limit lies, reckoned from the largest store and from
// the database that were measured.
func limits(points []point, d database) string {
	if len(points) == 0 || d.Bill == 0 {
		return "Not measured."
	}
	p := points[len(points)-1]
	perBill := p.Disk / p.Held
	core := 1/p.Checkouts + 1/p.Webhooks + looks/p.Statuses // seconds of one core for a payment
	payment := d.Checkout.plus(d.Webhook).plus(d.Status.times(looks))
	const kilo, mega, giga, tera = 1e3, 1e6, 1e9, 1e12
	var out strings.Builder
	fmt.Fprintf(&out, "**One node.** One payment takes a checkout, a webhook and, say, %d looks at its status: 1/%.0f + 1/%.0f + %d/%.0f s = %.2f ms of one core, so that a core carries %.0f payments a second.\n",
		looks, p.Checkouts, p.Webhooks, looks, p.Statuses, core*1e3, 1/core)
	fmt.Fprintf(&out, "A hundred payments a second, all year, are %.1f × 10⁹ bills and, at %.0f bytes each, %.1f TB: the disk, and the hours that a backup of it takes, are the next limit of one node, not its processor; `retention` deletes what is told of a bill, not its stub.\n\n",
		100*year/giga, perBill, 100*year*perBill/tera)
	fmt.Fprintf(&out, "**%d payments a second** want several nodes over PostgreSQL. Measured with both on one core:\n\n", wanted)
	out.WriteString("| | a node's processor | PostgreSQL's processor | PostgreSQL's write-ahead log |\n| --- | ---: | ---: | ---: |\n")
	for _, row := range []struct {
		name string
		cost
	}{{"checkout", d.Checkout}, {"webhook", d.Webhook}, {"status", d.Status}, {fmt.Sprintf("a payment: one, one and %d of them", looks), payment}} {
		fmt.Fprintf(&out, "| %s | %.2f ms | %.2f ms | %.1f kB |\n", row.name, row.Node*kilo, row.Database*kilo, row.Log/kilo)
	}
	fmt.Fprintf(&out, "\n- Nodes: %d × %.2f ms = %.1f cores; with %d times the room %.0f, such as %.0f nodes of four cores, one of which may be missing.\n",
		wanted, payment.Node*kilo, wanted*payment.Node, reserve, wanted*payment.Node*reserve, math.Ceil(wanted*payment.Node*reserve/4)+1)
	fmt.Fprintf(&out, "- PostgreSQL: %d × %.2f ms = %.1f cores, with %d times the room %.0f; %d commits a second, whose syncs it shares among those that wait (`commit_delay`); %.0f MB of its log a second, %.1f TB a day to be shipped to a standby and archived.\n",
		wanted, payment.Database*kilo, wanted*payment.Database, reserve, wanted*payment.Database*reserve, wanted*commits, wanted*payment.Log/mega, wanted*payment.Log*day/tera)
	fmt.Fprintf(&out, "- Disk: a settled bill takes %.0f bytes there, so %.0f GB a day and %.0f TB a year. That is the limit after the next: `retention` within weeks, and a database whose tables are cut by time, which this schema does not do.\n",
		d.Bill, wanted*d.Bill*day/giga, wanted*d.Bill*year/tera)
	fmt.Fprintf(&out, "- Connections: each node holds %d at most by default (`max_conns`), and one that follows changes. The changes that it follows are %d a second: it hears of all of them, and reads those that somebody watches.\n", 16, wanted*commits)
	return out.String()
}
