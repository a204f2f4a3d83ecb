package caddyqlink

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what testdata/caddyfile_adapt expects anew")

// A fixture holds cases with a line of equals signs between them; a case is a
// Caddyfile, ten dashes, then the JSON or the error.
const (
	betweenCases = "\n==========\n"
	betweenParts = "\n----------\n"
)

func adapt(t testing.TB, text string) ([]byte, error) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

func TestCaddyfilesAdaptAsTheFixturesSay(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile_adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var rewritten []string
			for c := range strings.SplitSeq(strings.TrimSpace(string(content)), betweenCases) {
				input, want, _ := strings.Cut(c+"\n", betweenParts)
				input, want = strings.TrimSpace(input)+"\n", strings.TrimSpace(want)
				got := adapted(t, input)
				rewritten = append(rewritten, strings.TrimSpace(input)+betweenParts+got)
				if diff := cmp.Diff(want, got); diff != "" && !*update {
					t.Errorf("the Caddyfile\n%s\nadapts otherwise (-want +got):\n%s", input, diff)
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.Join(rewritten, betweenCases)+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// adapted returns the JSON, of a Caddyfile that `caddy fmt` would leave alone,
// or the error.
func adapted(t *testing.T, input string) string {
	t.Helper()
	config, err := adapt(t, input)
	if err != nil {
		if !strings.Contains(err.Error(), "Caddyfile:") {
			t.Errorf("an error without file and line: %v", err)
		}
		return err.Error()
	}
	if diff := cmp.Diff(string(caddyfile.Format([]byte(input))), input); diff != "" {
		t.Errorf("caddy fmt would change it (-fmt +fixture):\n%s", diff)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return indented.String()
}

func FuzzAppGrammar(f *testing.F) {
	f.Add("account {\n\tapp_key k\n\tapp_secret s p\n\tendpoint http://localhost/pay\n}")
	f.Add("store badger {\n\tpath /x\n}\naccount {\n\ttransport http {\n\t\ttls\n\t}\n}\nlimits {\n\topen_total 5\n}")
	f.Add("account a {\n\texpire_after 0 QRIS\n\theader A b\n\tapply_param source X\n}\nreconcile {\n\tmin_interval {env.X}\n}")
	f.Add("account\nnotify https://a.example/n {\n\tsecret whsec_x {env.S}\n\tevents bill.paid\n}")
	f.Fuzz(func(t *testing.T, body string) {
		var a App
		if a.UnmarshalCaddyfile(caddyfile.NewTestDispenser("qlink {\n"+body+"\n}")) != nil {
			return
		}
		if len(a.Accounts) == 0 {
			t.Error("a block without an account was taken")
		}
		if _, err := json.Marshal(a); err != nil {
			t.Errorf("it was taken but cannot be written as JSON: %v", err)
		}
	})
}

func FuzzHandlerGrammar(f *testing.F) {
	f.Add("account a\nshop b\nprefix /pay/ments\ncheckout /a /b/*\nreturn_url /o/{order_code}?b={bill}")
	f.Add("api {\n\tsecret s p\n\tmax_age 1m\n}\nallowed_origins https://a.example\npublic_url https://b.example/x")
	f.Add("notify {env.U} {\n\tsecret {env.S} {env.T}\n}\nnotify http://localhost/ {\n\tsecret " + aKey + "\n}")
	f.Fuzz(func(t *testing.T, body string) {
		var h Handler
		if h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("qlink {\n"+body+"\n}")) != nil {
			return
		}
		if _, err := json.Marshal(h); err != nil {
			t.Errorf("it was taken but cannot be written as JSON: %v", err)
		}
		if strings.Contains(body, "{") {
			return // placeholders are resolved at load
		}
		if _, err := h.site(); err != nil {
			t.Errorf("it was taken at adapting and refused at loading: %v", err)
		}
	})
}

func FuzzConsoleGrammar(f *testing.F) {
	f.Add("prefix /office\nuser {http.request.header.Remote-User}\nread_only")
	f.Add("prefix /\nunprotected")
	f.Add("prefix {env.P}\nuser {http.vars.who}")
	f.Fuzz(func(t *testing.T, body string) {
		var c Console
		if c.UnmarshalCaddyfile(caddyfile.NewTestDispenser("qlink_console {\n"+body+"\n}")) != nil {
			return
		}
		if c.User != "" && !aUser.MatchString(c.User) {
			t.Errorf("users are told by %q", c.User)
		}
		if _, err := json.Marshal(c); err != nil {
			t.Errorf("it was taken but cannot be written as JSON: %v", err)
		}
	})
}
