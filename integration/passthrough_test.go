package integration

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// everyRoute has every POST looked at for an order.
const everyRoute = `	qlink {
		checkout /*
	}
	reverse_proxy {{shop}}`

// bareSite is the same shop without the module.
const bareSite = `
http://{{bare}} {
	bind 127.0.0.1
	reverse_proxy {{shop}}
}
`

// newPair is a world with a second site, without the module, beside the first.
func newPair(t *testing.T) (w *world, bare string) {
	t.Helper()
	bare = processtest.FreeAddress(t)
	w = prepareWorld(t, everyRoute, strings.ReplaceAll(bareSite, "{{bare}}", bare))
	w.start()
	return w, bare
}

// exchange sends the request bytes on a connection of its own and returns all
// that comes back, but for the date, and for where one chunk ends and the next
// begins: that is the network's doing, not the shop's.
func exchange(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return date.ReplaceAllString(unchunked(t, string(reply)), "")
}

// unchunked joins the chunks of a reply's body and leaves its heads, trailers
// and everything else as they are.
func unchunked(t *testing.T, reply string) string {
	t.Helper()
	head, body, found := strings.Cut(reply, "Transfer-Encoding: chunked\r\n\r\n")
	if !found || body == "" {
		return reply
	}
	source := bufio.NewReader(strings.NewReader(body))
	joined, err := io.ReadAll(httputil.NewChunkedReader(source))
	if err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	trailers, err := io.ReadAll(source)
	if err != nil {
		t.Fatal(err)
	}
	return head + "Transfer-Encoding: chunked\r\n\r\n" + string(joined) + "\r\n" + string(trailers)
}

var date = regexp.MustCompile(`(?m)^Date: .*\r\n`)

func TestWhatIsNoOrderPassesByteForByte(t *testing.T) {
	w, bare := newPair(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	fmt.Fprint(z, strings.Repeat("compressed by the shop ", 1000))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	answers := map[string]http.HandlerFunc{
		"plain": func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "hello") },
		"created": func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusCreated)
			fmt.Fprint(rw, "made")
		},
		"gzip": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write(zipped.Bytes())
		},
		"chunked": func(rw http.ResponseWriter, _ *http.Request) {
			for n := range 20 {
				fmt.Fprintf(rw, "part %d\n", n)
				_ = http.NewResponseController(rw).Flush()
			}
		},
		"trailers": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Trailer", "X-Sum")
			fmt.Fprint(rw, "body")
			rw.Header().Set("X-Sum", "42")
		},
		"not modified": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("ETag", `"1"`)
			rw.WriteHeader(http.StatusNotModified)
		},
		"no content": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) },
		"early hints": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Link", "</style.css>; rel=preload")
			rw.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(rw, "hinted")
		},
		"redirect": func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/elsewhere", http.StatusSeeOther) },
		"error": func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "out of order", http.StatusInternalServerError)
		},
		"cookies": func(rw http.ResponseWriter, _ *http.Request) {
			http.SetCookie(rw, &http.Cookie{Name: "a", Value: "1"})
			http.SetCookie(rw, &http.Cookie{Name: "b", Value: "2"})
		},
		"another json": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprint(rw, order("O-1", "15000"))
		},
		"nothing": func(http.ResponseWriter, *http.Request) {},
	}
	for name, handler := range answers {
		w.shop.serve(handler)
		for _, method := range []string{"POST", "GET", "HEAD"} {
			request := method + " /any/path?x=1 HTTP/1.1\nHost: shop.example\nConnection: close\nAccept-Encoding: gzip\n"
			if method == "POST" {
				request += "Content-Length: 3\n\na=1"
			} else {
				request += "\n"
			}
			with := exchange(t, w.public, strings.Replace(request, "shop.example", w.public, 1))
			without := exchange(t, bare, strings.Replace(request, "shop.example", bare, 1))
			if with != without {
				t.Errorf("%s %s:\nwith the module    %q\nwithout the module %q", method, name, with, without)
			}
		}
	}
}

func TestAnUpgradeToAWebSocketPasses(t *testing.T) {
	w, _ := newPair(t)
	w.shop.serve(func(rw http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, err := buffered.ReadString('\n')
		if err != nil {
			t.Error(err)
		}
		fmt.Fprint(conn, "echo "+line)
	})
	for _, method := range []string{"GET", "POST"} {
		conn := w.dial()
		fmt.Fprintf(conn, "%s /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", method, w.public)
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: %s", method, resp.Status)
		}
		fmt.Fprint(conn, "hello\n")
		if line, err := reader.ReadString('\n'); err != nil || line != "echo hello\n" {
			t.Errorf("%s: %q, %v", method, line, err)
		}
	}
}

