package handlers_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/handlers"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// orderCanary stands in every order that must not reach a buyer.
const orderCanary = "order-canary"

// upstreams answer with something that is not an order.
var upstreams = map[string]http.HandlerFunc{
	"plain": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Shop", "yes")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		_, _ = io.WriteString(w, "hello")
	},
	"status without a body": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"not modified": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"x"`)
		w.WriteHeader(http.StatusNotModified)
	},
	"an error":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
	"nothing at all": func(http.ResponseWriter, *http.Request) {},
	"compressed": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(gzipped("compressed"))
	},
	"another JSON": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.qlink.order+json2")
		_, _ = io.WriteString(w, `{"orderCode":"O1"}`)
	},
	"chunks that are flushed": func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "chunk")
			_ = http.NewResponseController(w).Flush()
		}
	},
	"chunks flushed the old way": func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "chunk")
	},
	"copied": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(w, strings.NewReader(strings.Repeat("x", 100_000)))
	},
	"copied without a status": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("copied"))
	},
	"announced trailers": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	},
	"late trailers": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Late", "43")
	},
	"early hints": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "body")
	},
}

// exchange is all that a client sees of an answer.
type exchange struct {
	status   int
	header   string
	body     string
	trailer  string
	informed string
}

func ask(t *testing.T, server *httptest.Server, method string) exchange {
	t.Helper()
	var informed []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		informed = append(informed, fmt.Sprint(code, header))
		return nil
	}}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), method, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip") // set by hand: the client must not decode
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body := readAll(t, answer.Body)
	answer.Header.Del("Date")
	return exchange{
		answer.StatusCode, fmt.Sprint(answer.Header, answer.ContentLength, answer.TransferEncoding),
		body, fmt.Sprint(answer.Trailer), strings.Join(informed, " "),
	}
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// throughCheckout serves upstream on a checkout route.
func throughCheckout(t *testing.T, s *site, upstream http.HandlerFunc) *httptest.Server {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		err := s.Checkout(w, r, func(w http.ResponseWriter, r *http.Request) error { upstream(w, r); return nil })
		if err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsNoOrderPassesUntouched(t *testing.T) {
	for name, upstream := range upstreams {
		for _, method := range []string{"POST", "GET", "HEAD"} {
			t.Run(name+" "+method, func(t *testing.T) {
				direct := ask(t, serve(t, upstream), method)
				through := ask(t, throughCheckout(t, newSite(t), upstream), method)
				if direct != through {
					t.Errorf("direct  %+v\nthrough %+v", direct, through)
				}
			})
		}
	}
}

func TestAnUpgradeIsHandedOver(t *testing.T) {
	s := newSite(t)
	server := throughCheckout(t, s, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Upgrade", "echo")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		line, err := buffered.ReadString('\n')
		if err != nil {
			t.Error(err)
		}
		_, _ = buffered.WriteString(line)
		_ = buffered.Flush()
	})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer %v, error %v", answer, err)
	}
	defer answer.Body.Close()
	_, _ = io.WriteString(conn, "echo\n")
	if line, err := reader.ReadString('\n'); line != "echo\n" {
		t.Errorf("echo = %q, %v", line, err)
	}
}

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestAGigabyteStreamsInConstantMemory(t *testing.T) {
	const size = 1 << 30
	server := throughCheckout(t, newSite(t), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = io.CopyN(w, zeros{}, size)
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil || n != size {
		t.Fatalf("read %d, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("allocated %d bytes", used)
	}
}

// What counts is that the fast path is offered, not only that copying
// works.
func TestTheBuyersConnectionMayCopyByItself(t *testing.T) {
	s := newSite(t)
	w := &copier{ResponseRecorder: httptest.NewRecorder()}
	err := s.Checkout(w, post("/checkout", ""), func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusOK)
		_, err := io.Copy(w, io.LimitReader(zeros{}, 10))
		return err
	})
	if err != nil || !w.copied {
		t.Errorf("copied = %v, error %v", w.copied, err)
	}
}

type copier struct {
	*httptest.ResponseRecorder

	copied bool
}

func (c *copier) ReadFrom(r io.Reader) (int64, error) {
	c.copied = true
	return io.Copy(c.ResponseRecorder, r)
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.Bytes()
}

func zstandard(text string) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

func brotlied(text string) []byte {
	var b bytes.Buffer
	w := brotli.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.Bytes()
}

func plain(text string) []byte { return []byte(text) }

var codings = map[string]func(string) []byte{
	"": plain, "identity": plain, "gzip": gzipped, "x-gzip": gzipped, "GZIP": gzipped, "zstd": zstandard, "br": brotlied,
}

func TestACompressedOrderIsDecoded(t *testing.T) {
	for coding, encode := range codings {
		t.Run(coding, func(t *testing.T) {
			s := newSite(t)
			s.engine.created = payment.Created{Bill: waitingBill(), Outcome: payment.OutcomeNew}
			server := throughCheckout(t, s, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "Application/VND.qlink.order+json ; charset=utf-8")
				if coding != "" {
					w.Header().Set("Content-Encoding", coding)
				}
				w.WriteHeader(http.StatusPaymentRequired)
				for _, c := range encode(goodOrder) {
					_, _ = w.Write([]byte{c})
					_ = http.NewResponseController(w).Flush()
				}
			})
			got := ask(t, server, "POST")
			if got.status != http.StatusCreated || !strings.Contains(got.body, billID) {
				t.Errorf("%+v", got)
			}
			if s.engine.gotOrder.OrderCode != "O1" || !s.engine.gotHandOver.At.Equal(noon) {
				t.Errorf("order %+v, hand-over %+v", s.engine.gotOrder, s.engine.gotHandOver)
			}
		})
	}
}

func TestABombStopsAtTheCap(t *testing.T) {
	for _, coding := range []string{"", "gzip", "zstd", "br"} {
		t.Run(coding, func(t *testing.T) {
			s := newSite(t)
			bomb := codings[coding](strings.Repeat(" ", 16<<20))
			var before, after runtime.MemStats
			w := httptest.NewRecorder()
			runtime.ReadMemStats(&before)
			err := s.Checkout(w, post("/checkout", ""), func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Content-Type", handlers.OrderType)
				w.Header().Set("Content-Encoding", coding)
				_, err := w.(io.ReaderFrom).ReadFrom(bytes.NewReader(bomb))
				return err
			})
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			wantStatus(t, w, 502)
			wantContains(t, w.Body.String(), "larger than 131072 bytes")
			if used := after.TotalAlloc - before.TotalAlloc; used > 12<<20 {
				t.Errorf("allocated %d bytes", used)
			}
		})
	}
}

func TestOfAnOrdersHeadersTheCookiesAloneSurvive(t *testing.T) {
	s := newSite(t)
	s.engine.created = payment.Created{Bill: waitingBill(), Outcome: payment.OutcomeNew}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", "max-age=1") // a handler around ours
		_ = s.Checkout(w, r, func(w http.ResponseWriter, _ *http.Request) error {
			header := w.Header()
			header.Set("Link", "</a>")
			w.WriteHeader(http.StatusEarlyHints)
			clear(header) // as a proxy does between two answers
			maps.Copy(header, http.Header{
				"Content-Type": {handlers.OrderType}, "X-Secret": {orderCanary}, "Etag": {"x"}, "Trailer": {"X-Sum"},
				"Set-Cookie": {"cart=1", "visit=2"}, "Content-Length": {"99"}, "Location": {"/" + orderCanary},
			})
			_, _ = io.WriteString(w, goodOrder)
			header.Set("X-Sum", orderCanary)
			header.Set(http.TrailerPrefix+"X-Late", orderCanary)
			header.Add("Set-Cookie", "late="+orderCanary)
			return nil
		})
	})
	got := ask(t, server, "POST")
	if got.status != http.StatusCreated {
		t.Fatalf("%+v", got)
	}
	wantContains(t, got.header, "cart=1 visit=2", "Strict-Transport-Security", "Cache-Control:[no-store]", "/qlink/bills/"+billID)
	wantNot(t, got.header+got.trailer+got.body, orderCanary, "X-Secret", "Etag", "X-Sum", "X-Late")
}

// leaks are answers with an order in them that cannot be paid.
var leaks = map[string]func(w http.ResponseWriter) error{
	"a status that is no success": orderWith(500, "", orderCanary),
	"a good order that failed":    orderWith(500, "", `{"orderCode":"`+orderCanary+`","amount":"1"}`),
	"a good order that moved":     orderWith(302, "", `{"orderCode":"`+orderCanary+`","amount":"1"}`),
	"a redirect":                  orderWith(302, "", orderCanary),
	"not modified":                orderWith(304, "", ""),
	"a switch of protocols":       orderWith(101, "", ""),
	"no JSON":                     orderWith(200, "", orderCanary),
	"a field that is wrong":       orderWith(200, "", `{"orderCode":"`+orderCanary+`","amount":"0"}`),
	"a name twice":                orderWith(200, "", `{"orderCode":"`+orderCanary+`","orderCode":"O2","amount":"1"}`),
	"nothing":                     orderWith(204, "", ""),
	"an unknown coding":           orderWith(200, "deflate", orderCanary),
	"two codings":                 orderWith(200, "gzip, br", orderCanary),
	"a coding that is a lie":      orderWith(200, "gzip", orderCanary),
	"a zstd that is a lie":        orderWith(200, "zstd", orderCanary),
	"a brotli that is a lie":      orderWith(200, "br", orderCanary),
	"a header and no body":        func(w http.ResponseWriter) error { return setOrderHeaders(w) },
	"a cut":                       func(w http.ResponseWriter) error { _ = orderWith(200, "", orderCanary)(w); panic(http.ErrAbortHandler) },
	"an error after the header": func(w http.ResponseWriter) error {
		_ = orderWith(200, "", orderCanary)(w)
		return errors.New("upstream")
	},
	"two content types":              twoTypes,
	"a flush before the body":        flushFirst,
	"a copy of nothing before":       copyFirst,
	"an attempt to hijack afterward": hijackAfter,
}

func setOrderHeaders(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", handlers.OrderType)
	w.Header().Set("X-Secret", orderCanary)
	return nil
}

func orderWith(status int, coding, body string) func(http.ResponseWriter) error {
	return func(w http.ResponseWriter) error {
		_ = setOrderHeaders(w)
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		w.WriteHeader(status)
		_, err := io.WriteString(w, body)
		return err
	}
}

func twoTypes(w http.ResponseWriter) error {
	w.Header()["Content-Type"] = []string{"text/plain", handlers.OrderType}
	_, err := io.WriteString(w, orderCanary)
	return err
}

func flushFirst(w http.ResponseWriter) error {
	_ = setOrderHeaders(w)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, orderCanary)
	return err
}

func copyFirst(w http.ResponseWriter) error {
	_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
	return orderWith(200, "", orderCanary)(w)
}

func hijackAfter(w http.ResponseWriter) error {
	_ = orderWith(200, "", orderCanary)(w)
	if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
		return errors.New("the connection was handed over")
	}
	return nil
}

func TestAnOrderThatCannotBePaidNeverReachesTheBuyer(t *testing.T) {
	for name, answer := range leaks {
		for _, accept := range []string{"application/json", "text/html"} {
			t.Run(name+" "+accept, func(t *testing.T) {
				s := newSite(t, func(a *handlers.API) {
					live := *a.Scope.Account
					live.LiveMode = true
					a.Scope.Account = &live
				})
				server := serve(t, func(w http.ResponseWriter, r *http.Request) {
					r.Header.Set("Accept", accept)
					if err := s.Checkout(w, r, func(w http.ResponseWriter, _ *http.Request) error { return answer(w) }); err != nil {
						t.Error(err)
					}
				})
				got := ask(t, server, "POST")
				if got.status != http.StatusBadGateway {
					t.Errorf("status = %d", got.status)
				}
				wantNot(t, fmt.Sprint(got), orderCanary, "X-Secret", `"errors"`)
				if accept == "text/html" {
					wantContains(t, got.body, "you have not been charged")
				}
				if strings.Contains(s.engine.recorded(), "create") {
					t.Error("a bill was created")
				}
				if s.logs.FilterMessageSnippet("no order").Len() != 1 {
					t.Error("the shop's mistake is not in the log")
				}
			})
		}
	}
}

func TestInTestModeTheShopReadsWhatIsWrongWithItsOrder(t *testing.T) {
	s := newSite(t)
	w := httptest.NewRecorder()
	if err := s.Checkout(w, post("/checkout", ""), answerWithOrder(`{"orderCode":"O1","amount":"1.999"}`)); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, w, 502)
	wantContains(t, w.Body.String(), `"code":"bad_order"`, `"field":"amount"`)
}

func TestAnErrorBeforeAnyAnswerIsNextsOwn(t *testing.T) {
	s := newSite(t)
	w := httptest.NewRecorder()
	w.Header().Set("X-Outer", "1")
	failed := errors.New("no route to the shop")
	err := s.Checkout(w, post("/checkout", ""), func(w http.ResponseWriter, _ *http.Request) error {
		_ = setOrderHeaders(w)
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("error = %v", err)
	}
	if got := fmt.Sprint(w.Header()); got != "map[X-Outer:[1]]" {
		t.Errorf("headers = %s", got)
	}
}

func TestAPanicThatIsNotACutGoesOn(t *testing.T) {
	s := newSite(t)
	w := httptest.NewRecorder()
	defer func() {
		if recover() != "boom" {
			t.Error("the panic was swallowed")
		}
		wantNot(t, w.Body.String()+fmt.Sprint(w.Header()), orderCanary)
	}()
	_ = s.Checkout(w, post("/checkout", ""), func(w http.ResponseWriter, _ *http.Request) error {
		_ = orderWith(200, "", orderCanary)(w)
		panic("boom")
	})
}

func TestTheAnswerToAnOrderMayBeReadByAnAllowedOrigin(t *testing.T) {
	s := newSite(t, func(a *handlers.API) { a.AllowedOrigins = []string{"https://Spa.example/"} })
	s.engine.created = payment.Created{Bill: waitingBill(), Outcome: payment.OutcomeNew}
	r := post("/checkout", "")
	r.Header.Set("Origin", "https://spa.example")
	w := httptest.NewRecorder()
	if err := s.Checkout(w, r, answerWithOrder(goodOrder)); err != nil {
		t.Fatal(err)
	}
	wantHeader(t, w.Header(), "Access-Control-Allow-Origin", "https://spa.example")
	wantHeader(t, w.Header(), "Access-Control-Allow-Credentials", "true")
}

// FuzzTakeover feeds whatever a shop may answer to the take-over.
func FuzzTakeover(f *testing.F) {
	f.Add([]byte(goodOrder), "")
	f.Add(gzipped(goodOrder), "gzip")
	f.Add(zstandard(goodOrder), "zstd")
	f.Add(brotlied(goodOrder), "br")
	f.Add([]byte(`{"orderCode":"O1","amount":1e999999999,"items":[{}]}`), "identity")
	f.Fuzz(func(t *testing.T, body []byte, coding string) {
		s := newSite(t)
		s.engine.createErr = bill.ErrUnavailable
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", nil)
		err := s.Checkout(w, r, func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", handlers.OrderType)
			w.Header().Set("Content-Encoding", coding)
			_, err := w.Write(body)
			return err
		})
		if err != nil || w.Code != 502 && w.Code != 503 {
			t.Fatalf("status %d, error %v", w.Code, err)
		}
		if w.Code == 503 && !strings.Contains(s.engine.recorded(), "create") {
			t.Fatal("an order was lost")
		}
	})
}
