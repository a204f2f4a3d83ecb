package cli

import (
	"github.com/spf13/cobra"
)

func reopenCommand(host Host) *cobra.Command {
	var dry bool
	cmd := asJSON(remote(&cobra.Command{
		Use:   "reopen",
		Short: "Open the checkouts of a restored store",
		Long: `A store that was restored from a backup takes the gateway's webhooks, but no
checkouts: orders that were paid since the backup would be payable again. Look
at 'caddy qlink report' first, then open them.`,
		Example: `  caddy qlink reopen --dry-run
  caddy qlink reopen`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			c, err := s.admin()
			if err != nil {
				return err
			}
			if dry {
				return s.wouldReopen(c)
			}
			raw, err := c.fetch(s, post("/qlink/reopen", nil))
			switch {
			case err != nil:
				return err
			case s.out.json:
				return s.out.object(raw)
			}
			return s.out.line("Checkouts are open.")
		}),
	}))
	dryRun(cmd, &dry)
	return cmd
}

func (s *session) wouldReopen(c *client) error {
	stats, err := ask[statsJSON](s, c, get("/qlink/stats", nil))
	switch {
	case err != nil:
		return err
	case stats.Store.CheckoutsClosedSince == "":
		return s.out.line("Checkouts are open already.")
	}
	return s.out.line("Would open checkouts, which are closed since %s.", moment(stats.Store.CheckoutsClosedSince))
}
