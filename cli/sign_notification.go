package cli

import (
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

func signNotificationCommand(host Host) *cobra.Command {
	var g given
	var id, at string
	cmd := asJSON(&cobra.Command{
		Use:   "notification [<body file>]",
		Short: "Sign a notification to a shop",
		Long: `Signs a body as Standard Webhooks has it, as this module signs what it tells shops:
for trying out a shop's own check. Several secrets sign side by side, as while one
is rotated.`,
		Example: `  caddy qlink sign notification --secret-file notify.secret notification.json
  caddy qlink sign notification --secret-env SECRET --id msg_1 --at 1764000000 < notification.json
  caddy qlink sign notification --secret-file notify.secret n.json | curl -H @- --json @n.json http://localhost:3000/notifications`,
		Args: host.counted(0, 1, "the body"),
		RunE: host.run(func(s *session, args []string) error {
			when, err := signedAt(at)
			if err != nil {
				return err
			}
			secrets, body, err := g.read(s, args)
			if err != nil {
				return err
			}
			if id == "" {
				id = "msg_" + uuid.NewString()
			}
			signatures := make([]string, 0, len(secrets))
			for _, secret := range secrets {
				key, err := payment.ParseKey(secret)
				if err != nil {
					return misuse("the secret %w", err)
				}
				signatures = append(signatures, webhookSignature(key, id, strconv.FormatInt(when.Unix(), 10), body))
			}
			return s.out.headers(
				header{standardwebhooks.HeaderWebhookID, id},
				header{standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(when.Unix(), 10)},
				header{standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " ")})
		}),
	})
	g.flags(cmd)
	cmd.Flags().StringVar(&id, "id", "", "The header webhook-id; default: a random one")
	atFlag(cmd, &at)
	return cmd
}
