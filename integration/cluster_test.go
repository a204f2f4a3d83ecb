package integration

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

const clusterExample = "../examples/cluster/"

// cluster is the example of three Caddys as its script starts it, on free
// ports; the public address is the balancer's.
type cluster struct {
	*quickstart

	nodes []clusterNode
	dir   string // of everything that the script made
}

type clusterNode struct {
	url    string
	pid    int
	socket string // of its admin endpoint
}

// clusterNodes are what the script says of each node.
var clusterNodes = regexp.MustCompile(`(?m)^node \d\s+(\S+)\s+pid (\d+)\s+admin unix/(\S+)$`)

// newCluster prepares the script. It ends with the test, and tells all that it
// has started to end when this process does.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	w := &world{public: "localhost:" + port(t, processtest.FreeAddress(t)), gateway: processtest.FreeAddress(t), client: newClient(t), behind: true}
	w.caddy = &caddy{t: t, home: t.TempDir(), binary: binary, log: new(processtest.Log)}
	w.browser()
	script := exec.Command(clusterExample + "run")
	script.Env = append(os.Environ(), "CLUSTER_CADDY="+binary, "CLUSTER_DSN=", "GORACE=atexit_sleep_ms=0",
		"CLUSTER_PORT="+port(t, w.public), "CLUSTER_SANDBOX_PORT="+port(t, w.gateway), "CLUSTER_SHOP_PORT="+port(t, processtest.FreeAddress(t)))
	c := &cluster{quickstart: &quickstart{world: w, sandbox: "http://" + w.gateway + "/sandbox/"}}
	for _, name := range []string{"1", "2", "3"} {
		address := processtest.FreeAddress(t)
		script.Env = append(script.Env, "CLUSTER_NODE_"+name+"_PORT="+port(t, address))
		c.nodes = append(c.nodes, clusterNode{url: "http://" + address})
	}
	script.Stdout, script.Stderr = w.log, w.log
	script.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	w.cmd, w.env = script, script.Env
	return c
}

// run starts the script. How it ends is in its state.
func (c *cluster) run() {
	c.t.Helper()
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	c.ended = ended
	go func() {
		_ = c.cmd.Wait()
		close(ended)
	}()
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("the nodes said:\n%s", c.said())
		}
		c.stop(syscall.SIGTERM)
	})
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t)
	c.run()
	c.await("the cluster", func() bool { return strings.Contains(c.log.String(), "Ctrl-C") })
	said := clusterNodes.FindAllStringSubmatch(c.log.String(), -1)
	if len(said) != len(c.nodes) {
		t.Fatalf("the script says\n%s", c.log)
	}
	for i, line := range said {
		pid, err := strconv.Atoi(line[2])
		if err != nil || line[1] != c.nodes[i].url {
			t.Fatalf("the script says\n%s", c.log)
		}
		c.nodes[i].pid, c.nodes[i].socket = pid, line[3]
	}
	c.dir = filepath.Dir(c.nodes[0].socket)
	return c
}

// said is what the nodes have logged.
func (c *cluster) said() string {
	var all strings.Builder
	logs, _ := filepath.Glob(filepath.Join(c.dir, "node*.log"))
	for _, name := range logs {
		if text, err := os.ReadFile(name); err == nil && c.dir != "" {
			all.Write(text)
		}
	}
	return all.String()
}

// settled returns how many webhooks a node has stored.
func (c *cluster) settled(n clusterNode) int {
	c.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.socket)
	}}
	defer transport.CloseIdleConnections()
	req := c.request("GET", "http://admin/metrics", "")
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	count := regexp.MustCompile(`caddy_qlink_webhooks_total\{[^}]*outcome="settled"\} (\d+)`).FindSubmatch(body)
	if count == nil {
		c.t.Fatalf("no webhooks in\n%s", body)
	}
	stored, err := strconv.Atoi(string(count[1]))
	if err != nil {
		c.t.Fatal(err)
	}
	return stored
}

// order fills the cart and checks it out, as a program does.
func (c *cluster) order() billJSON {
	c.t.Helper()
	c.fillCart()
	return decode[billJSON](c.t, c.must("POST", "/checkout", "", "Accept", "application/json").want(c.t, 201).body)
}

