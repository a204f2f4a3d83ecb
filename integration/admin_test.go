package integration

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// operate asks the admin API.
func (w *world) operate(method, path, body string, header ...string) answer {
	w.t.Helper()
	var a answer
	var err error
	w.await("the admin API", func() bool { // a reload replaces the admin endpoint, and may cut a connection
		req := w.request(method, "http://"+w.admin+path, body, header...)
		req.Close = true
		a, err = w.do(req)
		return err == nil
	})
	return a
}

type timelineJSON struct {
	Bill    billJSON `json:"bill"`
	History []struct {
		Kind, Source, Actor, Note string
		TookMS                    int `json:"tookMs"`
		Report                    struct{ Sha256 string }
	} `json:"history"`
	Details struct{ Metadata map[string]string }
}

func (w *world) timeline(name string) timelineJSON {
	w.t.Helper()
	return decode[timelineJSON](w.t, w.operate("GET", "/qlink/bills/"+name, "").want(w.t, 200).body)
}

func TestTheAdminAPITellsTheWholeStoryOfABillAndActsOnIt(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-1", "15000"), 201)
	w.control("POST", "/payments/"+b.ID+"/pay", "{}")
	w.awaitStatus(b.ID, "SUCCESS")
	told := w.timeline("O-1")
	if told.Bill.ID != b.ID || told.Details.Metadata["private"] == "" {
		t.Errorf("%+v", told)
	}
	var story []string
	for _, line := range told.History {
		story = append(story, line.Source+" "+line.Kind)
	}
	if got := strings.Join(story, ", "); got != "shop created, apply apply_accepted, webhook reported_paid" {
		t.Errorf("history: %s", got)
	}
	if told.History[2].Report.Sha256 == "" {
		t.Error("the webhook's hash is not there")
	}
	if strings.Contains(string(w.operate("GET", "/qlink/bills/O-1", "").body), appSecret) {
		t.Error("a secret is shown")
	}

	open := w.checkout(order("O-2", "15000"), 201)
	w.operate("POST", "/qlink/bills/O-2/cancel", "", "QLink-Operator", "siti@desk").want(t, 200)
	after := w.timeline(open.ID)
	if line := after.History[2]; after.Bill.Status != "CANCELED" || line.Kind != "cancel_asked" || line.Actor != "siti@desk" {
		t.Errorf("%+v", after)
	}
	w.operate("POST", "/qlink/bills/O-1/cancel", "").want(t, 409)
	w.operate("DELETE", "/qlink/bills/O-1", "").want(t, 405)
	w.operate("GET", "/qlink/bills/nobody", "").want(t, 404)
	if words := decode[struct{ Error string }](t, w.operate("GET", "/qlink/bills?nonsense=1", "").want(t, 400).body).Error; words == "" {
		t.Error("refused without a word")
	}
	if lines := strings.Count(string(w.operate("GET", "/qlink/export", "").want(t, 200).body), "\n"); lines != 2 {
		t.Errorf("%d bills exported", lines)
	}
}

// A reload that fails leaves the configuration before it in charge, while the
// admin endpoint is the new one's.
func TestTheAdminAPIServesTheRunningConfigurationAfterAFailedReload(t *testing.T) {
	w := newWorld(t, plainSite)
	b := w.checkout(order("O-1", "15000"), 201)
	blocked := listen(t, processtest.FreeAddress(t))
	w.values["extra"] = "http://" + blocked.Addr().String() + " {\n\tbind 127.0.0.1\n}\n"
	w.write(worldConfig, w.values)
	if err := w.reload(); err == nil {
		t.Fatal("a configuration with an occupied address was loaded")
	}
	w.operate("POST", "/qlink/bills/"+b.ID+"/refresh", "").want(t, 200)
	if got := w.timeline("O-1"); got.Bill.ID != b.ID {
		t.Errorf("%+v", got)
	}
}

func TestAConfigurationWithoutTheAppIsSaidToHaveNone(t *testing.T) {
	w := newWorld(t, plainSite)
	if err := os.WriteFile(w.config, []byte("{\n\tadmin "+w.admin+"\n}\nhttp://"+w.public+" {\n\tbind 127.0.0.1\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.reload(); err != nil {
		t.Fatal(err)
	}
	if a := w.operate("GET", "/qlink/bills", "").want(t, 404); !strings.Contains(string(a.body), "has no app qlink") {
		t.Errorf("%s", a.body)
	}
}

// Caddy's admin endpoint gives a request ten seconds to arrive; a watch lasts
// longer, and ends with the process at once.
func TestAWatchOutlastsTheAdminEndpointsTimeLimitAndEndsWithCaddy(t *testing.T) {
	w := newWorld(t, plainSite)
	resp, err := http.Get("http://" + w.admin + "/qlink/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	<-time.After(11 * time.Second)
	w.checkout(order("O-1", "15000"), 201)
	if !lines.Scan() || !strings.Contains(lines.Text(), `"orderCode":"O-1"`) {
		t.Fatalf("saw %q, %v", lines.Text(), lines.Err())
	}
	if took := w.stop(syscall.SIGTERM); took > 8*time.Second {
		t.Errorf("a watch held the exit up for %v", took)
	}
}

// Who asks for a stream and reads nothing of it does not hold up the exit.
func TestAClientThatReadsNothingHoldsUpNoExit(t *testing.T) {
	for _, request := range []string{"GET /qlink/export", "POST /qlink/backup"} {
		t.Run(strings.ReplaceAll(request[strings.LastIndex(request, "/")+1:], " ", "_"), func(t *testing.T) {
			w := newWorld(t, plainSite)
			for n := range 150 { // more than the sockets hold
				// Noise, so that a backup does not compress it away.
				w.checkout(fmt.Sprintf(`{"orderCode":"O-%d","amount":"15000","metadata":{"noise":%q}}`, n, noise(1_000_000+n, 90<<10)), 201) // a number that no stored bill has
			}
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.admin)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", request, w.admin); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			<-time.After(2 * time.Second) // until the sockets are full
			if took := w.stop(syscall.SIGTERM); took > 8*time.Second {
				t.Errorf("it held the exit up for %v", took)
			}
			if !strings.Contains(w.log.String(), `"exit_code":0`) {
				t.Errorf("the exit was not clean:\n%s", w.log.Tail())
			}
		})
	}
}
