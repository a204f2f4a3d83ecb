package cli

import (
	"errors"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func resolveCommand(host Host) *cobra.Command {
	var note string
	var dry bool
	cmd := asJSON(remote(&cobra.Command{
		Use:   "resolve <bill|orphan>",
		Short: "Note that an alarm or an orphan was looked into",
		Long: `Notes in a bill's history, or at an orphan, what you found and did. It then
counts as looked into: it is no longer listed as one that wants attention.
Nothing else changes: neither the bill's status, nor anything at the gateway.`,
		Example: `  caddy qlink resolve O20250804001 --note "refunded by bank transfer, ticket 4712"
  caddy qlink resolve 7b0e1e0c-9d0c-4d65-9c39-5d1e64c6a3f5 --note "belongs to the old shop" --dry-run`,
		Args: host.counted(1, 1, "the bill or orphan"),
		RunE: host.run(func(s *session, args []string) error {
			if note == "" {
				return misuse("--note is missing: say what you found")
			}
			c, err := s.admin()
			if err != nil {
				return err
			}
			name, what, err := s.resolvable(c, args[0])
			switch {
			case err != nil:
				return err
			case dry:
				return s.out.line("Would resolve the %s %s.", what, name)
			}
			return s.resolve(c, name, note)
		}),
	}))
	cmd.Flags().StringVar(&note, "note", "", "What you found and did")
	dryRun(cmd, &dry)
	return cmd
}

// resolvable finds the bill or the orphan that a name stands for.
func (s *session) resolvable(c *client, name string) (id, what string, err error) {
	b, err := c.one(s, name)
	var answer *apiError
	if err == nil || !errors.As(err, &answer) || answer.Status != http.StatusNotFound {
		return b.ID, "bill", err
	}
	unknown := err
	_, err = listing{path: "/qlink/orphans", field: "orphans"}.each(s, c, func(object jsontext.Value) error {
		o, err := decode[orphanJSON](object)
		if err == nil && o.ID == name {
			err = errEnough
		}
		return err
	})
	switch {
	case errors.Is(err, errEnough):
		return name, "orphan", nil
	case err != nil:
		return "", "", err
	}
	return "", "", unknown
}

func (s *session) resolve(c *client, id, note string) error {
	acted, err := ask[actedJSON](s, c, post(billPath(id, "resolve"), struct {
		Note string `json:"note"`
	}{note}))
	switch {
	case err != nil:
		return err
	case s.out.json && len(acted.Bill) > 0:
		return s.out.object(acted.Bill)
	case s.out.json:
		return s.out.object(acted.Orphan)
	}
	return s.out.line("Resolved: %s.", id)
}
