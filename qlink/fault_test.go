package qlink

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// story 1: what a failure proves decides whether a buyer may pay again.
func TestAFailureSaysWhatIsCertain(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		kind   Kind
	}{
		"refused":                   {200, `{"success":false,"message":"no such channel","errorCode":"E1"}`, KindRefused},
		"refused as a repetition":   {200, `{"success":false,"message":"tradeUuid must be unique under an appKey"}`, KindRefused},
		"refused in text":           {200, `{"success":"false","message":"no"}`, KindRefused},
		"refused inside":            {200, `{"success":true,"result":{"success":false,"message":"no"}}`, KindRefused},
		"refused with a payload":    {200, `{"success":false,"result":{"billCode":"b","tradeUuid":"u","status":"SUCCESS"}}`, KindRefused},
		"refused with 400":          {400, `{"success":false,"message":"bad amount"}`, KindRefused},
		"404 with an errorCode":     {404, `{"errorCode":"NOT_FOUND"}`, KindRefused},
		"409 with a message":        {409, `{"message":"tradeUuid exists"}`, KindRefused},
		"bad signature":             {200, `{"success":false,"message":"sign error"}`, KindAuth},
		"bad signature, Chinese":    {200, `{"success":false,"message":"验签失败"}`, KindAuth},
		"bad signature as code":     {400, `{"success":false,"errorCode":"INVALID_SIGN"}`, KindAuth},
		"bad signature as 500":      {500, `{"success":false,"message":"illegal appKey"}`, KindAuth},
		"bad signature, no success": {200, `{"errorCode":"invalidSign"}`, KindAuth},
		"401":                       {401, ``, KindAuth},
		"403 of a firewall":         {403, `<html>`, KindAuth},
		"400 without JSON":          {400, `bad request`, KindUnclear},
		"400 that claims success":   {400, `{"success":true,"message":"ok"}`, KindUnclear},
		"404 of another server":     {404, `{"status":404,"error":"Not Found"}`, KindUnclear},
		"408":                       {408, `{"success":false,"message":"slow"}`, KindUnclear},
		"425":                       {425, `{"success":false,"message":"early"}`, KindUnclear},
		"429":                       {429, `{"success":false,"message":"sign less often"}`, KindUnclear},
		"500":                       {500, `{"success":false,"message":"boom"}`, KindUnclear},
		"502":                       {502, `<html>bad gateway</html>`, KindUnclear},
		"503 that claims success":   {503, `{"success":true,"result":{"billCode":"b","status":"SUCCESS"}}`, KindUnclear},
		"304":                       {304, ``, KindUnclear},
		"204":                       {204, ``, KindUnclear},
		"nothing":                   {200, ``, KindUnclear},
		"HTML":                      {200, `<html>login</html>`, KindUnclear},
		"a scalar":                  {200, `"SUCCESS"`, KindUnclear},
		"a row that is none":        {200, `{"success":true,"result":["b"]}`, KindUnclear},
		"cut JSON":                  {200, `{"success":false,"message":"n`, KindUnclear},
		"more after the JSON":       {200, `{"success":false} {}`, KindUnclear},
		"a name twice":              {200, `{"success":false,"success":true,"billCode":"b"}`, KindUnclear},
		"a name twice inside text":  {200, `{"success":true,"content":"{\"billCode\":\"a\",\"billCode\":\"b\"}"}`, KindUnclear},
		"no UTF-8":                  {200, "{\"success\":false,\"message\":\"\xff\"}", KindUnclear},
		"success that is neither":   {200, `{"success":"maybe","billCode":"b"}`, KindUnclear},
		"three envelopes":           {200, `{"success":true,"data":{"success":true,"data":{"success":true,"data":{"a":1}}}}`, KindUnclear},
		"a payload of another name": {200, `{"success":true,"payload":{"billCode":"b","status":"SUCCESS"}}`, KindUnclear},
		"too long with spaces":      {200, `{"success":false}` + strings.Repeat(" ", maxAnswer), KindUnclear},
		"too long":                  {200, `{"success":false,"message":"` + strings.Repeat("x", maxAnswer) + `"}`, KindUnclear},
	} {
		for operation, call := range operations {
			e := wantKind(t, name+" of "+operation, call(t, clientOf(t, c.status, c.body)), c.kind)
			if e.Operation != operation || e.HTTPStatus != c.status || !strings.Contains(e.Error(), operation) {
				t.Errorf("%s of %s: %+v", name, operation, e)
			}
		}
	}
}

