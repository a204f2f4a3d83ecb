package cli

import (
	"errors"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// finding is what one check of the doctor found.
type finding struct {
	Check   string `json:"check"`
	Account string `json:"account"`
	Status  string `json:"status"`
	Finding string `json:"finding"`
	Remedy  string `json:"remedy"`
}

func doctorCommand(host Host) *cobra.Command {
	var body struct {
		Account string `json:"account"`
		Site    string `json:"site"`
	}
	cmd := asJSON(remote(&cobra.Command{
		Use:   "doctor",
		Short: "Check the whole chain, with a remedy for each fault",
		Long: `Has the running Caddy check itself: configuration, credentials and the way of
signing against the gateway, clock and time zone, TLS, the shop's address and its
check of signatures, the store, its disk and its folder's owner, and whether the
webhook can be reached. Each fault comes with what to do about it.

It makes harmless calls to the gateway and through the site; no bill is made and
none is changed. It exits with 4 where something is wrong.`,
		Example: `  caddy qlink doctor
  caddy qlink doctor --account default --site https://shop.example.com
  caddy qlink doctor --json | jq 'select(.status != "ok")'`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			c, err := s.admin()
			if err != nil {
				return err
			}
			worst, checks := "", 0
			err = c.stream(s, post("/qlink/doctor", body), func(object jsontext.Value) error {
				f, err := decode[finding](object)
				if err != nil {
					return err
				}
				checks++
				if f.Status == "failed" {
					worst = f.Status
				}
				return s.out.finding(f, object)
			})
			switch {
			case err != nil:
				return err
			case checks == 0:
				return errors.New("the doctor had nothing to say")
			case worst != "":
				return said(exitFault)
			}
			return nil
		}),
	}))
	cmd.Flags().StringVar(&body.Account, "account", "", "This account alone")
	cmd.Flags().StringVar(&body.Site, "site", "", "Where buyers see the site, if the configuration does not say: https://shop.example.com")
	return cmd
}

// finding prints a check: what was found, and below what to do.
func (p *printer) finding(f finding, raw jsontext.Value) error {
	if p.json {
		return p.object(raw)
	}
	colour := good
	switch f.Status {
	case "warning":
		colour = doubt
	case "failed":
		colour = bad
	case "skipped":
		colour = dim
	}
	name := f.Check
	if f.Account != "" {
		name += " (" + f.Account + ")"
	}
	t := p.table()
	t.add(cell{pad(f.Status, 7), colour}, pad(name, 28), f.Finding)
	if f.Remedy != "" {
		t.add("", "", cell{"→ " + f.Remedy, dim})
	}
	return t.print("")
}
