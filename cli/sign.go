package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func signCommand(host Host) *cobra.Command {
	return host.parent(&cobra.Command{
		Use:   "sign gateway|order|notification",
		Short: "Sign a message as the gateway, a shop or this module would",
		Long: `Signs a body, byte by byte as it is, and prints the headers that go with it, ready
for curl -H @-. For trying out a shop's or a gateway's own check.

Secrets come from a file, the environment or standard input, never from
arguments, which every user of a machine can see.`,
		Example: `  caddy qlink sign gateway --app-key my-app --secret-env APP_SECRET body.json
  caddy qlink sign order --path /qlink/bills --secret-file api.secret order.json
  caddy qlink sign notification --secret-file notify.secret notification.json`,
	}, signGatewayCommand(host), signOrderCommand(host), signNotificationCommand(host))
}

// header is one line of what goes with a signed body.
type header struct{ name, value string }

// headers prints them as HTTP has them, or as one object.
func (p *printer) headers(headers ...header) error {
	if p.json {
		object := make(map[string]string, len(headers))
		for _, h := range headers {
			object[h.name] = h.value
		}
		return p.value(object)
	}
	for _, h := range headers {
		if err := p.line("%s: %s", h.name, h.value); err != nil {
			return err
		}
	}
	return nil
}

// atFlag adds the time of a signature.
func atFlag(cmd *cobra.Command, at *string) {
	cmd.Flags().StringVar(at, "at", "", "When it is signed: RFC 3339 or Unix seconds; default: now")
}

// signedAt reads it.
func signedAt(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, misuse("--at %q is neither RFC 3339 nor Unix seconds", text)
	}
	return at, nil
}
