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