// One buyer's way through the whole of it, with a node killed on the way.
func TestAShopOnThreeCaddysSellsOnWhenOneIsKilled(t *testing.T) {
	c := startCluster(t)
	c.fillCart()
	path, id := c.paymentPage(c.must("POST", "/checkout", "", "Accept", "text/html"))
	c.must("GET", path, "", "Accept", "text/html").want(t, 200)
	took := c.payWatchedAtEachNode(id)
	if b := c.bill(id); b.SettledBy != "webhook" || b.PayURL != "http://"+c.public+path {
		t.Errorf("%+v", b)
	}
	c.await("the shop's word", func() bool {
		return strings.Contains(string(c.must("GET", "/orders/"+c.bill(id).OrderCode, "", "Accept", "application/json").body), `"paid":true`)
	})
	c.wantFormsToBeGoodElsewhere()
	c.wantBuyersAddress()
	c.wantNobodyToNoticeAKill(c.nodes[took])
	next := c.order()
	c.control("POST", "/payments/"+next.ID+"/pay", "")
	c.awaitStatus(next.ID, "SUCCESS")
	c.wantNothingLeft()
}

// payWatchedAtEachNode pays while somebody waits at each node, and returns the
// node that the webhook came to.
func (c *cluster) payWatchedAtEachNode(id string) (took int) {
	c.t.Helper()
	etag := c.must("GET", "/qlink/bills/"+id, "").want(c.t, 200).Header.Get("ETag")
	var waiting sync.WaitGroup
	for _, n := range c.nodes {
		req := c.request("GET", n.url+"/qlink/bills/"+id+"?wait=20s", "", "If-None-Match", etag)
		waiting.Go(func() {
			a, err := c.do(req)
			if err != nil || !strings.Contains(string(a.body), `"status":"SUCCESS"`) {
				c.t.Errorf("at %s: %v %s", n.url, err, a.body)
			}
		})
	}
	c.control("POST", "/payments/"+id+"/pay", "")
	begun := time.Now()
	waiting.Wait()
	if late := time.Since(begun); late > 10*time.Second {
		c.t.Errorf("the nodes heard of it after %v", late)
	}
	var stored [3]int
	c.await("the node that stored the webhook", func() bool { // it counts once it has answered
		sum := 0
		for i, n := range c.nodes {
			if stored[i] = c.settled(n); stored[i] > 0 {
				took = i
			}
			sum += stored[i]
		}
		return sum > 0
	})
	if stored[took] != 1 {
		c.t.Errorf("the one webhook was stored %v times", stored)
	}
	return took
}

// wantFormsToBeGoodElsewhere has a page of one node's console and sends its form
// to another one.
func (c *cluster) wantFormsToBeGoodElsewhere() {
	c.t.Helper()
	b := c.order()
	const siti = "Basic c2l0aTpjb25zb2xl" // her password is console
	page := c.must("GET", c.nodes[0].url+"/console/bills/"+b.ID, "", "Authorization", siti).want(c.t, 200)
	for _, form := range forms.FindAllStringSubmatch(string(page.body), -1) {
		if !strings.HasSuffix(form[1], "/cancel") {
			continue
		}
		values := make(url.Values)
		for _, field := range fields.FindAllStringSubmatch(form[2], -1) {
			values.Set(field[1], field[2])
		}
		c.must("POST", c.nodes[1].url+"/console/bills/"+b.ID+"/cancel", values.Encode(), "Authorization", siti,
			"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin").want(c.t, http.StatusSeeOther)
		c.awaitStatus(b.ID, "CANCELED")
		return
	}
	c.t.Fatalf("no form to cancel on\n%s", page.body)
}

// wantBuyersAddress checks that nodes see who came to the balancer, and that
// nobody else can tell them.
func (c *cluster) wantBuyersAddress() {
	c.t.Helper()
	elsewhere := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	transport := &http.Transport{DialContext: elsewhere.DialContext}
	defer transport.CloseIdleConnections()
	for address, by := range map[string]string{"http://" + c.public: "127.0.0.2", c.nodes[2].url: "127.0.0.2"} {
		before := strings.Count(c.said(), `"client":"`+by+`"`)
		req := c.request("POST", address+"/qlink/payNotification", "{}", "appKey", appKey, "sign", "forged", "X-Forwarded-For", "192.0.2.66")
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			c.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			c.t.Errorf("a forged webhook is answered %d", resp.StatusCode)
		}
		c.await("a line about "+by, func() bool { return strings.Count(c.said(), `"client":"`+by+`"`) > before })
	}
	if strings.Contains(c.said(), "192.0.2.66") {
		c.t.Error("whoever comes may say who he is")
	}
}