func TestKindsSayTheirEffect(t *testing.T) {
	for kind, effect := range map[Kind]Effect{
		KindUnclear: EffectUnknown, KindAuth: EffectUnknown,
		KindInvalid: EffectNone, KindNotSent: EffectNone, KindRefused: EffectNone,
	} {
		if got := EffectOf(fmt.Errorf("apply: %w", &Error{Kind: kind})); got != effect {
			t.Errorf("%v: %v, want %v", kind, got, effect)
		}
	}
	if EffectOf(nil) != EffectDone || EffectOf(io.EOF) != EffectUnknown {
		t.Error("no error is done, a foreign error unknown")
	}
}

func TestARefusalCarriesTheGatewaysWords(t *testing.T) {
	_, err := clientOf(t, 422, `{"success":false,"message":"渠道 closed","errorCode":42}`).Apply(t.Context(), validApply())
	e := wantKind(t, "refusal", err, KindRefused)
	if e.Message != "渠道 closed" || e.ErrorCode != "42" || e.HTTPStatus != 422 {
		t.Errorf("%+v", e)
	}
	_, err = clientOf(t, 200, `{"success":false,"message":"`+strings.Repeat("é", maxMessage)+`\nx"}`).Apply(t.Context(), validApply())
	if e := wantKind(t, "long refusal", err, KindRefused); len(e.Message) > maxMessage+3 || strings.Contains(e.Error(), "\n") {
		t.Errorf("%d bytes: %v", len(e.Message), e)
	}
}

func TestAnAnswerThatLacksItsFieldIsUnclear(t *testing.T) {
	for body, call := range map[string]string{
		`{"success":true,"result":{"actionValue":"x","errorCode":"E7"}}`: OperationApply,
		`{"success":true,"result":[{"billCode":"a"},{"billCode":"b"}]}`:  OperationApply,
		`{"success":true,"result":{"billCode":{}}}`:                      OperationApply,
		`{"success":true}`:                                                       OperationApply,
		`{"success":true,"result":null}`:                                         OperationCancel,
		`{"code":0,"status":"SUCCESS","data":null}`:                              OperationCancel,
		`{"success":true,"result":{"errorCode":"E7"}}`:                           OperationCancel,
		`{"tradeUuid":"another","status":"SUCCESS"}`:                             OperationCancel,
		`{"billCode":"another","status":"SUCCESS"}`:                              OperationCancel,
		`[{"tradeUuid":"uuid1","status":"SUCCESS"},{"status":"FAIL"}]`:           OperationCancel,
		`{"success":true,"result":[{"tradeUuid":"uuid1","status":{"a":1}}]}`:     OperationGetPayStatus,
		`{"success":true,"result":[{"type":"PAY_TYPE"},{"code":"x"}]}`:           OperationQueryPayAccount,
		`{"success":true,"result":[{"type":"PAY_TYPE","code":{"nested":"x"}}]}`:  OperationQueryPayAccount,
		`{"success":true,"result":"{\"tradeUuid\":\"uuid1\",\"status\":\"SUCC"}`: OperationGetPayStatus,
	} {
		_ = wantKind(t, body, operations[call](t, clientOf(t, 200, body)), KindUnclear)
	}
}

// brokenGateway takes connections and requests, and then does with the connection as told.
func brokenGateway(t *testing.T, answer func(net.Conn)) *Client {
	t.Helper()
	return newGateway(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		answer(conn)
		_ = conn.Close()
	}).client(t, nil)
}

func TestACutAnswerIsUnclear(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":         "",
		"half a header":   "HTTP/1.1 200 OK\r\nContent-Le",
		"half a body":     "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"billCode\":\"b\"}",
		"half a chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"billCode\"",
		"no HTTP":         "SSH-2.0-OpenSSH\r\n",
		"half a refusal":  "HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\n{\"success\":false}",
		"too much header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<17) + "\r\n\r\n",
	} {
		for operation, call := range operations {
			_ = wantKind(t, name+" to "+operation, call(t, brokenGateway(t, func(conn net.Conn) { _, _ = io.WriteString(conn, answer) })), KindUnclear)
		}
	}
}