// gibibyte is what a shop streams through a checkout route.
const gibibyte = 1 << 30

func TestAGibibyteStreamsInConstantMemory(t *testing.T) {
	w, _ := newPair(t)
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
	w.shop.serve(func(rw http.ResponseWriter, _ *http.Request) {
		for range gibibyte / len(chunk) {
			if _, err := rw.Write(chunk); err != nil {
				t.Error(err)
				return
			}
		}
	})
	before := anonymousMemory(t, w.cmd.Process.Pid)
	resp, err := w.client.Do(w.request("POST", "/download", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	sum, most := sha256.New(), int64(0)
	buffer := make([]byte, 1<<20)
	for read, next := int64(0), int64(0); ; {
		n, err := resp.Body.Read(buffer)
		sum.Write(buffer[:n])
		if read += int64(n); read >= next {
			most = max(most, anonymousMemory(t, w.cmd.Process.Pid))
			next += 64 << 20
		}
		if err == io.EOF {
			if read != gibibyte {
				t.Errorf("%d bytes came through", read)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := sha256.New()
	for range gibibyte / len(chunk) {
		want.Write(chunk)
	}
	if !bytes.Equal(sum.Sum(nil), want.Sum(nil)) {
		t.Error("the bytes are not the shop's")
	}
	// The race detector multiplies what little is allocated; a copy of the
	// answer would still be many times this bound.
	if grown := most - before; grown > gibibyte/8 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

// anonymousMemory returns RssAnon of a process, in bytes.
func anonymousMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(status), "RssAnon:")
	if !found {
		t.Fatalf("no RssAnon in %s", status)
	}
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

func TestAnOrderNeverReachesTheBuyerInWhateverCoding(t *testing.T) {
	w, _ := newPair(t)
	const secretText = "only-the-shop-knows"
	for coding, compress := range map[string]func(io.Writer) io.WriteCloser{
		"":     func(w io.Writer) io.WriteCloser { return nopCloser{w} },
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"br":   func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
	} {
		for name, test := range map[string]struct {
			status, want int
			body         string
		}{
			"an order":          {200, 201, fmt.Sprintf(`{"orderCode":"O-%s","amount":"15000","metadata":{"a":%q}}`, coding, secretText)},
			"payment required":  {402, 200, fmt.Sprintf(`{"orderCode":"O-%s","amount":"15000","metadata":{"a":%q}}`, coding, secretText)},
			"an order in error": {500, 502, fmt.Sprintf(`{"orderCode":"O","amount":"15000","metadata":{"a":%q}}`, secretText)},
			"a bad order":       {200, 502, fmt.Sprintf(`{"orderCode":"O","metadata":{"a":%q}}`, secretText)},
			"no json":           {200, 502, secretText},
			"too large":         {200, 502, fmt.Sprintf(`{"orderCode":"O","amount":"15000","description":%q}`, strings.Repeat(secretText, 128<<10/len(secretText)))},
		} {
			w.shop.serve(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "Application/Vnd.QLink.Order+JSON; charset=utf-8")
				rw.Header().Set("X-Private", secretText)
				if coding != "" {
					rw.Header().Set("Content-Encoding", coding)
				}
				rw.WriteHeader(test.status)
				out := compress(rw)
				_, _ = io.WriteString(out, test.body)
				_ = out.Close()
			})
			a := w.must("POST", "/buy", "", "Accept-Encoding", "gzip, zstd, br")
			if name == "an order" || name == "payment required" {
				if a.StatusCode != http.StatusOK && a.StatusCode != http.StatusCreated {
					t.Errorf("%s by %q: %d %s", name, coding, a.StatusCode, a.body)
				}
			} else if a.StatusCode != test.want {
				t.Errorf("%s by %q: %d, want %d: %s", name, coding, a.StatusCode, test.want, a.body)
			}
			if all := fmt.Sprint(a.Header) + string(a.body); strings.Contains(all, secretText) || a.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s by %q reached the buyer: %.300s", name, coding, all)
			}
		}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
