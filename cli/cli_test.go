package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/cli"
)

// exit is the error of a code above 1, as Caddy's own.
type exit int

func (exit) Error() string { return "exit" }

// result is what a run left behind.
type result struct {
	out, err string
	code     int
}

// ran says what a failed assertion should show.
func (r result) want(t *testing.T, code int, out string) result {
	t.Helper()
	if r.code != code || r.out != out {
		t.Errorf("exit code %d, want %d\nstdout %q\n  want %q\nstderr %s", r.code, code, r.out, out, r.err)
	}
	return r
}

func (r result) has(t *testing.T, code int, parts ...string) result {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, part := range parts {
		if !strings.Contains(r.out, part) {
			t.Errorf("stdout lacks %q", part)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", r.out, r.err)
	}
	return r
}

func (r result) complains(t *testing.T, code int, parts ...string) result {
	t.Helper()
	if r.code != code || r.out != "" {
		t.Errorf("exit code %d, want %d, stdout %q", r.code, code, r.out)
	}
	for _, part := range parts {
		if !strings.Contains(r.err, part) {
			t.Errorf("stderr lacks %q:\n%s", part, r.err)
		}
	}
	return r
}

// tree is Caddy's tree of commands with ours in it.
func tree(host cli.Host) *cobra.Command {
	root := &cobra.Command{Use: "caddy", SilenceUsage: true}
	cmd := new(cobra.Command)
	cli.Command(cmd, host)
	root.AddCommand(cmd)
	return root
}

func runHost(ctx context.Context, host cli.Host, out io.Writer, stdin string, args ...string) result {
	var stdout, stderr bytes.Buffer
	if out == nil {
		out = &stdout
	}
	root := tree(host)
	root.SetOut(out)
	root.SetErr(&stderr)
	root.SetIn(strings.NewReader(stdin))
	root.SetArgs(append([]string{"qlink"}, args...))
	err := root.ExecuteContext(ctx)
	r := result{out: stdout.String(), err: stderr.String()}
	var code exit
	switch {
	case errors.As(err, &code):
		r.code = int(code)
	case err != nil:
		r.code = 1
	}
	return r
}

// admin plays the admin API: what it was asked is written down.
type admin struct {
	t      *testing.T
	server *httptest.Server
	host   cli.Host

	mu    sync.Mutex
	asked []string // "GET /qlink/bills?limit=100 body"
	last  http.Header
}

// newAdmin answers each "METHOD /path" as told; a call that nobody expects
// gets Caddy's own 404.
func newAdmin(t *testing.T, answers map[string]http.HandlerFunc) *admin {
	t.Helper()
	a := &admin{t: t}
	mux := http.NewServeMux()
	for pattern, answer := range answers {
		mux.HandleFunc(pattern, answer)
	}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.asked = append(a.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		a.last = r.Header.Clone()
		a.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.server.Close)
	a.host = hostAt(a.server.URL)
	return a
}

// hostAt is a program whose admin endpoint is at an address.
func hostAt(address string) cli.Host {
	u, _ := url.Parse(address)
	return cli.Host{
		Admin: func(address, config, adapter string) (cli.Endpoint, error) {
			if address == "nonsense" {
				return cli.Endpoint{}, errors.New("no admin address")
			}
			return cli.Endpoint{Network: "tcp", Address: u.Host, Origin: "http://" + u.Host, Name: u.Host}, nil
		},
		Exit: func(_ *cobra.Command, code int) error { return exit(code) },
	}
}

func (a *admin) run(args ...string) result {
	a.t.Helper()
	return runHost(a.t.Context(), a.host, nil, "", args...)
}

func (a *admin) wantAsked(calls ...string) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if strings.Join(a.asked, "\n") != strings.Join(calls, "\n") {
		a.t.Errorf("asked:\n%s\nwant:\n%s", strings.Join(a.asked, "\n"), strings.Join(calls, "\n"))
	}
}

// says answers with JSON.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// offline runs a command that has no Caddy to speak to.
func offline(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return runHost(t.Context(), hostAt("http://127.0.0.1:1"), nil, stdin, args...)
}

const (
	paid    = `{"id":"b-2","account":"default","shop":"default","livemode":true,"orderCode":"O2","attempt":1,"status":"SUCCESS","final":true,"amount":"15000","currency":"IDR","country":"ID","payTypeCode":"ONLINE","payChannelCode":"QRIS","createdAt":"2026-11-22T10:00:00.25Z","updatedAt":"2026-11-22T10:01:00Z","payTime":"2026-11-22T10:00:59Z","settledBy":"webhook","version":3,"stuck":"","newField":1}`
	waiting = `{"id":"b-1","orderCode":"O1","status":"WAIT","final":false,"amount":"1.10","currency":"IDR","payChannelCode":"QRIS","createdAt":"2026-11-22T09:00:00Z","updatedAt":"2026-11-22T09:00:00Z","stuck":"the gateway has not answered","cancelRequested":true}`
)
