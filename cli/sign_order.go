package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/handlers"
)

func signOrderCommand(host Host) *cobra.Command {
	var g given
	var req requestLine
	var at string
	cmd := asJSON(&cobra.Command{
		Use:   "order [--method <method>] --path <path> [<body file>]",
		Short: "Sign a shop's request to the signed endpoints",
		Long: `Signs a request as a shop does that hands over an order (POST {prefix}/bills) or asks
after one. The path is the one sent, with its query. A request without a body is
signed with --no-body.`,
		Example: `  caddy qlink sign order --path /qlink/bills --secret-env QLINK_API_SECRET order.json
  caddy qlink sign order --path /qlink/bills --secret-file api.secret order.json | curl -H @- -d @order.json https://shop.example.com/qlink/bills
  caddy qlink sign order --method GET --path /qlink/orders/O1 --no-body --secret-file api.secret`,
		Args: host.counted(0, 1, "the body"),
		RunE: host.run(func(s *session, args []string) error {
			method, path, err := req.check()
			if err != nil {
				return err
			}
			when, err := signedAt(at)
			if err != nil {
				return err
			}
			secrets, body, err := req.read(s, &g, args)
			if err != nil {
				return err
			}
			return s.out.headers(header{handlers.SignatureHeader, handlers.Sign(secrets[0], when, method, path, body)})
		}),
	})
	g.flags(cmd)
	req.flags(cmd)
	atFlag(cmd, &at)
	return cmd
}

// requestLine is what a shop's signature covers besides the body.
type requestLine struct {
	method, path string
	noBody       bool
}

func (r *requestLine) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.method, "method", "POST", "The request's method")
	cmd.Flags().StringVar(&r.path, "path", "", "The request's path, with its query, as sent: /qlink/bills")
	cmd.Flags().BoolVar(&r.noBody, "no-body", false, "The request has no body")
}

func (r *requestLine) check() (method, path string, err error) {
	if !strings.HasPrefix(r.path, "/") {
		return "", "", misuse("--path must be given, and begin with a slash")
	}
	return strings.ToUpper(r.method), r.path, nil
}

// read returns secrets and body, which may be none.
func (r *requestLine) read(s *session, g *given, args []string) (secrets []string, body []byte, err error) {
	if !r.noBody {
		return g.read(s, args)
	}
	if len(args) > 0 {
		return nil, nil, misuse("--no-body and a file")
	}
	secrets, err = g.secrets(s)
	return secrets, nil, err
}
