package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// load is what wrk puts on a site.
type load struct {
	to          string // host:port
	connections int
	length      time.Duration
	requests    []string // sent one after the other
	again       bool     // from the first once the last was sent; else to run out is an error
}

// taken is how a site has taken it.
type taken struct {
	perSecond     float64
	answered      float64
	p50, p99      time.Duration // as wrk corrects them for what it could not send
	generatorBusy float64       // part of its core that wrk has used
}

// script hands out the requests of a file, each behind a line with its length,
// and says at the end what came of them.
const script = `
local requests, place = {}, 0
function init(args)
	local file = assert(io.open(args[1], "rb"))
	while true do
		local length = file:read("*n")
		if not length then break end
		file:read(1)
		requests[#requests + 1] = file:read(length)
	end
	file:close()
end
function request()
	place = place % #requests + 1
	return requests[place]
end
function done(summary, latency)
	local failed = summary.errors
	io.write(string.format('\nRESULT {"requests":%d,"us":%d,"p50":%d,"p99":%d,"failed":%d}\n', summary.requests, summary.duration,
		latency:percentile(50), latency:percentile(99), failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
`

// put puts the load on the site. Any answer but 2xx and 3xx fails the test.
func (l load) put(t *testing.T) taken {
	t.Helper()
	dir := t.TempDir()
	path, requests := filepath.Join(dir, "script.lua"), filepath.Join(dir, "requests")
	var all bytes.Buffer
	for _, r := range l.requests {
		fmt.Fprintf(&all, "%d\n%s", len(r), r)
	}
	for name, text := range map[string][]byte{path: []byte(script), requests: all.Bytes()} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("taskset", "--cpu-list", loadCore, "wrk", "--threads", "1", "--connections", fmt.Sprint(l.connections),
		"--duration", fmt.Sprintf("%ds", max(1, int(l.length.Seconds()))), "--timeout", "30s", "--latency", "--script", path, "http://"+l.to, requests)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	_, result, _ := bytes.Cut(out, []byte("RESULT "))
	var r struct {
		Requests, Failed float64
		US               float64 `json:"us"`
		P50, P99         float64
	}
	if err := json.Unmarshal(bytes.TrimSpace(result), &r, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	if r.Failed > 0 || r.Requests == 0 {
		t.Fatalf("%v of %v requests to %s failed:\n%s", r.Failed, r.Requests, l.to, out)
	}
	if !l.again && int(r.Requests)+l.connections > len(l.requests) {
		t.Fatalf("%d requests were too few for %v answers", len(l.requests), r.Requests)
	}
	return taken{
		perSecond: r.Requests / (r.US / 1e6), answered: r.Requests,
		p50: time.Duration(r.P50) * time.Microsecond, p99: time.Duration(r.P99) * time.Microsecond,
		generatorBusy: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() / (r.US / 1e6),
	}
}

// sendEach sends each request once, so many at a time, and calls before ahead of
// each. Any answer but 200 fails the test.
func sendEach(t *testing.T, to string, connections int, requests []string, before func(i int)) {
	t.Helper()
	var next atomic.Int64
	var sending sync.WaitGroup
	for range connections {
		sending.Go(func() {
			conn, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			for i := int(next.Add(1)) - 1; i < len(requests); i = int(next.Add(1)) - 1 {
				before(i)
				if err := exchange(conn, in, requests[i]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	sending.Wait()
}

func exchange(conn net.Conn, in *bufio.Reader, request string) error {
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
