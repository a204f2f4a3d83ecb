package sandbox

import (
	"context"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func emptyContext(t *testing.T) caddy.Context {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return ctx
}

func TestEveryOptionIsTaken(t *testing.T) {
	got := new(Sandbox)
	err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`qlink_sandbox {
		app app-1 secret-1
		app app-2 {env.SECRET} http://localhost:9/n
		account a1 a2
		account a3
		prefix /gateway
		public_url https://shop.example.com
		ledger ledger.ndjson
		name shop
		edition global
		time_zone Asia/Jakarta
		signature_content object
		escaping html
		envelope data
		status_answer array
		repeat answer
		fate_delay 2s
		type ONLINE Online
		channel QRIS "QR payment" qr
		channel OTHER
		merchant "Toko Bunga" Bandung
		webhook http://localhost:8080/qlink/payNotification
		webhook_delay {env.DELAY}
		webhook_tries 7
		webhook_retry 10ms
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Sandbox{
		Apps:   []App{{Key: "app-1", Secret: "secret-1"}, {Key: "app-2", Secret: "{env.SECRET}", Webhook: "http://localhost:9/n"}},
		Prefix: "/gateway", Webhook: "http://localhost:8080/qlink/payNotification", WebhookDelay: "{env.DELAY}", WebhookTries: "7",
		WebhookRetry: "10ms", Ledger: "ledger.ndjson", Name: "shop", TimeZone: "Asia/Jakarta", Edition: "global",
		SignatureContent: "object", Escaping: "html", Envelope: "data", StatusAnswer: "array", Repeat: "answer", FateDelay: "2s",
		Merchant: "Toko Bunga", City: "Bandung", PublicURL: "https://shop.example.com", Accounts: []string{"a1", "a2", "a3"},
		Types:    []Offer{{Code: "ONLINE", Name: "Online"}},
		Channels: []Offer{{Code: "QRIS", Name: "QR payment", Action: "qr"}, {Code: "OTHER"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Sandbox{})); diff != "" {
		t.Error(diff)
	}
}

func TestCaddyfileErrorsCarryFileAndLine(t *testing.T) {
	for line, want := range map[string]string{
		"colour red":                  `unknown option "colour"`,
		"app only-a-key":              "app wants",
		"app k s not-a-url":           "no http or https URL",
		"app k s\n\t\tapp k s":        `app "k" is there twice`,
		"prefix sandbox":              "no path",
		"prefix /{a}/b c":             "exactly one value",
		"webhook ftp://x":             "no http or https URL",
		"webhook_delay soon":          "no duration",
		"webhook_delay -1s":           "below zero",
		"webhook_tries 0":             "from 1 to 100",
		"time_zone Mars/Base":         "no IANA time zone",
		"edition classic":             "none of standard, global",
		"signature_content auto":      "none of string, object",
		"escaping java":               "none of any",
		"envelope box":                "none of bare",
		"status_answer maybe":         "none of auto",
		"repeat maybe":                "none of refuse, answer",
		"repeat refuse\n\t\trepeat a": "repeat is set twice",
		"channel C name teleport":     "none of qr",
		"type":                        "wrong number",
		"account":                     "at least one",
		"merchant a b c":              "at most a city",
		"ledger":                      "exactly one value",
		"ledger x {\n\t\ty\n\t\t}":    "takes no block",
	} {
		text := "http://localhost:9 {\n\tqlink_sandbox {\n\t\t" + line + "\n\t}\n}\n"
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("%s: %v, want %q with file and line", line, err, want)
		}
	}
}

func TestTheDirectiveNeedsNoOrderLineAndTakesAMatcher(t *testing.T) {
	text := "http://localhost:9 {\n\tqlink_sandbox /gw/* {\n\t\tprefix /gw\n\t}\n\tqlink_sandbox\n\trespond ok\n}\n"
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err == nil && len(warnings) == 0 {
		if found := strings.Count(string(adapted), `"handler":"qlink_sandbox"`); found != 2 {
			t.Errorf("%s", adapted)
		}
		return
	}
	t.Error(err, warnings)
}

func TestErrorsFoundAtLoadNameTheOption(t *testing.T) {
	t.Setenv("SANDBOX_BAD", "nonsense")
	for want, s := range map[string]*Sandbox{
		"webhook_delay: ":      {WebhookDelay: "{env.SANDBOX_BAD}"},
		"repeat: ":             {Repeat: "{env.SANDBOX_UNSET}"},
		`app "k": `:            {Apps: []App{{Key: "k"}}},
		"app: ":                {Apps: []App{{Key: "k", Secret: "{env.SANDBOX_UNSET}"}}},
		`app "": the app key`:  {Apps: []App{{Secret: "s"}}},
		`app "k": "nonsense"`:  {Apps: []App{{Key: "k", Secret: "s", Webhook: "{env.SANDBOX_BAD}"}}},
		`channel "C": "gold" `: {Channels: []Offer{{Code: "C", Action: "gold"}}},
		`type "": the code`:    {Types: []Offer{{Name: "n"}}},
		"account: ":            {Accounts: []string{"{env.SANDBOX_UNSET}"}},
		"ledger: ":             {Ledger: "{file./nowhere/at/all}"},
	} {
		if err := s.Provision(emptyContext(t)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
