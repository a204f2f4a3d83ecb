package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func verifyCommand(host Host) *cobra.Command {
	return host.parent(&cobra.Command{
		Use:   "verify gateway|order|notification",
		Short: "Check a signature, and say what differs",
		Long: `Checks the signature of a body, byte by byte as it is. Where it does not verify, the
mistakes that people make are tried one by one (another form of the secret, the
body written again by a library, a line end too many, another text signed), and
the one that explains the signature is named.

It exits with 0 where the signature verifies, and with 3 where it does not.`,
		Example: `  caddy qlink verify gateway --app-key my-app --sign 3f… --secret-env APP_SECRET body.json
  caddy qlink verify order --path /qlink/bills --signature t=…,v1=… --secret-file api.secret order.json
  caddy qlink verify notification --id msg_1 --timestamp 1764000000 --signature v1,… --secret-file notify.secret n.json`,
	}, verifyGatewayCommand(host), verifyOrderCommand(host), verifyNotificationCommand(host))
}

// judgement is what became of a verification.
type judgement struct {
	Verified bool     `json:"verified"`
	How      string   `json:"how,omitzero"`     // it was signed
	Differs  []string `json:"differs,omitzero"` // from what it should be; empty where nothing explains it
	Reason   string   `json:"reason,omitzero"`
}

// judgement prints it and makes it the exit code.
func (s *session) judgement(j judgement) error {
	if err := s.out.judgement(j); err != nil {
		return err
	}
	if !j.Verified {
		return said(exitNo)
	}
	return nil
}

func (p *printer) judgement(j judgement) error {
	if p.json {
		return p.value(j)
	}
	if j.Verified {
		_, err := fmt.Fprintln(p.out, p.paint(good, "Verified")+harmless(": "+j.How+"."))
		return err
	}
	if _, err := fmt.Fprintln(p.out, p.paint(bad, "Not verified")+harmless(": "+j.Reason+".")); err != nil {
		return err
	}
	for _, difference := range j.Differs {
		if err := p.line("  It was signed %s.", difference); err != nil {
			return err
		}
	}
	return nil
}

// unexplained is the reason where no known mistake explains a signature.
const unexplained = "it was made with another secret, or over another body"

// explained judges a signature that does not verify by the guess that explains
// it.
func explained(differs []string) judgement {
	if len(differs) == 0 {
		return judgement{Reason: unexplained}
	}
	return judgement{Reason: "the signature is genuine, but not over what it should be", Differs: differs}
}

// guess is one thing done otherwise; says is "" for what is as it should be.
type guess[T any] struct {
	says  string
	value T
}

// fewest keeps the shorter explanation.
func fewest(held []string, found bool, says ...string) []string {
	var differs []string
	for _, s := range says {
		if s != "" {
			differs = append(differs, s)
		}
	}
	if found && len(held) <= len(differs) {
		return held
	}
	return differs
}

// stale says how a time is too far from now; "" where it isn't.
func stale(at, now time.Time, maxAge time.Duration) string {
	age := now.Sub(at)
	switch {
	case age > maxAge:
		return fmt.Sprintf("the signature is genuine but stale: it is %s old, %s at most", age.Round(time.Second), maxAge)
	case age < -maxAge:
		return fmt.Sprintf("the signature is genuine but from the future: %s ahead, %s at most: one of the two clocks is wrong", (-age).Round(time.Second), maxAge)
	}
	return ""
}

// maxAgeFlag adds what a signature's age is held against.
func maxAgeFlag(cmd *cobra.Command, age *string) {
	cmd.Flags().StringVar(age, "max-age", "5m", "How old a signature may be, or how far ahead; any: do not look")
}

func maxAge(text string) (time.Duration, error) {
	if text == "any" {
		return 1<<63 - 1, nil
	}
	return span("max-age", text)
}

// needed refuses a flag that was left out.
func needed(flag, value string) error {
	if strings.TrimSpace(value) == "" {
		return misuse("--%s is missing", flag)
	}
	return nil
}

func allNeeded(pairs ...[2]string) (err error) {
	for _, p := range pairs {
		err = errors.Join(err, needed(p[0], p[1]))
	}
	return err
}
