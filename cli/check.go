package cli

import (
	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/spf13/cobra"
)

func checkCommand(host Host) *cobra.Command {
	return asJSON(&cobra.Command{
		Use:   "check <store folder>",
		Short: "Read all of a stopped store and tell its damage",
		Long: `Reads every record of a stopped store, compares it with its checksum and with the
records that belong to it, and prints what is damaged. It changes nothing. It
exits with 4 where there is damage; a store that a Caddy has open is refused.`,
		Example: `  caddy qlink check /var/lib/caddy/.local/share/caddy/qlink
  caddy qlink check ./restored --json`,
		Args: host.counted(1, 1, "the store's folder"),
		RunE: host.run(func(s *session, args []string) error {
			stores, err := s.stores()
			if err != nil {
				return err
			}
			b := s.bar("Checking", 0, progress.UnitsDefault)
			var damages []string
			content, err := stores.Check(s, args[0], func(damage string) error {
				damages = append(damages, damage)
				return nil
			})
			b.end(err)
			if err != nil {
				return err
			}
			return s.checked(content, damages)
		}),
	})
}

func (s *session) checked(content Content, damages []string) (err error) {
	for _, damage := range damages {
		if s.out.json {
			err = s.out.value(map[string]string{"damage": damage})
		} else {
			err = s.out.line("Damage: %s", damage)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case s.out.json:
		err = s.out.value(content)
	case len(damages) == 0:
		err = s.out.line("No damage: %d bills, %d records.", content.Bills, content.Records)
	}
	if err == nil && len(damages) > 0 {
		err = said(exitFault)
	}
	return err
}
