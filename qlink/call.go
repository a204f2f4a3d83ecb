package qlink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	// maxAnswer caps what is read of an answer: 1 MiB is some thousands of rows.
	maxAnswer = 1 << 20
	// maxMessage caps what is kept of the gateway's words in an error.
	maxMessage = 512
)

var errTooLong = errors.New("the answer is longer than 1 MiB")

// newTransport returns the transport of a client that was given none. All connections go
// to one host, and a gateway that can't be reached must be known before a buyer leaves.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
}

// headerOf returns what makes the header of a request with a signature. The document's
// names are written as it spells them; net/http would write Appkey.
func headerOf(config Config) func(sign string) http.Header {
	base := http.Header{"User-Agent": {"caddy-qlink"}, "Accept": {"application/json"}}
	for name, values := range config.Header {
		base[http.CanonicalHeaderKey(name)] = values
	}
	base.Set("Content-Type", "application/json")
	base[HeaderAppKey] = []string{config.AppKey}
	if config.Edition == EditionGlobal {
		base[HeaderServiceProvider] = []string{config.ServiceProvider}
	}
	base = base.Clone()
	return func(sign string) http.Header {
		h := base.Clone()
		h[HeaderSign] = []string{sign}
		return h
	}
}

// redactorOf returns what takes every secret out of text that comes from elsewhere: a
// gateway may repeat what it was sent, and a transport may quote what it could not read.
func redactorOf(config Config, endpoint *url.URL) func(text, sign string) string {
	const telling = 8 // a shorter header value is a word or a number, and no secret
	secrets := []string{config.AppSecret, endpoint.RawQuery}
	if endpoint.User != nil {
		password, _ := endpoint.User.Password()
		secrets = append(secrets, endpoint.User.String(), password)
	}
	for _, values := range config.Header {
		for _, v := range values {
			if len(v) >= telling {
				secrets = append(secrets, v)
			}
		}
	}
	return func(text, sign string) string {
		for _, secret := range append(slices.Clone(secrets), sign, strings.ToUpper(sign)) {
			if secret != "" {
				text = strings.ReplaceAll(text, secret, "[redacted]")
			}
		}
		return text
	}
}

// exchange is one call to the gateway: what was sent, and what came of it.
type exchange struct {
	answer
	client    *Client
	operation string
	sign      string
	status    int // 0 if there was no answer
}

// call sends one request, once. Without an error the answer is that of a gateway that says,
// or doesn't deny, that it did what was asked. Every error is an *Error.
func (c *Client) call(ctx context.Context, operation string, body []byte) (*exchange, error) {
	x := &exchange{client: c, operation: operation, sign: c.sign(body)}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	raw, reached, err := x.post(ctx, body)
	if err != nil && !reached {
		return nil, x.fail(KindNotSent, err)
	}
	if err == nil {
		x.answer, err = parseAnswer(raw)
	}
	if err != nil {
		x.answer = answer{} // what an unreadable answer began with proves nothing
		return nil, x.fail(x.kind(), err)
	}
	if x.status/100 != 2 || x.refused() {
		return nil, x.fail(x.kind(), nil)
	}
	return x, nil
}

// post returns the body of the answer, and whether the request may have reached the gateway.
func (x *exchange) post(ctx context.Context, body []byte) (raw []byte, reached bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	var trail trail
	request, err := x.request(trail.follow(ctx), body)
	if err != nil {
		return nil, false, err
	}
	response, err := x.client.http.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the wrapping names the URL
		}
		return nil, trail.reached(err), err
	}
	defer func() { _ = response.Body.Close() }() // all that it held has been read, or is not wanted
	x.status = response.StatusCode
	raw, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err == nil && len(raw) > maxAnswer {
		err = errTooLong
	}
	return raw, true, err
}

// request makes the HTTP request of a body. A stale connection of the pool is replaced by
// net/http itself, which is harmless as long as nothing was written to it; that is what
// GetBody is for. With one of the idempotency headers it would also repeat a POST that may
// have arrived, and report the second answer only; taking GetBody away prevents that.
func (x *exchange) request(ctx context.Context, body []byte) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, x.client.address(x.operation), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the request could not be made")
	}
	request.Header = x.client.header(x.sign)
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
		request.Header.Del("Host")
	}
	if request.Header["Idempotency-Key"] != nil || request.Header["X-Idempotency-Key"] != nil {
		request.GetBody = nil
	}
	return request, nil
}

// trail notes how far a request got. Transports call the hooks from other goroutines.
type trail struct {
	wanted, got atomic.Bool // a connection
}

func (t *trail) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { t.wanted.Store(true) },
		GotConn:      func(httptrace.GotConnInfo) { t.got.Store(true) },
		WroteHeaders: func() { t.got.Store(true) },
	})
}

// reached says whether a request that ended in err may have reached the gateway. It takes
// evidence to deny it: a transport that calls the hooks and never had a connection (name,
// dial, TLS handshake and a time-out before them fail so), or an error of the dialling.
func (t *trail) reached(err error) bool {
	if t.got.Load() {
		return true
	}
	if t.wanted.Load() {
		return false
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return false
	}
	op, ok := errors.AsType[*net.OpError](err)
	return !ok || op.Op != "dial"
}

// kind sorts what came back. Only the gateway's own words, in JSON, are a refusal: a status
// alone may be that of anything in between.
func (x *exchange) kind() Kind {
	switch {
	case x.status == http.StatusUnauthorized || x.status == http.StatusForbidden:
		return KindAuth
	case x.status == http.StatusRequestTimeout || x.status == http.StatusTooEarly || x.status == http.StatusTooManyRequests:
		return KindUnclear
	case aboutKey(x.message) || aboutKey(x.errorCode):
		return KindAuth
	case x.status/100 == 2 && x.refused():
		return KindRefused
	case x.status/100 == 4 && x.refusesByStatus():
		return KindRefused
	default:
		return KindUnclear
	}
}

// refusesByStatus says whether an answer with a 4xx status explains itself in the gateway's
// way. One that claims success at the same time proves nothing.
func (x *exchange) refusesByStatus() bool {
	if x.success != nil {
		return x.refused()
	}
	return x.message != "" || x.errorCode != ""
}

// unclear is the failure of an answer that is no refusal but lacks what it must hold.
func (x *exchange) unclear(err error) error {
	kind := KindUnclear
	if x.kind() == KindAuth {
		kind = KindAuth
	}
	return x.fail(kind, err)
}

func (x *exchange) fail(kind Kind, err error) error {
	clean := func(s string) string { return x.client.redact(s, x.sign) }
	if err != nil {
		err = &redacted{text: clean(err.Error()), cause: err}
	}
	return &Error{
		Operation:  x.operation,
		HTTPStatus: x.status,
		Message:    shorten(clean(x.message)),
		ErrorCode:  shorten(clean(x.errorCode)),
		Kind:       kind,
		Err:        err,
	}
}

// shorten cuts at a character's beginning.
func shorten(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	end := maxMessage
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
