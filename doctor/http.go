package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxBody is what is read of an answer, in bytes.
const maxBody = 64 << 10

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSHandshakeTimeout:    defaultTimeout,
		IdleConnTimeout:        defaultTimeout,
		MaxResponseHeaderBytes: maxBody,
		ForceAttemptHTTP2:      true,
	}
}

func newClient(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// reply is what answered to a POST.
type reply struct {
	status int
	header http.Header
	body   []byte
	sight  sight
}

// post sends a JSON body. Its error does not name the URL.
func (x *examination) post(ctx context.Context, address string, header http.Header, body []byte) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return reply{}, errors.New("no request can be made of this URL")
	}
	if header != nil {
		request.Header = header
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "caddy-qlink doctor")
	before := x.Now()
	response, err := x.client.Do(request)
	if err != nil {
		return reply{}, cause(err)
	}
	defer func() { _ = response.Body.Close() }() // all that is wanted of it has been read
	r := reply{status: response.StatusCode, header: response.Header, sight: seen(response, before, x.Now())}
	r.body, err = io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return reply{}, cause(err)
	}
	return r, nil
}

// cause takes off the wrapping that names the URL, which may hold a token.
func cause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// sight is what an answer tells by the way.
type sight struct {
	ahead time.Duration // of this machine's clock before the other's
	clock bool          // the other told the time
	tls   *tls.ConnectionState
}

// seen compares the answer's Date with the middle of the call. The header has
// whole seconds: half of one is added for what was cut off.
func seen(r *http.Response, before, after time.Time) sight {
	s := sight{tls: r.TLS}
	if at, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		s.ahead = before.Add(after.Sub(before) / 2).Sub(at.Add(time.Second / 2))
		s.clock = true
	}
	return s
}

// witness carries requests and keeps what the first answer told by the way.
type witness struct {
	next http.RoundTripper
	now  func() time.Time

	mu    sync.Mutex
	first *sight
}

// RoundTrip sends the request on.
func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	before := w.now()
	response, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	s := seen(response, before, w.now())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.first = &s
	}
	return response, nil
}

// sight returns what the first answer told; nothing where there was none.
func (w *witness) sight() sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		return sight{}
	}
	return *w.first
}