// wantNobodyToNoticeAKill kills a node while buyers look at a payment and check
// out the same cart over and over.
func (c *cluster) wantNobodyToNoticeAKill(n clusterNode) {
	c.t.Helper()
	b := c.order()
	stop := make(chan struct{})
	var served atomic.Int64
	var buyers sync.WaitGroup
	for i := range 4 {
		buyers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req := c.request("GET", "/qlink/bills/"+b.ID, "")
				if i%2 == 0 {
					req = c.request("POST", "/checkout", "", "Accept", "application/json")
				}
				a, err := c.do(req)
				if err != nil || a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), b.ID) {
					c.t.Errorf("%s %s: %v %+v", req.Method, req.URL.Path, err, a)
					return
				}
				served.Add(1)
			}
		})
	}
	until := func(n int64) {
		c.await("buyers", func() bool { return served.Load() >= n || c.t.Failed() })
	}
	until(20)
	if err := syscall.Kill(n.pid, syscall.SIGKILL); err != nil {
		c.t.Error(err)
	}
	until(served.Load() + 60)
	close(stop)
	buyers.Wait()
	if _, err := c.do(c.request("GET", n.url+"/qlink/health", "")); err == nil {
		c.t.Error("the node was not killed")
	}
}

// wantNothingLeft ends the script.
func (c *cluster) wantNothingLeft() {
	c.t.Helper()
	started := offspring(c.t, c.cmd.Process.Pid)
	if len(started) < 6 {
		c.t.Errorf("%d processes run", len(started))
	}
	log := c.said()
	c.stop(syscall.SIGTERM)
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("exit code %d\n%s", code, c.log.Tail())
	}
	for pid, began := range started {
		if again, _, err := processStat(pid); err == nil && again == began {
			c.t.Errorf("process %d goes on", pid)
		}
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, os.ErrNotExist) {
		c.t.Errorf("%s is left: %v", c.dir, err)
	}
	if strings.Contains(log, "DATA RACE") {
		c.t.Error("a data race at a node")
	}
}

func TestAClusterThatCannotStartSaysWhyAndLeavesNothing(t *testing.T) {
	c := newCluster(t)
	taken := strings.TrimPrefix(c.nodes[1].url, "http://")
	listen(t, taken)
	temporary, err := os.MkdirTemp("", "cluster") //nolint:usetesting // t.TempDir's name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temporary) })
	if err := os.Chmod(temporary, 0o711); err != nil { // PostgreSQL's user has to get there, too
		t.Fatal(err)
	}
	c.cmd.Env = append(c.cmd.Env, "TMPDIR="+temporary)
	c.run()
	select {
	case <-c.ended:
	case <-time.After(startWithin):
		t.Fatalf("it goes on:\n%s", c.log)
	}
	if code, said := c.cmd.ProcessState.ExitCode(), c.log.String(); code != 1 || !strings.Contains(said, "node2 has ended") || !strings.Contains(said, taken) {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	if left := files(t, temporary); left != temporary+"\n" {
		t.Errorf("it leaves\n%s", left)
	}
}

// offspring returns the processes that a process has started, and those that
// they have, with when each began: a pid may be somebody else's later.
func offspring(t *testing.T, pid int) map[int]string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	began, children := make(map[int]string), make(map[int][]int)
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if at, parent, err := processStat(child); err == nil {
			began[child], children[parent] = at, append(children[parent], child)
		}
	}
	found := make(map[int]string)
	for next := children[pid]; len(next) > 0; next = next[1:] {
		found[next[0]] = began[next[0]]
		next = append(next, children[next[0]]...)
	}
	return found
}

// processStat returns when a process began and whose child it is. One that has
// ended and was not waited for yet is an error.
func processStat(pid int) (began string, parent int, err error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", 0, err
	}
	// pid (name) state parent …, and began as the 22nd; a name may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return "", 0, os.ErrProcessDone
	}
	parent, err = strconv.Atoi(fields[1])
	return fields[19], parent, err
}
