package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// point is what a store of one size cost. Times are in seconds, sizes in bytes.
type point struct {
	Bills     float64 `json:"bills"`
	Start     float64 `json:"start"`
	Memory    float64 `json:"memory"`
	Most      float64 `json:"most"`
	Disk      float64 `json:"disk"`
	Status    float64 `json:"status"`
	Webhook   float64 `json:"webhook"`
	Checkout  float64 `json:"checkout"`
	Statuses  float64 `json:"statuses"`
	Webhooks  float64 `json:"webhooks"`
	Checkouts float64 `json:"checkouts"`
	Held      float64 `json:"held"` // bills on the disk, those that are open among them
}

func growthTable(points []point) string {
	var out strings.Builder
	out.WriteString("| settled bills | start | memory after a collection (under load at most) | disk | status p50 | webhook p50 | checkout p50 | statuses a second | webhooks a second | checkouts a second |\n")
	out.WriteString("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, p := range points {
		fmt.Fprintf(&out, "| %.0f | %.2f s | %.0f (%.0f) MB | %.0f MB, %.0f bytes a bill | %.2f ms | %.2f ms | %.2f ms | %.0f | %.0f | %.0f |\n",
			p.Bills, p.Start, p.Memory/1e6, p.Most/1e6, p.Disk/1e6, p.Disk/p.Held, p.Status*1e3, p.Webhook*1e3, p.Checkout*1e3, p.Statuses, p.Webhooks, p.Checkouts)
	}
	out.WriteString("\n![Latency, memory and disk from the smallest store to the largest](images/growth.png)\n")
	return out.String()
}

// drawing is what gnuplot is told; the data come as a file.
const drawing = `
set terminal pngcairo size 1200,420 font 'sans,10'
set output '%s'
set multiplot layout 1,3
set logscale x
set xlabel 'settled bills'
set format x '10^{%%L}'
set grid
set key top left
set title 'latency, one at a time (p50, ms)'
set yrange [0:*]
plot '%[2]s' using 1:2 with linespoints title 'status', '' using 1:3 with linespoints title 'webhook', '' using 1:4 with linespoints title 'checkout'
set title 'memory of the process (MB)'
plot '%[2]s' using 1:5 with linespoints title 'after a collection', '' using 1:6 with linespoints title 'under load, at most'
set title 'disk (MB)'
set logscale y
set yrange [*:*]
plot '%[2]s' using 1:7 with linespoints title 'store'
unset multiplot
`

// plot draws how cost grows.
func plot(ctx context.Context, points []point, image string) error {
	dir, err := os.MkdirTemp("", "plot")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	var rows strings.Builder
	for _, p := range points {
		fmt.Fprintln(&rows, p.Bills, p.Status*1e3, p.Webhook*1e3, p.Checkout*1e3, p.Memory/1e6, p.Most/1e6, p.Disk/1e6)
	}
	if err := os.WriteFile(data, []byte(rows.String()), 0o600); err != nil {
		return err
	}
	gnuplot := exec.CommandContext(ctx, "gnuplot")
	gnuplot.Stdin = strings.NewReader(fmt.Sprintf(drawing, image, data))
	if out, err := gnuplot.CombinedOutput(); err != nil {
		return fmt.Errorf("gnuplot: %w\n%s", err, out)
	}
	return nil
}

// limits is where the next limit lies, reckoned from the largest store that was
// measured.
func limits(points []point) string {
	if len(points) == 0 {
		return "Not measured."
	}
	p := points[len(points)-1]
	const (
		wanted  = 1000 // payments a second
		calls   = 4    // of a status by each buyer's page, where it has no stream
		year    = 365 * 24 * 3600
		reserve = 2 // how many times what is needed is kept
	)
	perBill := p.Disk / p.Held
	core := 1/p.Checkouts + 1/p.Webhooks + calls/p.Statuses // seconds of one core for a payment
	var out strings.Builder
	fmt.Fprintf(&out, "One payment takes a checkout, a webhook and, say, %d reads of its status: 1/%.0f + 1/%.0f + %d/%.0f = %.2f ms of one core, so that a core carries %.0f payments a second.\n",
		calls, p.Checkouts, p.Webhooks, calls, p.Statuses, core*1e3, 1/core)
	fmt.Fprintf(&out, "A hundred payments a second, all year, are %.1f × 10⁹ bills and, at %.0f bytes each, %.1f TB: the disk, and the hours that a backup of it takes, are the next limit of one node, not its processor; `retention` deletes what is told of a bill, not its stub.\n\n",
		100*year/1e9, perBill, 100*year*perBill/1e12)
	fmt.Fprintf(&out, "%d payments a second want %d × %.2f ms = %.1f cores at the nodes, %.0f with %d times the room", wanted, wanted, core*1e3, wanted*core, wanted*core*reserve, reserve)
	return out.String()
}
