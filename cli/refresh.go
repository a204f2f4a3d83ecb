package cli

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func refreshCommand(host Host) *cobra.Command {
	var which filter
	var olderThan string
	var dry bool
	cmd := asJSON(remote(&cobra.Command{
		Use:   "refresh <bill>… | --status <status> --older-than <duration>",
		Short: "Ask the gateway now how bills stand",
		Long: `Asks the gateway about bills now, rather than when the module would, and prints
how they then stand. Bills are named one by one, by any of their names, or by
status and age. Asking changes nothing at the gateway.`,
		Example: `  caddy qlink refresh O20250804001
  caddy qlink refresh --status WAIT --older-than 1h --dry-run
  caddy qlink refresh --status CREATED --older-than 10m --json`,
		RunE: host.run(func(s *session, names []string) error {
			byStatus := which.status != "" || olderThan != ""
			switch {
			case byStatus == (len(names) > 0):
				return misuse("name bills, or say which with --status and --older-than")
			case byStatus && (which.status == "" || olderThan == ""):
				return misuse("--status and --older-than go together")
			}
			c, err := s.admin()
			if err != nil {
				return err
			}
			if byStatus {
				if names, err = s.older(c, which, olderThan); err != nil {
					return err
				}
			}
			return s.refresh(c, names, dry)
		}),
	}))
	cmd.Flags().StringVar(&which.status, "status", "", "All bills in this status: "+strings.Join(statuses(), ", "))
	cmd.Flags().StringVar(&olderThan, "older-than", "", "… that were created so long ago, or longer: 30m, 24h, 7d")
	completeStatus(cmd)
	dryRun(cmd, &dry)
	return cmd
}

// older lists the bills of a status that are older than an age.
func (s *session) older(c *client, which filter, age string) (ids []string, err error) {
	now := time.Now()
	d, err := span("older-than", age)
	if err != nil {
		return nil, err
	}
	which.to = now.Add(-d).UTC().Format(time.RFC3339Nano)
	query, err := which.query(now)
	if err != nil {
		return nil, err
	}
	_, err = listing{path: "/qlink/bills", query: query, field: "bills"}.each(s, c, func(object jsontext.Value) error {
		b, err := decode[billJSON](object)
		ids = append(ids, b.ID)
		return err
	})
	return ids, err
}

// refresh asks after each and prints how they stand.
func (s *session) refresh(c *client, names []string, dry bool) error {
	if len(names) == 0 {
		s.out.note("No bills.")
		return nil
	}
	t := s.out.billTable()
	err := s.each("Asking the gateway", names, func(name string) error {
		b, err := c.one(s, name)
		if err != nil {
			return err
		}
		if dry {
			return s.would("refresh", b)
		}
		acted, err := ask[actedJSON](s, c, post(billPath(b.ID, "refresh"), nil))
		switch {
		case err != nil:
			return err
		case s.out.json:
			return s.out.object(acted.Bill)
		}
		return t.raw(acted.Bill)
	})
	if printed := t.print(""); printed != nil {
		return printed
	}
	return err
}

// would tells of an act that --dry-run leaves undone.
func (s *session) would(act string, b billJSON) error {
	if s.out.json {
		return s.out.value(struct {
			DryRun bool   `json:"dryRun"`
			Would  string `json:"would"`
			Bill   string `json:"bill"`
			Order  string `json:"orderCode"`
			Status string `json:"status"`
		}{true, act, b.ID, b.OrderCode, string(b.Status)})
	}
	return s.out.line("Would %s bill %s of order %s: %s, %s %s.", act, b.ID, b.OrderCode, b.Status, b.Amount, b.Currency)
}
