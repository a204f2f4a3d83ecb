package doctor_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/caddy-qlink/caddy-qlink/doctor"
	"github.com/caddy-qlink/caddy-qlink/qlink"
	"github.com/caddy-qlink/caddy-qlink/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	appKey    = "app-test"
	appSecret = "s3cr3t-test"
)

// before is what stands between the doctor and the sandbox: it may answer
// itself, and returns the body that goes on, or nil.
type before func(w http.ResponseWriter, r *http.Request, body []byte) []byte

// gateway serves a sandbox, and sees at the test's end that the doctor made no
// bill there and called nothing but what asks.
func gateway(t *testing.T, s *sandbox.Sandbox, in before) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handlerOf(t, s, in))
	t.Cleanup(server.Close)
	return server
}

func handlerOf(t *testing.T, s *sandbox.Sandbox, in before) http.Handler {
	t.Helper()
	s.Name = t.Name()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := s.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { assertOnlyAsked(t, s) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		if in != nil {
			if body = in(w, r, body); body == nil {
				return
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err := s.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusNotFound)
			return nil
		})); err != nil {
			t.Error(err)
		}
	})
}

func assertOnlyAsked(t *testing.T, s *sandbox.Sandbox) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/sandbox/control/ledger", nil), nil); err != nil {
		t.Fatal(err)
	}
	var ledger sandbox.Snapshot
	if err := json.Unmarshal(w.Body.Bytes(), &ledger); err != nil {
		t.Fatal(err)
	}
	if len(ledger.Payments) > 0 {
		t.Errorf("the doctor made %d bills", len(ledger.Payments))
	}
	for _, c := range ledger.Calls {
		if c.Operation != qlink.OperationGetPayStatus && c.Operation != qlink.OperationQueryPayAccount {
			t.Errorf("the doctor called %s", c.Operation)
		}
	}
}

// account is one that is right for a sandbox as it comes.
func account(server *httptest.Server) doctor.Account {
	return doctor.Account{
		Name: "default",
		Gateway: qlink.Config{
			Endpoint: server.URL + "/sandbox/pay", AppKey: appKey, AppSecret: appSecret, PayAccount: "account1",
			Transport: transportOf(server),
		},
	}
}

// transportOf is the test server's own, which trusts its certificate.
func transportOf(server *httptest.Server) http.RoundTripper { return server.Client().Transport }

// findings are what a run said.
type findings []doctor.Finding

var aSecret = regexp.MustCompile(`s3cr3t|whsec|made-up [A-Z0-9]|token=`)

// examine runs the doctor, and sees that no secret is in what it says.
func examine(t *testing.T, cfg doctor.Config) findings {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.NewID = uuid.NewString
	var all findings
	worst := doctor.Run(t.Context(), cfg, func(f doctor.Finding) { all = append(all, f) })
	expected := doctor.OK
	for _, f := range all {
		expected = doctor.Worse(expected, f.Status)
		if aSecret.MatchString(f.Finding + f.Remedy) {
			t.Errorf("a secret is told: %+v", f)
		}
		if strings.ContainsAny(f.Finding+f.Remedy, "\n\r\x1b") || f.Finding == "" {
			t.Errorf("not one line: %q", f)
		}
		if (f.Status == doctor.Failed || f.Status == doctor.Warning) && f.Remedy == "" {
			t.Errorf("a fault without a remedy: %+v", f)
		}
		if !slices.Contains(doctor.Checks(), f.Check) {
			t.Errorf("%q is none of the checks", f.Check)
		}
	}
	if worst != expected {
		t.Errorf("the worst is said to be %s, and is %s", worst, expected)
	}
	return all
}

func examineOne(t *testing.T, a doctor.Account) findings {
	t.Helper()
	return examine(t, doctor.Config{Accounts: []doctor.Account{a}})
}

// of returns the findings of one check.
func (all findings) of(c doctor.Check) (of findings) {
	for _, f := range all {
		if f.Check == c {
			of = append(of, f)
		}
	}
	return of
}

// want asserts the worst finding of a check, and words of it or its remedy.
func (all findings) want(t *testing.T, c doctor.Check, s doctor.Status, words ...string) {
	t.Helper()
	worst := doctor.Finding{Status: doctor.OK}
	of := all.of(c)
	for _, f := range of {
		if doctor.Worse(worst.Status, f.Status) == f.Status {
			worst = f
		}
	}
	if len(of) == 0 || worst.Status != s {
		t.Errorf("%s: %+v, want %s", c, of, s)
	}
	for _, w := range words {
		if !strings.Contains(worst.Finding+" "+worst.Remedy, w) {
			t.Errorf("%s: %+v does not say %q", c, worst, w)
		}
	}
}

// hook is a shop's receiver of notifications.
type hook struct {
	*httptest.Server
	key []byte
}

var shopKey = []byte("0123456789abcdef0123456789abcdef")

// newHook serves a shop that verifies; answer may say otherwise.
func newHook(t *testing.T, answer func(verified bool, kind string) int) *hook {
	t.Helper()
	h := &hook{key: shopKey}
	verifier, err := standardwebhooks.NewWebhook("whsec_" + base64.StdEncoding.EncodeToString(shopKey))
	if err != nil {
		t.Fatal(err)
	}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var message struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(body, &message); err != nil {
			t.Errorf("%v in %s", err, body)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answer(verifier.Verify(body, r.Header) == nil, message.Type))
	}))
	t.Cleanup(h.Close)
	return h
}

func verifying(verified bool, _ string) int {
	if verified {
		return http.StatusNoContent
	}
	return http.StatusUnauthorized
}

func (h *hook) shop() doctor.Shop {
	return doctor.Shop{Account: "default", URL: h.URL + "/hooks?token=abc", Secrets: [][]byte{h.key}}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
