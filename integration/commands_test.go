package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// commandSite is a site whose shop is told, with signed endpoints.
const commandSite = `	qlink {
		checkout /checkout
		api {
			secret an-api-secret-of-the-tests
		}
		notify http://{{shop}}/told {
			secret whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
		}
	}
	reverse_proxy {{shop}}`

// TestCommandsOfAnOperator runs every script of testdata/commands beside a
// Caddy of its own, with a gateway and a shop.
func TestCommandsOfAnOperator(t *testing.T) {
	scripts, err := filepath.Glob("testdata/commands/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			runCommands(t, script)
		})
	}
}

func runCommands(t *testing.T, script string) {
	w := newWorld(t, commandSite)
	testscript.Run(t, testscript.Params{
		Files:               []string{script},
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(2 * startWithin),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", w.home)
			env.Setenv("XDG_DATA_HOME", filepath.Join(w.home, "data"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(w.home, "config"))
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("CADDY_ADMIN", w.admin) // where Caddy's own commands look first
			env.Setenv("CADDYFILE", w.config)
			env.Setenv("SITE", "http://"+w.public)
			env.Setenv("SHOP", "http://"+w.shop.address)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":       exits,
			"order":       w.scriptOrder,
			"pay":         w.scriptPay,
			"post":        w.scriptPost,
			"shop":        w.scriptShop,
			"awaitsError": awaitsError,
			"watched":     w.scriptWatched,
			"awaits":      awaits,
		},
	})
}

// exits runs a program that has to end with a code: exits 3 caddy qlink …
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// awaits runs a program until its output holds a text, which it has to within
// the usual patience: awaits SUCCESS caddy qlink show O1
func awaits(ts *testscript.TestScript, _ bool, args []string) {
	for range 150 {
		if ts.Exec(args[1], args[2:]...) == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		ts.Check(ts.Exec("sleep", "0.1"))
	}
	ts.Fatalf("%s never says %q", strings.Join(args[1:], " "), args[0])
}

// awaitsError is awaits for a command that fails, and what it says then.
func awaitsError(ts *testscript.TestScript, _ bool, args []string) {
	for range 150 {
		if ts.Exec(args[1], args[2:]...) != nil && strings.Contains(ts.ReadFile("stderr"), args[0]) {
			return
		}
		ts.Check(ts.Exec("sleep", "0.1"))
	}
	ts.Fatalf("%s never complains %q", strings.Join(args[1:], " "), args[0])
}

// scriptOrder hands an order over and sets $BILL, and $BILL_<code>, to its id:
// order <code> <amount> [<field>=<JSON>…]
func (w *world) scriptOrder(ts *testscript.TestScript, _ bool, args []string) {
	text := fmt.Sprintf(`{"orderCode":%q,"amount":%q`, args[0], args[1])
	for _, field := range args[2:] {
		name, value, _ := strings.Cut(field, "=")
		text += fmt.Sprintf(",%q:%s", name, value)
	}
	w.shop.lay(text + "}")
	a, err := w.do(w.request("POST", "/checkout", ""))
	ts.Check(err)
	if a.StatusCode >= 300 {
		ts.Fatalf("order %s: %s: %s", args[0], a.Status, a.body)
	}
	b := decode[billJSON](w.t, a.body)
	ts.Setenv("BILL", b.ID)
	ts.Setenv("BILL_"+args[0], b.ID)
}

// scriptPay has the gateway decide a bill: pay <bill> [<options>]. Unless it is
// told to be silent it sends its webhook, and the bill is waited for.
func (w *world) scriptPay(ts *testscript.TestScript, _ bool, args []string) {
	options := "{}"
	if len(args) > 1 {
		options = args[1]
	}
	a, err := w.do(w.request("POST", "http://"+w.gateway+"/sandbox/control/payments/"+args[0]+"/pay", options, "Content-Type", "application/json"))
	ts.Check(err)
	if a.StatusCode >= 300 {
		ts.Fatalf("pay: %s: %s", a.Status, a.body)
	}
	if options == "{}" {
		awaits(ts, false, []string{`"status":"SUCCESS"`, "caddy", "qlink", "bills", "--json", "--order", decode[billJSON](w.t, w.must("GET", "/qlink/bills/"+args[0], "").body).OrderCode})
	}
}

// scriptPost posts a file with the headers of another, and checks the status:
// post <status> <path> <headers file> <body file>
func (w *world) scriptPost(ts *testscript.TestScript, _ bool, args []string) {
	req := w.request("POST", args[1], ts.ReadFile(args[3]), "Content-Type", "application/json")
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		req.Header.Set(name, value)
	}
	a, err := w.do(req)
	ts.Check(err)
	if strconv.Itoa(a.StatusCode) != args[0] {
		ts.Fatalf("post %s: %s: %s", args[1], a.Status, a.body)
	}
}

// scriptShop makes the shop answer notifications so: shop <status>
func (w *world) scriptShop(ts *testscript.TestScript, _ bool, args []string) {
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	w.shop.serve(func(r http.ResponseWriter, _ *http.Request) { r.WriteHeader(status) })
}

// scriptWatched waits until somebody watches all bills.
func (w *world) scriptWatched(*testscript.TestScript, bool, []string) {
	w.await("a watch", func() bool { return w.running("payment.(*Engine).Follow") > 0 })
}
