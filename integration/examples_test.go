package integration

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// program runs a program beside a test, until its end.
func program(t *testing.T, env []string, name string, args ...string) *processtest.Log {
	t.Helper()
	log := new(processtest.Log)
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to end
		if t.Failed() {
			t.Logf("%s said:\n%s", name, log.Tail())
		}
	})
	return log
}

// The example of a page of static files on another origin, as it stands, on free
// ports: the code is in the shop's own page, and so is what becomes of it.
func TestAShopOfStaticFilesShowsThePaymentInItsOwnPage(t *testing.T) {
	root, err := filepath.Abs("../examples/spa/public")
	if err != nil {
		t.Fatal(err)
	}
	shop, function := processtest.FreeAddress(t), processtest.FreeAddress(t)
	w := prepareExample(t, "spa", onLocalhost(t))
	w.env = append(w.env, "SPA_SHOP_PORT="+port(t, shop), "SPA_PORT="+port(t, w.public), "SPA_SANDBOX_PORT="+port(t, w.gateway),
		"SPA_SIGN_PORT="+port(t, function), "SPA_ADMIN="+w.admin, "SPA_ROOT="+root)
	said := program(t, slices.Clone(w.env), "node", "../examples/spa/sign.js")
	w.await("the function", func() bool { return strings.Contains(said.String(), "listens") })
	w.start()

	buyer := newBuyer(t, habits{device: phone})
	buyer.open("http://localhost:" + port(t, shop) + "/")
	buyer.press(control{"button", `^Pay$`})
	buyer.sees(`Scan the code with your wallet\.`)
	bills := w.listed()
	if len(bills) != 1 || bills[0].Amount != "15000" {
		t.Fatalf("%+v", bills)
	}
	b := w.bill(bills[0].ID)
	buyer.await("the code in the shop's page", func(context.Context, *chromedp.Target) error {
		if readQR(buyer.whole()) != b.Action.Value {
			return errNotThere
		}
		return nil
	})
	w.control("POST", "/payments/"+b.ID+"/pay", "")
	buyer.sees(`Paid, thank you\.`)
	w.await("the function to hear of it", func() bool { return strings.Contains(said.String(), "paid: "+b.OrderCode) })

	// Another site may not read it in its visitors' browsers, nor change an order.
	other := w.must("GET", "/qlink/bills/"+b.ID, "", "Origin", "http://evil.example").want(t, 200)
	if allowed := other.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
		t.Errorf("another origin is allowed: %q", allowed)
	}
	w.must("POST", "/qlink/bills", order("O-1", "1"), "Content-Type", "application/json", "Origin", "http://localhost:"+port(t, shop)).want(t, http.StatusUnauthorized)
}

// listed are the bills that an operator sees, the newest first.
func (w *world) listed() []billJSON {
	w.t.Helper()
	resp, err := http.Get("http://" + w.admin + "/qlink/bills")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return decode[struct {
		Bills []billJSON `json:"bills"`
	}](w.t, body).Bills
}

// The example of two shops on one account, as it stands, on free ports.
func TestTwoShopsOnOneAccountHaveOrdersOfTheirOwn(t *testing.T) {
	tea := processtest.FreeAddress(t)
	w := prepareExample(t, "two-shops", processtest.FreeAddress(t))
	w.env = append(w.env, "TWO_SHOPS_COFFEE_PORT="+port(t, w.public), "TWO_SHOPS_TEA_PORT="+port(t, tea), "TWO_SHOPS_SANDBOX_PORT="+port(t, w.gateway), "TWO_SHOPS_ADMIN="+w.admin)
	w.start()
	other := *w
	other.public = tea

	buy := func(at *world, status int) billJSON {
		t.Helper()
		return decode[billJSON](t, at.must("POST", "/checkout", "", "Accept", "application/json").want(t, status).body)
	}
	one, two := buy(w, http.StatusCreated), buy(&other, http.StatusCreated)
	if one.ID == two.ID || one.OrderCode != two.OrderCode || one.Amount != "15000" || two.Amount != "9000" {
		t.Errorf("%+v\n%+v", one, two)
	}
	w.control("POST", "/payments/"+two.ID+"/pay", "") // its webhook goes to the other shop's site
	if paid := other.awaitStatus(two.ID, "SUCCESS"); paid.SettledBy != "webhook" {
		t.Errorf("%+v", paid)
	}
	if now := w.bill(one.ID); now.Status != "WAIT" {
		t.Errorf("the other shop's order: %+v", now)
	}
	w.must("GET", "/qlink/bills/"+two.ID, "").want(t, http.StatusNotFound)
	w.must("POST", "/qlink/bills/"+two.ID+"/cancel", "").want(t, http.StatusNotFound)
	if again := buy(&other, http.StatusOK); again.ID != two.ID {
		t.Errorf("a paid order is paid again: %+v", again)
	}
	if again := buy(w, http.StatusOK); again.ID != one.ID {
		t.Errorf("%+v", again)
	}
}

// wantFormatted fails the test where a Caddyfile is not as caddy fmt has it.
func (c *caddy) wantFormatted(name, path string) {
	c.t.Helper()
	if out, err := c.run("fmt", "--diff", path); err != nil || strings.Contains("\n"+out, "\n+") || strings.Contains("\n"+out, "\n-") {
		c.t.Errorf("%s is not as caddy fmt has it (%v):\n%s", name, err, out)
	}
}

func TestTheCaddyfilesOfTheExamplesAreFormatted(t *testing.T) {
	c, found := newCaddy(t, "", nil), 0
	err := filepath.WalkDir("../examples", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == "node_modules":
			return fs.SkipDir
		case d.Name() == "Caddyfile" || filepath.Ext(path) == ".caddyfile":
			found++
			c.wantFormatted(path, path)
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Fatal(found, err)
	}
}
