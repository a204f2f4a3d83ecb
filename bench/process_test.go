package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// startWithin bounds how long a process may take to serve or to end.
const startWithin = 2 * time.Minute

// process is a program on a core of its own, with folders of its own.
type process struct {
	t     *testing.T
	home  string
	log   *processtest.Log
	cmd   *exec.Cmd
	ended chan struct{}
}

// run starts a program on a core.
func run(t *testing.T, core, home string, env []string, command ...string) *process {
	t.Helper()
	p := &process{t: t, home: home, log: new(processtest.Log), ended: make(chan struct{})}
	p.cmd = exec.Command("taskset", append([]string{"--cpu-list", core}, command...)...)
	p.cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+filepath.Join(home, "data"), "XDG_CONFIG_HOME="+filepath.Join(home, "config"))
	// With one, Go's scheduler would stand still for a while at each sync of a
	// file: no machine has a single core, and those here have two.
	p.cmd.Env = append(append(p.cmd.Env, "GOMAXPROCS=2"), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	t.Cleanup(p.stop)
	return p
}

// stop ends the process and waits for that.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // or it has ended
	select {
	case <-p.ended:
	case <-time.After(startWithin):
		_ = p.cmd.Process.Kill()
		p.t.Errorf("the process did not end:\n%s", p.log.Tail())
	}
}

// await polls until the condition holds.
func (p *process) await(what string, holds func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(startWithin)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-p.ended:
			p.t.Fatalf("the process ended while waiting for %s:\n%s", what, p.log.Tail())
		case <-deadline.C:
			p.t.Fatalf("waited in vain for %s:\n%s", what, p.log.Tail())
		}
	}
}

// anonymous returns the memory that is the process's own, in bytes: not that of
// mapped files.
func (p *process) anonymous() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	p.t.Fatal("no RssAnon")
	return 0
}

func (p *process) processorTime() float64 {
	p.t.Helper()
	return processorTime(p.t, strconv.Itoa(p.cmd.Process.Pid))
}

// processorTime returns the seconds that a process has used, with those of its
// children that have ended; of one that has ended meanwhile none.
func processorTime(t *testing.T, pid string) (seconds float64) {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	const ticks = 100 // a second, as proc(5) has them: sysconf(_SC_CLK_TCK)
	_, after, _ := strings.Cut(string(stat), ") ")
	for _, field := range strings.Fields(after)[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		seconds += float64(n) / ticks
	}
	return seconds
}

// caddy is a Caddy of which a site is measured.
type caddy struct {
	*process

	admin string // host:port
	site  string // host:port
}

// startCaddy runs a Caddy over a Caddyfile in which names in double braces stand
// for values: {{site}} and {{admin}} for addresses of its own.
func startCaddy(t *testing.T, home, caddyfile string, values map[string]string) *caddy {
	t.Helper()
	return launchCaddy(t, home, nil, caddyBinary, caddyfile, values)
}

func launchCaddy(t *testing.T, home string, env []string, binary, caddyfile string, values map[string]string) *caddy {
	t.Helper()
	c := &caddy{admin: processtest.FreeAddress(t), site: processtest.FreeAddress(t)}
	pairs := []string{"{{admin}}", c.admin, "{{site}}", c.site}
	for name, value := range values {
		pairs = append(pairs, "{{"+name+"}}", value)
	}
	config := filepath.Join(home, "Caddyfile")
	if err := os.WriteFile(config, []byte(strings.NewReplacer(pairs...).Replace(caddyfile)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.process = run(t, measuredCore, home, env, binary, "run", "--config", config, "--adapter", "caddyfile")
	c.await("the site", func() bool {
		conn, err := net.Dial("tcp", c.site)
		if err == nil {
			err = conn.Close()
		}
		return err == nil
	})
	return c
}

// collected returns the memory that is the process's own once it has given back
// what it does not use: Go's runtime does so little by little.
func (c *caddy) collected() int64 {
	c.t.Helper()
	const patience = 5 // seconds without any less
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	least, since := int64(0), 0
	for since < patience {
		c.read("http://" + c.admin + "/debug/pprof/heap?gc=1")
		now := c.anonymous()
		since++
		if least == 0 || now < least-least/100 {
			least, since = now, 0
		}
		<-tick.C
	}
	return least
}

// allocations returns how many objects the process has allocated so far.
func (c *caddy) allocations() float64 {
	c.t.Helper()
	var vars struct {
		MemStats struct{ Mallocs float64 } `json:"memstats"`
	}
	if err := json.Unmarshal(c.read("http://"+c.admin+"/debug/vars"), &vars); err != nil {
		c.t.Fatal(err)
	}
	return vars.MemStats.Mallocs
}

// read returns the body of a successful GET.
func (c *caddy) read(url string) []byte {
	c.t.Helper()
	return read(c.t, url)
}

func read(t *testing.T, url string) []byte {
	t.Helper()
	_, body := got(t, url)
	return body
}

// got returns the headers and the body of a successful answer.
func got(t *testing.T, url string) (http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v %.500s", url, resp.Status, err, body)
	}
	return resp.Header, body
}
