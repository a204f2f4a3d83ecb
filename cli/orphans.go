package cli

import (
	"net/url"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func orphansCommand(host Host) *cobra.Command {
	var resolved bool
	var limit int
	cmd := asJSON(remote(&cobra.Command{
		Use:   "orphans",
		Short: "List payments that no bill here belongs to",
		Long: `Lists what the gateway reported, with a genuine signature, as paid, and what no
bill here belongs to: payments of another system with the same app key, say, or of
a store that was lost. Look into each, then note what you found: it is not
listed any more.`,
		Example: `  caddy qlink orphans
  caddy qlink orphans --resolved --json
  caddy qlink resolve 7b0e1e0c-9d0c-4d65-9c39-5d1e64c6a3f5 --note "belongs to the old shop"`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			query := url.Values{}
			if resolved {
				query.Set("resolved", "true")
			}
			t := s.out.table("AT", "ORPHAN", "ORDER", "BILL CODE", "PAID", "RESOLVED", "NOTE")
			return listing{"/qlink/orphans", query, "orphans", limit}.show(s, "No orphans.", t, func(object jsontext.Value) error {
				o, err := decode[orphanJSON](object)
				if err == nil {
					t.add(moment(o.At), o.ID, o.OrderCode, o.BillCode, moment(o.PayTime), moment(o.ResolvedAt), o.Note)
				}
				return err
			})
		}),
	}))
	cmd.Flags().BoolVar(&resolved, "resolved", false, "Those that were resolved, too")
	limitFlag(cmd, &limit)
	return cmd
}
