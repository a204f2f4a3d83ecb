package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/spf13/cobra"
)

func exportCommand(host Host) *cobra.Command {
	var which filter
	var format, file string
	formats := []string{"ndjson", "csv"}
	cmd := asJSON(remote(&cobra.Command{
		Use:   "export",
		Short: "Write bills as NDJSON or CSV",
		Long: `Writes bills as a stream, however many there are: NDJSON (a bill with its metadata
a line), or CSV (RFC 4180) in which no cell is a formula to a spreadsheet. The
filters of 'caddy qlink bills' apply.

With -o the file appears under its name when it is complete, and not before. The
bills stand as they stood when each was read.`,
		Example: `  caddy qlink export -o bills.ndjson
  caddy qlink export --format csv --from 2026-11-01 --to 2026-12-01 -o november.csv
  caddy qlink export --status SUCCESS | jq -r .amount`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			if !slices.Contains(formats, format) {
				return misuse("--format %q is none of ndjson, csv", format)
			}
			if s.out.json && format != formats[0] {
				return misuse("--json is --format ndjson")
			}
			query, err := which.query(time.Now())
			if err != nil {
				return err
			}
			query.Set("format", format)
			c, err := s.admin()
			if err != nil {
				return err
			}
			body, err := c.open(s, request{method: "GET", path: "/qlink/export", query: query})
			if err != nil {
				return err
			}
			defer body.Close()
			return s.save("Exporting", body, file, nil)
		}),
	}))
	which.flags(cmd)
	cmd.Flags().StringVar(&format, "format", "ndjson", "ndjson or csv")
	cmd.Flags().StringVarP(&file, "output", "o", "-", "The file to write; -: standard output")
	complete(cmd, "format", formats)
	return cmd
}

// save copies a stream into a file that appears when it is whole and has been
// verified, or to standard output.
func (s *session) save(title string, body io.Reader, file string, verify func(path string) error) (err error) {
	if file == "-" {
		to := s.out.out
		if isTerminal(to) {
			to = harmlessWriter{to}
		}
		if _, err := io.Copy(to, body); err != nil {
			return fmt.Errorf("it breaks off: %w", s.cause(err))
		}
		return nil
	}
	b := s.bar(title, 0, progress.UnitsBytes)
	defer func() { b.end(err) }()
	return whole(file, verify, func(w io.Writer) error {
		if _, err := io.Copy(w, b.counted(body)); err != nil {
			return fmt.Errorf("it breaks off: %w", s.cause(err))
		}
		return nil
	})
}

// cause prefers "interrupted" to what follows from it.
func (s *session) cause(err error) error {
	if s.Err() != nil {
		return s.Err()
	}
	return err
}
