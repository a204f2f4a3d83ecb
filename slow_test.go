package caddyqlink

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// soon is how long clients may take to send a body in these tests.
const soon = 200 * time.Millisecond

// runImpatient runs a Caddy that wraps requests and answers as real ones do,
// before a shop that answers with what it was sent.
func runImpatient(t *testing.T) (p *probe, base string) {
	t.Helper()
	bodyTimeout = soon
	t.Cleanup(func() { bodyTimeout = 30 * time.Second })
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // of a client that may have gone
	}))
	t.Cleanup(shop.Close)
	p = newProbe(t)
	text := caddyfileOf("store probe "+probeName(t)+"\n\t\t"+account,
		"log\n\tencode\n\tqlink {\n\t\tcheckout /checkout\n\t}\n\treverse_proxy "+shop.Listener.Addr().String())
	return p, run(t, strings.Replace(text, "auto_https off", "auto_https off\n\tservers {\n\t\tprotocols h1 h2 h2c\n\t}", 1))
}

// drip posts a body that comes a byte at a time and ends after a while, if the
// other side listens for so long, over a bare connection.
func drip(t *testing.T, base, path string, header string, lasts time.Duration) (status int, body string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: shop.example\r\n%sTransfer-Encoding: chunked\r\n\r\n", path, header)
	go func() {
		tick := time.NewTicker(soon / 20)
		defer tick.Stop()
		for end := time.Now().Add(lasts); time.Now().Before(end); <-tick.C {
			if _, err := io.WriteString(conn, "1\r\n.\r\n"); err != nil {
				return
			}
		}
		_, _ = io.WriteString(conn, "0\r\n\r\n") // to whom may have hung up
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const forEver = time.Hour

func TestThroughCaddyABodyThatDripsInIsAnsweredWith408(t *testing.T) {
	_, base := runImpatient(t)
	for path, want := range map[string]string{
		"/qlink/payNotification":                                   `{"success":false,"message":`,
		"/qlink/bills/3f2b8c1e-9d47-4a60-8b1f-0c5d7e9a1b2c/cancel": `"code":"body_timeout"`,
	} {
		if status, body := drip(t, base, path, "appKey: key\r\nsign: 00\r\n", forEver); status != 408 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestThroughCaddyABodyThatDripsInOverHTTP2IsAnsweredWith408(t *testing.T) {
	_, base := runImpatient(t)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	never, unsent := io.Pipe()
	defer unsent.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/qlink/bills/x/cancel", never)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout || resp.ProtoMajor != 2 {
		t.Errorf("%s %s", resp.Proto, resp.Status)
	}
}

// What goes through to the shop is the shop's to be patient with.
func TestABodyForTheShopMayTakeItsTime(t *testing.T) {
	_, base := runImpatient(t)
	for _, path := range []string{"/checkout", "/elsewhere"} {
		if status, body := drip(t, base, path, "", 3*soon); status != http.StatusOK || len(body) < 10 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestACheckoutThatIsRefusedDoesNotWaitForItsBodyForEver(t *testing.T) {
	p, base := runImpatient(t)
	p.openBills.Store(100_000)
	if status, body := drip(t, base, "/checkout", "", forEver); status != http.StatusTooManyRequests || !strings.Contains(body, "too_many_open") {
		t.Errorf("%d %s", status, body)
	}
}
