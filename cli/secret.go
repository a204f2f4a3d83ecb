package cli

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

// secretBytes is how random a secret is.
const secretBytes = 32

func secretCommand(host Host) *cobra.Command {
	var api bool
	var file string
	cmd := asJSON(&cobra.Command{
		Use:   "secret",
		Short: "Make a secret",
		Long: `Makes a secret of 32 random bytes: for notifications to shops, whsec_ and base64 as
Standard Webhooks has it; with --api for signed orders, URL-safe base64.

With -o it goes to a new file that only you can read, and is not shown.`,
		Example: `  caddy qlink secret
  caddy qlink secret -o /etc/caddy/qlink-notify.secret
  caddy qlink secret --api -o /etc/caddy/qlink-api.secret`,
		Args: host.counted(0, 0, ""),
		RunE: host.run(func(s *session, _ []string) error {
			raw := make([]byte, secretBytes)
			if _, err := rand.Read(raw); err != nil {
				return err
			}
			secret := payment.KeyPrefix + base64.StdEncoding.EncodeToString(raw)
			if api {
				secret = base64.RawURLEncoding.EncodeToString(raw)
			}
			switch {
			case file != "" && exists(file):
				return fmt.Errorf("%s is there already, and may be in use: name another file, or remove it", file)
			case file != "":
				return whole(file, nil, func(w io.Writer) error {
					_, err := io.WriteString(w, secret+"\n")
					return err
				})
			case s.out.json:
				return s.out.value(map[string]string{"secret": secret})
			}
			return s.out.line("%s", secret)
		}),
	})
	cmd.Flags().BoolVar(&api, "api", false, "For the signed endpoints (api { secret … }) rather than for notify")
	cmd.Flags().StringVarP(&file, "output", "o", "", "The file to write, readable by you alone")
	return cmd
}
