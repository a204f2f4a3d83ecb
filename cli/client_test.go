package cli_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/caddy-qlink/caddy-qlink/cli"
)

func TestWithoutACaddyThereTheErrorSaysSo(t *testing.T) {
	for _, args := range []string{
		"bills", "show x", "watch", "stats", "refresh x", "cancel x", "resolve x --note n", "notifications", "redeliver x", "redeliver --all --since 1h",
		"orphans", "export", "report --from 2h --to 1h", "backup -", "reopen", "account", "doctor", "check-order --account default",
	} {
		offline(t, "{}", strings.Fields(args)...).complains(t, 1, "no Caddy answers at 127.0.0.1:1")
	}
}

func TestAnAdminAddressThatIsNoneIsAnError(t *testing.T) {
	offline(t, "", "bills", "--address", "nonsense").complains(t, 1, "find the admin endpoint: no admin address")
}

func TestACaddyWithoutTheModuleIsToldFromAnUnknownBill(t *testing.T) {
	without := newAdmin(t, nil)
	without.run("show", "x").complains(t, 1, "404 Not Found", "has it this module?")
	with := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills/{id}": says(404, `{"error":"no bill is named \"x\""}`)})
	with.run("show", "x").complains(t, 3, `Error: no bill is named "x"`)
}

func TestAnswersBecomeExitCodes(t *testing.T) {
	for status, code := range map[int]int{400: 2, 404: 3, 409: 3, 412: 3, 422: 3, 403: 1, 429: 1, 500: 1, 503: 1, 302: 1} {
		a := newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/bills/{id}/cancel": says(status, `{"error":"because"}`), "GET /qlink/bills/{id}": says(200, detail)})
		a.run("cancel", "b-2").complains(t, code, "because")
	}
}

func TestACaddyThatRunsNoPaymentsIsNotABillThatIsNotThere(t *testing.T) {
	none := says(404, `{"error":"the running configuration has no app qlink"}`)
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/stats": none, "GET /qlink/bills/{id}": none})
	a.run("stats").complains(t, 1, "has no app qlink")
	a.run("show", "x").complains(t, 1, "has no app qlink")
}

func TestANameThatMeansSeveralOrdersListsTheirBills(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills/{id}": says(409, `{"error":"O1 names several orders","bills":["b-1","b-2"]}`)})
	a.run("show", "O1").complains(t, 3, "O1 names several orders: b-1, b-2")
}

func TestWhoActsAndWhereFromIsInTheRequest(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/stats": says(200, `{}`)})
	a.run("stats").has(t, 0)
	if who := a.last.Get("QLink-Operator"); !strings.Contains(who, "@") || strings.ContainsAny(who, " \n") {
		t.Errorf("QLink-Operator: %q", who)
	}
	if origin := a.last.Get("Origin"); origin != a.server.URL {
		t.Errorf("Origin: %q", origin)
	}
}

func TestAUnixSocketIsSpokenTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || r.Host != "127.0.0.1" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.WriteString(w, `{"watchers":7}`)
	})}
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	host := cli.Host{
		Admin: func(string, string, string) (cli.Endpoint, error) {
			return cli.Endpoint{Network: "unix", Address: path, Origin: "http://127.0.0.1", Name: "unix/" + path}, nil
		},
		Exit: func(_ *cobra.Command, code int) error { return exit(code) },
	}
	runHost(t.Context(), host, nil, "", "stats", "--json").want(t, 0, "{\"watchers\":7}\n")
}

func TestABillsNameIsEscapedInItsPath(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills/{id}": says(404, `{"error":"no"}`)})
	a.run("show", "a/b?c d%../").complains(t, 3)
	a.run("show", "..").complains(t, 3)
	a.run("show", "").complains(t, 2)
	a.wantAsked("GET /qlink/bills/a%2Fb%3Fc%20d%25%2E%2E%2F", "GET /qlink/bills/%2E%2E")
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	for _, body := range []string{"", "{", "[]", `{"bills":3}`, `{"bills":[{"id":1}]}`, `{"bills":[{"id":"a","id":"b"}]}`} {
		a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills": says(200, body)})
		if r := a.run("bills"); r.code != 1 || r.err == "" {
			t.Errorf("%q: %+v", body, r)
		}
	}
}

// cutShort sends the beginning of an answer and then drops the connection.
func cutShort(parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, part := range parts {
			_, _ = io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

func TestAStreamThatBreaksOffIsAnError(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{
		"POST /qlink/doctor":    cutShort(`{"check":"clock","status":"ok","finding":"right"}`+"\n", `{"che`),
		"GET /qlink/export":     cutShort("{}\n"),
		"POST /qlink/redeliver": cutShort(`{"bill":"b-1","redelivered":1}` + "\n"),
	})
	for _, args := range []string{"doctor", "export", "redeliver --all --since 1h"} {
		if r := a.run(strings.Fields(args)...); r.code != 1 || !strings.Contains(r.err, "breaks off") {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

func TestAVeryLongComplaintIsNotReadToItsEnd(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/stats": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "%1024d", i); err != nil {
				return
			}
		}
	}})
	a.run("stats").complains(t, 1, "500 Internal Server Error")
}
