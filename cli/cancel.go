package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// cancelBody is what a cancel may say.
type cancelBody struct {
	Force  bool   `json:"force,omitzero"`
	Reason string `json:"reason,omitzero"`
}

func cancelCommand(host Host) *cobra.Command {
	var body cancelBody
	var dry bool
	cmd := asJSON(remote(&cobra.Command{
		Use:   "cancel <bill>",
		Short: "Cancel a bill at the gateway, or end it by force",
		Long: `Asks the gateway to cancel a bill. It is cancelled when that is certain: until
then the answer is "asked for", and the module goes on asking; that exits with 0,
too, so look at the bill's status before you count on it. A bill that is
paid is never cancelled, and neither is one whose cancel the gateway refuses:
both exit with 3.

--force ends the bill here on your word, whatever the gateway says, and wants a
reason, which is kept in its history. The gateway is not called: a buyer may
still pay, and such a payment counts when it is seen.`,
		Example: `  caddy qlink cancel O20250804001
  caddy qlink cancel O20250804001 --dry-run
  caddy qlink cancel O20250804001 --force --reason "gateway confirmed by phone, ticket 4711"`,
		Args: host.counted(1, 1, "the bill"),
		RunE: host.run(func(s *session, args []string) error {
			switch {
			case body.Force && body.Reason == "":
				return misuse("--force wants a --reason, for the bill's history")
			case !body.Force && body.Reason != "":
				return misuse("--reason goes with --force")
			}
			c, err := s.admin()
			if err != nil {
				return err
			}
			b, err := c.one(s, args[0])
			if err != nil {
				return err
			}
			if dry {
				return s.wouldCancel(b, body.Force)
			}
			return s.cancel(c, b.ID, body)
		}),
	}))
	cmd.Flags().BoolVar(&body.Force, "force", false, "End it here, whatever the gateway says")
	cmd.Flags().StringVar(&body.Reason, "reason", "", "Why, with --force")
	dryRun(cmd, &dry)
	return cmd
}

func (s *session) wouldCancel(b billJSON, force bool) error {
	switch {
	case b.Status == bill.Success:
		return no("bill %s is paid: it cannot be cancelled", b.ID)
	case b.Final:
		return s.out.line("Bill %s has ended already: %s.", b.ID, b.Status)
	case force:
		return s.would("end by force", b)
	}
	return s.would("ask the gateway to cancel", b)
}

func (s *session) cancel(c *client, id string, body cancelBody) error {
	r := post(billPath(id, "cancel"), nil)
	if body.Force {
		r.body = body
	}
	acted, err := ask[actedJSON](s, c, r)
	var refused *apiError
	if errors.As(err, &refused) && s.out.json && len(refused.Bill) > 0 {
		return errors.Join(s.out.object(refused.Bill), err)
	}
	if err != nil {
		return err
	}
	if s.out.json {
		return s.out.object(acted.Bill)
	}
	b, err := decode[billJSON](acted.Bill)
	switch {
	case err != nil:
		return err
	case !b.Final:
		return s.out.line("Asked for: the cancel of bill %s of order %s is not certain yet.", b.ID, b.OrderCode)
	}
	return s.out.line("Bill %s of order %s has ended: %s.", b.ID, b.OrderCode, b.Status)
}