func TestASlowAnswerIsUnclear(t *testing.T) {
	for name, begin := range map[string]string{"no answer": "", "half an answer": `{"billCode":`} {
		g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
			if begin != "" {
				_, _ = io.WriteString(w, begin)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		_, err := g.client(t, func(c *Config) { c.Timeout = 50 * time.Millisecond }).Apply(t.Context(), validApply())
		_ = wantKind(t, name, err, KindUnclear)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v is no time-out", name, err)
		}
	}
}

func TestACallerWhoGoesAwayLeavesItUnclear(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := newGateway(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := g.client(t, nil).Apply(ctx, validApply())
	_ = wantKind(t, "cancelled", err, KindUnclear)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		elsewhere := newGateway(t, says(200, `{"billCode":"stolen"}`))
		g := newGateway(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		_, err := g.client(t, nil).Apply(t.Context(), validApply())
		if e := wantKind(t, "redirect", err, KindUnclear); e.HTTPStatus != status {
			t.Error(e)
		}
		if len(elsewhere.requests) != 0 {
			t.Errorf("%d was followed", status)
		}
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWithoutAConnectionNothingWasSent(t *testing.T) {
	plain := newGateway(t, says(200, `{}`))
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	hanging := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for name, c := range map[string]struct {
		ctx    context.Context
		change func(*Config)
	}{
		"closed port":        {t.Context(), func(c *Config) { c.Endpoint = "http://" + closedPort(t) }},
		"no TLS at the port": {t.Context(), func(c *Config) { c.Endpoint = strings.Replace(plain.URL, "http:", "https:", 1) }},
		"no such host":       {t.Context(), func(c *Config) { c.Transport = failing(&net.DNSError{Err: "no such host", IsNotFound: true}) }},
		"dialling, untraced": {t.Context(), func(c *Config) { c.Transport = failing(&net.OpError{Op: "dial", Err: io.EOF}) }},
		"time-out in a dial": {t.Context(), func(c *Config) { c.Transport, c.Timeout = hanging, 20*time.Millisecond }},
		"already cancelled":  {dead, func(*Config) {}},
		"a proxy that's away": {t.Context(), func(c *Config) {
			c.Transport = &http.Transport{Proxy: http.ProxyURL(mustURL(t, "http://"+closedPort(t)))}
		}},
	} {
		_, err := plain.client(t, c.change).Apply(c.ctx, validApply())
		if e := wantKind(t, name, err, KindNotSent); e.HTTPStatus != 0 || e.Err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func failing(err error) http.RoundTripper {
	return roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })
}

func TestAnUntracedFailureIsUnclear(t *testing.T) {
	client := testClient(t, func(c *Config) { c.Transport = failing(&net.OpError{Op: "read", Err: io.EOF}) })
	_, err := client.Apply(t.Context(), validApply())
	_ = wantKind(t, "read", err, KindUnclear)
}

func TestOverHTTP2ACutAnswerIsUnclear(t *testing.T) {
	var proto atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		proto.Store(int32(r.ProtoMajor))
		panic(http.ErrAbortHandler)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	client := testClient(t, func(c *Config) { c.Endpoint, c.Transport = server.URL, server.Client().Transport })
	_, err := client.Apply(t.Context(), validApply())
	_ = wantKind(t, "HTTP/2", err, KindUnclear)
	if proto.Load() != 2 {
		t.Errorf("HTTP/%d was spoken", proto.Load())
	}
}

// A POST that a gateway may have taken is never repeated behind the caller's back, not even
// with a header that tells net/http it may.
func TestNothingIsSentTwice(t *testing.T) {
	var requests atomic.Int32
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go answerFirstThenClose(listener, &requests)
	client := testClient(t, func(c *Config) {
		c.Endpoint, c.Header = "http://"+listener.Addr().String(), http.Header{"Idempotency-Key": {"1"}}
	})
	t.Cleanup(client.CloseIdleConnections)
	if _, err := client.Apply(t.Context(), validApply()); err != nil {
		t.Fatal(err)
	}
	_, err = client.Apply(t.Context(), validApply())
	_ = wantKind(t, "second call", err, KindUnclear)
	if got := requests.Load(); got != 2 {
		t.Errorf("two calls made %d requests", got)
	}
}

// answerFirstThenClose answers the first request of each connection, reads the second and
// closes the connection, so that it looks as if it had been stale.
func answerFirstThenClose(listener net.Listener, requests *atomic.Int32) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		reader := bufio.NewReader(conn)
		for range 2 {
			request, err := http.ReadRequest(reader)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, request.Body)
			if requests.Add(1)%2 == 1 {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"billCode\":\"b\"}")
			}
		}
		_ = conn.Close()
	}
}

