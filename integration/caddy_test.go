// Package integration proves the product over real parts: Caddy processes
// built from cmd/caddy, real files, real sockets on loopback, the simulated
// gateway and shops of its own. It holds tests alone.
package integration

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// startWithin bounds how long a process may take to serve or to end: generous,
// since a loaded machine is slow, and a test that waits here has failed anyway.
const startWithin = 60 * time.Second

// binary is the Caddy under test, built once; with the race detector where the
// tests have it.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(playCaddy) != "" {
		caddycmd.Main() // exits by itself
		return
	}
	if base := os.Getenv(damagedBase); base != "" {
		os.Exit(judgeDamages(base))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "caddy-qlink")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "caddy")
	build := exec.Command("go", slices.Concat([]string{"build"}, raceFlags, []string{"-o", binary, "../cmd/caddy"})...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build cmd/caddy:", err)
		return 1
	}
	defer theBrowser.stop()
	code := m.Run()
	if chosen() {
		return code
	}
	unseen, err := theDescription.unseen()
	if err != nil {
		fmt.Fprintln(os.Stderr, openAPI, err)
		return max(code, 1)
	}
	if len(unseen) > 0 {
		fmt.Fprintf(os.Stderr, "what %s says was not seen by any test: %q\n", openAPI, unseen)
		return max(code, 1)
	}
	return code
}

// chosen says whether some of the tests were to run alone.
func chosen() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return true
		}
	}
	return false
}

// caddy is a running Caddy process with folders of its own.
type caddy struct {
	t      *testing.T
	home   string // HOME and all that XDG names
	config string // path of its Caddyfile
	admin  string // host:port
	binary string
	env    []string
	cmd    *exec.Cmd
	log    *processtest.Log
	ended  chan struct{}
}

// newCaddy prepares a Caddy over a Caddyfile in which {{admin}} and the given
// names in double braces stand for values.
func newCaddy(t *testing.T, caddyfile string, values map[string]string) *caddy {
	t.Helper()
	home := t.TempDir()
	c := &caddy{t: t, home: home, admin: processtest.FreeAddress(t), binary: binary, log: new(processtest.Log), config: filepath.Join(home, "Caddyfile")}
	c.env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+filepath.Join(home, "data"), "XDG_CONFIG_HOME="+filepath.Join(home, "config"),
		"GORACE=atexit_sleep_ms=0") // else the race detector makes every exit a second longer
	c.write(caddyfile, values)
	return c
}

// write replaces the Caddyfile.
func (c *caddy) write(caddyfile string, values map[string]string) {
	c.t.Helper()
	pairs := []string{"{{admin}}", c.admin, "{{home}}", c.home}
	for name, value := range values {
		pairs = append(pairs, "{{"+name+"}}", value)
	}
	text := strings.NewReplacer(pairs...).Replace(caddyfile)
	if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// start runs the process and waits until its admin endpoint serves the
// configuration.
func (c *caddy) start() {
	c.t.Helper()
	c.launch()
	c.awaitAdmin()
}

// launch runs the process.
func (c *caddy) launch() {
	c.t.Helper()
	c.cmd = exec.Command(c.binary, "run", "--config", c.config, "--adapter", "caddyfile")
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = c.env, c.log, c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	c.ended = ended
	cmd := c.cmd
	go func() {
		_ = cmd.Wait() // how it ended is in its log and its state
		close(ended)
	}()
	c.t.Cleanup(func() { c.stop(syscall.SIGTERM) })
}

// awaitAdmin waits until the admin endpoint serves the configuration.
func (c *caddy) awaitAdmin() {
	c.t.Helper()
	c.await("the admin endpoint", func() bool {
		resp, err := http.Get("http://" + c.admin + "/config/apps")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK && len(bytes.TrimSpace(body)) > len("null")
	})
}

// await polls until the condition holds; the process ending is a failure.
func (c *caddy) await(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.NewTimer(startWithin)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-c.ended:
			c.t.Fatalf("caddy ended while waiting for %s:\n%s", what, c.log.Tail())
		case <-deadline.C:
			c.t.Fatalf("waited in vain for %s:\n%s", what, c.log.Tail())
		}
	}
}

// stop ends the process by the signal and returns how long that took.
func (c *caddy) stop(signal os.Signal) time.Duration {
	c.t.Helper()
	begun := time.Now()
	if err := c.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Errorf("signal: %v", err)
	}
	select {
	case <-c.ended:
	case <-time.After(startWithin):
		_ = c.cmd.Process.Kill()
		c.t.Errorf("caddy did not end:\n%s", c.log.Tail())
	}
	if strings.Contains(c.log.String(), "WARNING: DATA RACE") {
		c.t.Errorf("data race:\n%s", c.log.String())
	}
	return time.Since(begun)
}

// run runs another command of the same binary in the same folders.
func (c *caddy) run(args ...string) (output string, err error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.binary, args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// reload loads the Caddyfile as it now stands, the way `caddy reload --force`
// does. The admin endpoint is itself replaced by each reload, and may cut a
// connection that came just then: such a one is made again.
func (c *caddy) reload() (err error) {
	config, err := os.ReadFile(c.config)
	if err != nil {
		return err
	}
	for range 10 {
		var resp *http.Response
		if resp, err = c.load(config); err != nil {
			continue
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", resp.Status, body)
		}
		return err
	}
	return err
}

func (c *caddy) load(config []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://"+c.admin+"/load", bytes.NewReader(config))
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	return http.DefaultClient.Do(req)
}

// port returns the port of an address.
func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// profile returns a profile of the process.
func (c *caddy) profile(name string) []byte {
	c.t.Helper()
	var text []byte
	c.await("the profile "+name, func() bool {
		req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.admin+"/debug/pprof/"+name, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err = io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return text
}

// goroutines returns the stacks of the process's goroutines.
func (c *caddy) goroutines() []string {
	c.t.Helper()
	return strings.Split(string(c.profile("goroutine?debug=2")), "\n\n")
}

// running counts the goroutines in whose stack the function stands.
func (c *caddy) running(function string) int {
	c.t.Helper()
	n := 0
	for _, stack := range c.goroutines() {
		if strings.Contains(stack, function) {
			n++
		}
	}
	return n
}

// listen occupies an address until the test ends.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// files lists the files and folders below dir.
func files(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	walk(t, dir, func(path string) { fmt.Fprintln(&list, path) })
	return list.String()
}

// contents returns what all files below dir hold.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	walk(t, dir, func(path string) {
		text, err := os.ReadFile(path)
		if err == nil {
			all.Write(text)
		}
	})
	return all.String()
}

func walk(t *testing.T, dir string, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			visit(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
