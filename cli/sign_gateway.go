package cli

import (
	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

func signGatewayCommand(host Host) *cobra.Command {
	var g given
	var appKey, mode string
	var text bool
	cmd := asJSON(&cobra.Command{
		Use:   "gateway --app-key <key> [<body file>]",
		Short: "Sign a request to the gateway, or a notification by it",
		Long: `Signs a body as section 2 of the gateway's document says: SHA-1 over the app key
and the body in JSON, with the app secret behind. --text prints what is hashed,
without the secret, for comparison with another implementation.`,
		Example: `  caddy qlink sign gateway --app-key my-app --secret-env APP_SECRET notification.json
  caddy qlink sign gateway --app-key my-app --secret-file app.secret --mode object < body.json
  caddy qlink sign gateway --app-key my-app --text body.json`,
		Args: host.counted(0, 1, "the body"),
		RunE: host.run(func(s *session, args []string) error {
			content, err := contentMode(mode, qlink.ContentString, qlink.ContentObject)
			switch {
			case err != nil:
				return err
			case appKey == "":
				return misuse("--app-key is missing")
			}
			if text {
				body, err := g.body(s, args)
				if err != nil {
					return err
				}
				return s.out.line("%s", qlink.SignedText(content, appKey, body))
			}
			secrets, body, err := g.read(s, args)
			if err != nil {
				return err
			}
			return s.out.headers(header{qlink.HeaderAppKey, appKey}, header{qlink.HeaderSign, qlink.Sign(content, appKey, secrets[0], body)})
		}),
	})
	g.flags(cmd)
	cmd.Flags().StringVar(&appKey, "app-key", "", "The app key")
	cmd.Flags().StringVar(&mode, "mode", string(qlink.ContentString), "How the body stands in what is signed: string or object")
	cmd.Flags().BoolVar(&text, "text", false, "Print what is signed, without the secret, instead; wants no secret")
	complete(cmd, "mode", []string{"string", "object"})
	return cmd
}

// contentMode reads --mode.
func contentMode(text string, allowed ...qlink.ContentMode) (qlink.ContentMode, error) {
	for _, mode := range allowed {
		if text == string(mode) {
			return mode, nil
		}
	}
	return "", misuse("--mode %q is none of %q", text, allowed)
}