// story 25
func TestNoErrorTellsASecret(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		sign := r.Header.Get(HeaderSign)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"success":false,"errorCode":"%s","message":"want {}c4nary-secret got %s or %s, %s"}`,
			sign, sign, strings.ToUpper(sign), r.Header.Get("Authorization"))
	}
	raw := func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = fmt.Fprintf(conn, "%s c4nary-secret %s\r\n\r\n", r.Header.Get(HeaderSign), r.URL.RawQuery)
		_ = conn.Close()
	}
	for name, answer := range map[string]http.HandlerFunc{"echo": echo, "no HTTP": raw, "HTML": says(502, "<html>"), "closed port": nil} {
		g := newGateway(t, answer)
		client := g.client(t, func(c *Config) {
			c.Endpoint = strings.Replace(g.URL, "//", "//user:c4nary-password@", 1) + "/pay?token=c4nary-query"
			c.AppSecret = "c4nary-secret"
			c.Header = http.Header{"X-Token": {"c4nary-header"}}
			if name == "closed port" {
				c.Endpoint = strings.Replace(c.Endpoint, strings.TrimPrefix(g.URL, "http://"), closedPort(t), 1)
			}
		})
		_, err := client.Apply(t.Context(), validApply())
		text := fmt.Sprintf("%v %+v", err, err)
		e, _ := errors.AsType[*Error](err)
		text += e.Message + e.ErrorCode
		var sign string
		if name != "closed port" {
			sign = (<-g.requests).Header.Get(HeaderSign)
		}
		if strings.Contains(text, "c4nary") || sign != "" && strings.Contains(strings.ToLower(text), sign) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestOnlyComplaintsAboutTheKeyAreAboutTheKey(t *testing.T) {
	for message, want := range map[string]bool{
		"sign error": true, "Signature mismatch": true, "SIGN_ERROR": true, "invalidSign": true, "appKey not exists": true,
		"invalid API key": true, "app_key": true, "签名错误": true, "Unauthorized": true, "appSecret wrong": true,
		"": false, "design closed": false, "channel not assigned": false, "signal lost": false, "duplicate key": false, "order exists": false,
	} {
		if aboutKey(message) != want {
			t.Errorf("%q: %v", message, !want)
		}
	}
}

func FuzzGatewayAnswer(f *testing.F) {
	for _, wrap := range envelopes {
		f.Add(200, []byte(wrap(`{"tradeUuid":"u","billCode":"b","status":"SUCCESS","payTime":1754286321}`)))
	}
	f.Add(400, []byte(`{"success":false,"message":"sign error"}`))
	f.Add(200, []byte(`[[[[{}]]]]`))
	f.Add(200, []byte(`{"success":true,"result":"{\"a\":"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		client := testClient(t, func(c *Config) {
			c.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
			})
		})
		for operation, call := range operations {
			err := call(t, client)
			if err == nil {
				if status/100 != 2 {
					t.Fatalf("%s took a %d", operation, status)
				}
				continue
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Kind == KindNotSent || e.Kind == KindInvalid {
				t.Fatalf("%s: %v", operation, err)
			}
		}
		if a, err := client.GetPayStatus(t.Context(), []string{"u"}, nil); err == nil && a.Empty == (len(a.Rows) > 0) {
			t.Fatalf("%+v", a)
		}
	})
}
