package sandbox

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-json-experiment/json"
)

// configuration is a whole one for Caddy, with the sandbox at address.
func configuration(t *testing.T, address string, s *Sandbox) *caddy.Config {
	t.Helper()
	handler := string(marshal(s))
	text := fmt.Sprintf(`{"admin":{"disabled":true,"config":{"persist":false}},"apps":{"http":{"servers":{"s":{"listen":[%q],`+
		`"automatic_https":{"disable":true},"routes":[{"handle":[{"handler":"qlink_sandbox",%s]}]}}}}}`, address, handler[1:])
	cfg := new(caddy.Config)
	if err := json.Unmarshal([]byte(text), cfg, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Caddy itself provisions, validates, starts, reloads and stops.
func TestUnderCaddyALedgerOpensAtTheStartAndNotInValidation(t *testing.T) {
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(name, t.TempDir())
	}
	rec := newReceiver(t, func(n int, r received) (int, string) { return []int{500, 200, 200}[n], "" })
	file := filepath.Join(t.TempDir(), "ledger.ndjson")
	s := &Sandbox{Ledger: file, Webhook: rec.URL, WebhookRetry: "200ms"}

	g := &gateway{t: t}
	// Each configuration listens at an address of its own: at a reload Caddy
	// closes the old socket together with the connections in its queue.
	next := func() *caddy.Config {
		t.Helper()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		g.url = "http://" + address
		return configuration(t, address, s)
	}

	if err := caddy.Validate(next()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("validation left a file: %v", err)
	}

	run := func() {
		t.Helper()
		if err := caddy.Run(next()); err != nil {
			t.Fatal(err)
		}
	}
	run()
	t.Cleanup(func() { _ = caddy.Stop() })
	g.apply("u1", "O1")
	g.control(http.MethodPost, "/payments/u1/pay", "", http.StatusOK)
	rec.next(t)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	run() // nobody calls, and still the webhook is tried again
	rec.next(t)
	s.Repeat = "answer"
	run() // a reload: the same ledger, the new rules
	g.apply("u1", "O1")
	if record := g.settled("u1"); record.Status != StatusSuccess {
		t.Errorf("%+v", record)
	}
}
