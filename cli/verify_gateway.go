package cli

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what the gateway's document prescribes
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/qlink"
)

func verifyGatewayCommand(host Host) *cobra.Command {
	var g given
	var claim gatewayClaim
	var mode string
	cmd := asJSON(&cobra.Command{
		Use:   "gateway --app-key <key> --sign <signature> [<body file>]",
		Short: "Check a signature of the gateway's protocol",
		Long: `Checks what came with a webhook of the gateway, or with a request to it. It tells
which of the two ways of signing was used: the body as a JSON string, as the
document says, or as an object, as some gateways do (signature_content).`,
		Example: `  caddy qlink verify gateway --app-key my-app --sign 3f… --secret-env APP_SECRET webhook.json
  caddy qlink verify gateway --app-key my-app --sign 3f… --secret-file app.secret --mode string < webhook.json`,
		Args: host.counted(0, 1, "the body"),
		RunE: host.run(func(s *session, args []string) (err error) {
			if claim.mode, err = contentMode(mode, qlink.ContentAuto, qlink.ContentString, qlink.ContentObject); err != nil {
				return err
			}
			if err := allNeeded([2]string{"app-key", claim.appKey}, [2]string{"sign", claim.sign}); err != nil {
				return err
			}
			if claim.secrets, claim.body, err = g.read(s, args); err != nil {
				return err
			}
			return s.judgement(claim.judge())
		}),
	})
	g.flags(cmd)
	cmd.Flags().StringVar(&claim.appKey, "app-key", "", "The header appKey")
	cmd.Flags().StringVar(&claim.sign, "sign", "", "The header sign")
	cmd.Flags().StringVar(&mode, "mode", string(qlink.ContentAuto), "How the body stands in what is signed: string, object or auto (either)")
	complete(cmd, "mode", []string{"auto", "string", "object"})
	return cmd
}

// gatewayClaim is a signature of the gateway's protocol, to be judged.
type gatewayClaim struct {
	mode         qlink.ContentMode
	appKey, sign string
	secrets      []string
	body         []byte
}

// manners are the ways of signing, as a person says it.
var manners = []guess[qlink.ContentMode]{
	{"over the body as a JSON string", qlink.ContentString},
	{"over the body as a JSON object", qlink.ContentObject},
}

func (c gatewayClaim) judge() judgement {
	for _, manner := range manners {
		if c.mode != qlink.ContentAuto && c.mode != manner.value {
			continue
		}
		if qlink.Verify(manner.value, c.appKey, c.secrets, c.body, c.sign) == nil {
			return judgement{Verified: true, How: "it was signed " + manner.says}
		}
	}
	if reason := c.malformed(); reason != "" {
		return judgement{Reason: reason}
	}
	return explained(c.differs())
}

// malformed says why the text can be no signature at all.
func (c gatewayClaim) malformed() string {
	_, err := hex.DecodeString(c.sign)
	_, inBase64 := macOf(c.sign, sha1.Size, true)
	switch {
	case len(c.sign) == hex.EncodedLen(sha256.Size) && err == nil:
		if c.by(sha256.New, sha256.Size) {
			return "it was made with SHA-256; the protocol has SHA-1"
		}
		return "it has 64 hexadecimal digits, as of SHA-256; the protocol has SHA-1, of 40"
	case len(c.sign) == 32 && err == nil:
		return "it has 32 hexadecimal digits, as of MD5; the protocol has SHA-1, of 40"
	case inBase64 == "" && (err != nil || len(c.sign) != hex.EncodedLen(sha1.Size)):
		return "the signature is not 40 hexadecimal digits"
	}
	return ""
}

// by tries another hash over the text that is to be signed.
func (c gatewayClaim) by(algorithm func() hash.Hash, size int) bool {
	claimed, _ := macOf(c.sign, size, true)
	for _, secret := range c.secrets {
		for _, manner := range manners {
			sum := algorithm()
			sum.Write([]byte(qlink.SignedText(manner.value, c.appKey, c.body) + secret))
			if hmac.Equal(sum.Sum(nil), claimed) {
				return true
			}
		}
	}
	return false
}

// differs looks for the mistake that explains the signature.
func (c gatewayClaim) differs() (differs []string) {
	claimed, encoding := macOf(c.sign, sha1.Size, true)
	sign := hex.EncodeToString(claimed)
	found := false
	for _, body := range bodies(c.body) {
		for _, key := range keys(c.secrets) {
			for _, app := range c.appKeys() {
				for _, manner := range manners {
					if qlink.Verify(manner.value, app.value, []string{key.value}, body.value, sign) != nil {
						continue
					}
					says := manner.says
					if c.mode == qlink.ContentAuto || c.mode == manner.value {
						says = ""
					}
					differs = fewest(differs, found, body.says, key.says, app.says, says, encoding)
					found = true
				}
			}
		}
	}
	if !found {
		return c.otherText(claimed)
	}
	return differs
}

func (c gatewayClaim) appKeys() []guess[string] {
	all := []guess[string]{{"", c.appKey}, {"with an empty app key", ""}}
	if trimmed := strings.TrimSpace(c.appKey); trimmed != c.appKey {
		all = append(all, guess[string]{"without the white space around the app key", trimmed})
	}
	return all
}

// otherText tries texts that are not the protocol's.
func (c gatewayClaim) otherText(claimed []byte) []string {
	for _, secret := range c.secrets {
		text := qlink.SignedText(qlink.ContentString, c.appKey, c.body)
		mac := hmac.New(sha1.New, []byte(secret))
		mac.Write([]byte(text))
		for _, other := range []guess[[]byte]{
			{"as an HMAC, not as a hash with the secret behind the text", mac.Sum(nil)},
			{"with the secret before the text, not behind it", sha1Of(secret + text)},
			{"over the body and the secret alone, without the app key", sha1Of(string(c.body) + secret)},
			{"over the app key, the body and the secret without JSON around them", sha1Of(c.appKey + string(c.body) + secret)},
		} {
			if hmac.Equal(other.value, claimed) {
				return []string{other.says}
			}
		}
	}
	return nil
}

func sha1Of(text string) []byte {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see the import
	return sum[:]
}
