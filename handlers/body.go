package handlers

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// boundBody gives the client until BodyTimeout to send the request's body,
// however slowly it comes and whoever reads it: what an endpoint leaves unread
// is read by the server before it answers. A server that is set up to wait less
// keeps its own bound.
func (h *Handler) boundBody(w http.ResponseWriter, r *http.Request) {
	wait := h.BodyTimeout
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && server.ReadTimeout > 0 {
		wait = min(wait, server.ReadTimeout)
	}
	// By the system's clock, as sockets know no other.
	setBodyDeadline(w, r, time.Now().Add(wait))
}

// setBodyDeadline leaves requests without a body alone: a deadline that passes
// while the server watches their connection would end them.
func setBodyDeadline(w http.ResponseWriter, r *http.Request, deadline time.Time) {
	if r.ContentLength == 0 {
		return
	}
	// Who writes to something that has no deadlines is not a server.
	_ = http.NewResponseController(w).SetReadDeadline(deadline)
}

// readBody reads a request's whole body up to the limit, in bytes, beyond which
// it returns errTooLarge. It returns errBodyTimeout where the body did not come
// in time, errCutShort where it did not come whole.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := readUpTo(w, r, limit)
	if err != nil {
		// The deadline stays, and the connection ends: else the server would read
		// on, so as to use it again, and hold the answer back meanwhile.
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close")
		}
		return nil, err
	}
	setBodyDeadline(w, r, time.Time{})
	return body, nil
}

func readUpTo(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return body, nil
	case tooLarge:
		return nil, errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errBodyTimeout
	default:
		return nil, errCutShort
	}
}

// A body that is too large is read for a while after its answer, and thrown
// away: a connection that is closed while its client still sends is reset, and
// the client may never see why.
const (
	lingerFor  = time.Second
	lingerOver = 8 << 20 // bytes
)

// linger does so where the endpoint's answer ends the connection.
func linger(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 1 || r.ContentLength == 0 || w.Header().Get("Connection") != "close" {
		return
	}
	_ = http.NewResponseController(w).Flush()
	setBodyDeadline(w, r, time.Now().Add(lingerFor))
	_, _ = io.CopyN(io.Discard, r.Body, lingerOver)
}
