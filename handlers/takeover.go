package handlers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// OrderType is the content type of an answer that is an order.
const OrderType = "application/vnd.qlink.order+json"

// takeover stands between upstream and the buyer. At the final header it
// decides, once, whether the answer is an order. If it is not, everything
// passes through; if it is, nothing does: the body is kept, up to a cap, and
// the headers are put back as they were before upstream was asked.
//
// The header map is the real one, shared with the handlers around us, so what
// upstream leaves in it, trailers included, has to be taken out again.
type takeover struct {
	http.ResponseWriter

	before   http.Header // the headers as the handlers around us had set them
	decided  bool
	taken    bool
	aborted  bool // upstream broke off in the middle of the order
	status   int
	encoding []string
	cookies  []string
	body     bytes.Buffer
	overflow bool
}

func newTakeover(w http.ResponseWriter) *takeover {
	return &takeover{ResponseWriter: w, before: w.Header().Clone()}
}

// serve asks upstream and brings the headers in order. A proxy panics with
// http.ErrAbortHandler when the other side breaks off; where that cuts an
// order, there is still something to tell the buyer.
func (t *takeover) serve(r *http.Request, next func(http.ResponseWriter, *http.Request) error) (err error) {
	defer func() {
		if t.taken {
			t.restore()
		}
	}()
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == http.ErrAbortHandler && t.taken: //nolint:errorlint // a panic's value is the sentinel itself
			t.aborted = true
		default:
			panic(p)
		}
	}()
	err = next(t, r)
	switch {
	case t.decided || !isOrderType(t.Header()):
	case err != nil:
		// Nothing is written yet: whoever words the error must not do so under
		// the order's headers.
		t.restore()
	default:
		t.decide(http.StatusOK)
	}
	return err
}

// isOrder reports whether the answer was taken over.
func (t *takeover) isOrder() bool { return t.taken }

// Unwrap lets http.ResponseController reach what needs no care here.
func (t *takeover) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// WriteHeader passes informational answers on and decides at the final one.
// 101 is final: the connection changes hands.
func (t *takeover) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		if !t.taken {
			t.ResponseWriter.WriteHeader(status)
		}
		return
	}
	t.decide(status)
	if !t.taken {
		t.ResponseWriter.WriteHeader(status)
	}
}

func (t *takeover) decide(status int) {
	if t.decided {
		return
	}
	t.decided, t.status = true, status
	if !isOrderType(t.Header()) {
		return
	}
	t.taken = true
	t.encoding = t.Header().Values("Content-Encoding")
	t.cookies = t.Header().Values("Set-Cookie")
}

// Write keeps what belongs to an order and passes on the rest.
func (t *takeover) Write(p []byte) (int, error) {
	t.decide(http.StatusOK)
	if !t.taken {
		return t.ResponseWriter.Write(p)
	}
	t.keep(p)
	return len(p), nil
}

// ReadFrom lets the buyer's connection copy by itself, which costs no memory
// of ours, where the answer is known not to be an order. Before that, it takes
// a first byte to decide: a handler may copy nothing and go on to the headers.
func (t *takeover) ReadFrom(r io.Reader) (int64, error) {
	if t.decided && !t.taken {
		return io.Copy(t.ResponseWriter, r)
	}
	return io.Copy(writerOnly{t}, r)
}

// writerOnly hides ReadFrom, which would call itself for ever.
type writerOnly struct{ io.Writer }

// keep stores the order up to its cap. What is beyond is forgotten but taken,
// so that upstream may finish.
func (t *takeover) keep(p []byte) {
	room := bill.MaxOrderSize + 1 - t.body.Len()
	if len(p) > room {
		p, t.overflow = p[:max(room, 0)], true
	}
	t.body.Write(p)
}

// FlushError sends what is written so far, which of an order is nothing.
func (t *takeover) FlushError() error {
	t.decide(http.StatusOK)
	if t.taken {
		return nil
	}
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// Flush is for callers that look for http.Flusher.
func (t *takeover) Flush() {
	// There is no way to tell such a caller.
	_ = t.FlushError()
}

// Hijack hands over the connection, unless an answer to an order is to be sent
// on it.
func (t *takeover) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if t.taken {
		return nil, nil, http.ErrNotSupported
	}
	return http.NewResponseController(t.ResponseWriter).Hijack()
}

// restore puts the headers back as they were, but for the order's cookies.
func (t *takeover) restore() {
	header := t.Header()
	clear(header)
	maps.Copy(header, t.before.Clone())
	if len(t.cookies) > 0 {
		header["Set-Cookie"] = t.cookies
	}
}

// order returns the body of the answer, decoded.
func (t *takeover) order() ([]byte, error) {
	switch {
	case t.aborted:
		return nil, errors.New("upstream broke off in the middle of an order")
	case (t.status < 200 || t.status > 299) && t.status != http.StatusPaymentRequired:
		return nil, fmt.Errorf("upstream sent an order with status %d: it must be 2xx or 402", t.status)
	case t.overflow:
		return nil, errOrderTooLarge
	}
	return decode(t.body.Bytes(), t.encoding)
}

// isOrderType reports whether any content type set is that of an order. It
// errs on the side of taking over: an order must never reach the buyer.
func isOrderType(header http.Header) bool {
	for _, value := range header.Values("Content-Type") {
		for element := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(element, ";")
			if strings.EqualFold(strings.TrimSpace(name), OrderType) {
				return true
			}
		}
	}
	return false
}
