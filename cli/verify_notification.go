package cli

import (
	"crypto/sha256"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/payment"
)

func verifyNotificationCommand(host Host) *cobra.Command {
	var g given
	var claim notificationClaim
	var age string
	cmd := asJSON(&cobra.Command{
		Use:   "notification --id <id> --timestamp <seconds> --signature <value> [<body file>]",
		Short: "Check the signature of a notification to a shop",
		Long: `Checks the headers webhook-id, webhook-timestamp and webhook-signature of a
notification as Standard Webhooks has it, its age included.`,
		Example: `  caddy qlink verify notification --id msg_1 --timestamp 1764000000 --signature v1,… --secret-file notify.secret n.json
  caddy qlink verify notification --id msg_1 --timestamp 1764000000 --signature v1,… --max-age any --secret-env S < n.json`,
		Args: host.counted(0, 1, "the body"),
		RunE: host.run(func(s *session, args []string) (err error) {
			if err := allNeeded([2]string{"id", claim.id}, [2]string{"timestamp", claim.timestamp}, [2]string{"signature", claim.signature}); err != nil {
				return err
			}
			if claim.maxAge, err = maxAge(age); err != nil {
				return err
			}
			if claim.secrets, claim.body, err = g.read(s, args); err != nil {
				return err
			}
			return s.judgement(claim.judge(time.Now()))
		}),
	})
	g.flags(cmd)
	cmd.Flags().StringVar(&claim.id, "id", "", "The header webhook-id")
	cmd.Flags().StringVar(&claim.timestamp, "timestamp", "", "The header webhook-timestamp")
	cmd.Flags().StringVar(&claim.signature, "signature", "", "The header webhook-signature")
	maxAgeFlag(cmd, &age)
	return cmd
}

// notificationClaim is a notification's signature, to be judged.
type notificationClaim struct {
	id, timestamp, signature string
	secrets                  []string
	body                     []byte
	maxAge                   time.Duration
}

func (c notificationClaim) judge(now time.Time) judgement {
	unix, err := strconv.ParseInt(c.timestamp, 10, 64)
	if err != nil || unix <= 0 {
		return judgement{Reason: "the timestamp is no number of seconds"}
	}
	entries := strings.Fields(c.signature)
	if len(entries) == 0 {
		return judgement{Reason: "there is no signature"}
	}
	var differs []string
	found := false
	for _, entry := range entries {
		version, text, hasVersion := strings.Cut(entry, ",")
		says := ""
		switch {
		case !hasVersion:
			text, says = entry, "without v1, before the signature"
		case version != "v1":
			continue // another version's, which is not ours to judge
		}
		claimed, encoding := macOf(text, sha256.Size, false)
		if ok, more := explains(claimed, c.body, c.keys(), c.texts()); ok {
			differs = fewest(differs, found, append(more, says, encoding)...)
			found = true
		}
	}
	switch {
	case !found:
		return judgement{Reason: c.unexplained()}
	case len(differs) > 0:
		return explained(differs)
	}
	if reason := stale(time.Unix(unix, 0), now, c.maxAge); reason != "" {
		return judgement{Reason: reason}
	}
	return judgement{Verified: true, How: "it was signed at " + time.Unix(unix, 0).UTC().Format(time.RFC3339)}
}

// unexplained adds that a secret is none of Standard Webhooks'.
func (c notificationClaim) unexplained() string {
	for _, secret := range c.secrets {
		if _, err := payment.ParseKey(secret); err == nil {
			return unexplained
		}
	}
	return unexplained + "; the secret " + payment.ErrKey.Error()
}

// texts are what may stand before the body.
func (c notificationClaim) texts() []guess[string] {
	return []guess[string]{
		{"", c.id + "." + c.timestamp + "."},
		{"without the id", c.timestamp + "."},
		{"over the body alone, without id and time", ""},
	}
}

// keys puts the decoded secret, which is the right key, before the others.
func (c notificationClaim) keys() (all []guess[string]) {
	for _, secret := range c.secrets {
		if key, err := payment.ParseKey(secret); err == nil {
			all = append(all, guess[string]{"", string(key)})
		}
	}
	for _, g := range keys(c.secrets) {
		if g.says == "" {
			g.says = "with the secret's text as the key; the key is the base64 behind whsec_, decoded"
		}
		all = append(all, g)
	}
	return all
}
