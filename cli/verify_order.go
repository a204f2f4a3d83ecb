package cli

import (
	"crypto/sha256"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func verifyOrderCommand(host Host) *cobra.Command {
	var g given
	var req requestLine
	var claim orderClaim
	var age string
	cmd := asJSON(&cobra.Command{
		Use:   "order --path <path> --signature <value> [<body file>]",
		Short: "Check a shop's signature of a request",
		Long: `Checks the header QLink-Signature of a request as this module does, its age
included.`,
		Example: `  caddy qlink verify order --path /qlink/bills --signature t=1764000000,v1=… --secret-file api.secret order.json
  caddy qlink verify order --method GET --path /qlink/orders/O1 --no-body --signature t=…,v1=… --max-age any --secret-env S`,
		Args: host.counted(0, 1, "the body"),
		RunE: host.run(func(s *session, args []string) (err error) {
			if claim.method, claim.path, err = req.check(); err != nil {
				return err
			}
			if err := needed("signature", claim.signature); err != nil {
				return err
			}
			if claim.maxAge, err = maxAge(age); err != nil {
				return err
			}
			if claim.secrets, claim.body, err = req.read(s, &g, args); err != nil {
				return err
			}
			return s.judgement(claim.judge(time.Now()))
		}),
	})
	g.flags(cmd)
	req.flags(cmd)
	cmd.Flags().StringVar(&claim.signature, "signature", "", "The header QLink-Signature: t=…,v1=…")
	maxAgeFlag(cmd, &age)
	return cmd
}

// orderClaim is a shop's signature, to be judged.
type orderClaim struct {
	method, path, signature string
	secrets                 []string
	body                    []byte
	maxAge                  time.Duration
}

func (c orderClaim) judge(now time.Time) judgement {
	first, second, _ := strings.Cut(c.signature, ",")
	seconds, hasTime := strings.CutPrefix(first, "t=")
	text, hasMAC := strings.CutPrefix(second, "v1=")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	claimed, encoding := macOf(text, sha256.Size, true)
	switch {
	case !hasTime || !hasMAC:
		return judgement{Reason: "the signature is not of the form t=<unix seconds>,v1=<hexadecimal>, without spaces"}
	case err != nil || unix <= 0:
		return judgement{Reason: "the signature's time is no number of seconds"}
	case claimed == nil:
		return judgement{Reason: "the signature is not 64 hexadecimal digits, as HMAC-SHA256 has"}
	}
	found, differs := explains(claimed, c.body, keys(c.secrets), c.texts(seconds))
	switch {
	case !found:
		return judgement{Reason: unexplained}
	case unix > 1e11:
		return explained(append(differs, "with a time in milliseconds; it is to be in seconds"))
	case encoding != "" || len(differs) > 0:
		return explained(fewest(nil, false, append(differs, encoding)...))
	}
	if reason := stale(time.Unix(unix, 0), now, c.maxAge); reason != "" {
		return judgement{Reason: reason}
	}
	return judgement{Verified: true, How: "it was signed at " + time.Unix(unix, 0).UTC().Format(time.RFC3339)}
}

// texts are what may stand before the body.
func (c orderClaim) texts(seconds string) []guess[string] {
	before := func(method, path string) string { return seconds + "." + method + "." + path + "." }
	all := []guess[string]{{"", before(c.method, c.path)}}
	path, query, _ := strings.Cut(c.path, "?")
	for _, other := range []guess[string]{
		{"without the path's query", path},
		{"with a slash behind the path", path + "/"},
		{"without the slash behind the path", strings.TrimRight(path, "/")},
		{"with a path without its first part", withoutFirst(path)},
		{"with the path decoded", decoded(path)},
		{"with an empty path", ""},
	} {
		all = append(all, guess[string]{other.says, before(c.method, other.value)})
		if query != "" {
			all = append(all, guess[string]{other.says, before(c.method, other.value+"?"+query)})
		}
	}
	for _, method := range []string{"GET", "POST", "PUT", strings.ToLower(c.method), ""} {
		if method != c.method {
			all = append(all, guess[string]{"for the method " + strconv.Quote(method), before(method, c.path)})
		}
	}
	return append(all,
		guess[string]{"over the time and the body alone, without method and path", seconds + "."},
		guess[string]{"over the body alone, without time, method and path", ""})
}

func withoutFirst(path string) string {
	if i := strings.IndexByte(strings.TrimPrefix(path, "/"), '/'); i >= 0 {
		return path[i+1:]
	}
	return path
}

func decoded(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}
