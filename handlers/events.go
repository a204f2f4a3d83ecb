package handlers

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

const (
	typeEvents = "text/event-stream"

	// comeBackAfter is when a browser connects again whose stream has ended.
	comeBackAfter = 2 * time.Second
)

// events answers GET /bills/{id}/events: the bill now, unless the client knows
// it, and then at each change until it has ended. Who comes back knowing the
// end gets a 204, which keeps a browser's EventSource from coming again.
//
// It may take hours, so it leaves little on its stack: what has to be read, and
// to be said first, is done by a function that returns.
func (h *Handler) events(w http.ResponseWriter, r *http.Request, id string) {
	s, err := h.stream(w, r, id)
	if s != nil {
		defer s.stop()
		if err == nil {
			err = s.follow()
		}
		if err == nil {
			s.bound() // what the server writes at the end
		}
	}
	if err != nil && !errors.Is(err, errGone) {
		h.Logger.Error("event stream", zap.String("bill", id), zap.Error(err))
	}
}

// stream answers with the bill as it is, and returns what is to follow it: nil
// where that was all, or an error was answered. What it returns has to be
// stopped.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, id string) (s *stream, err error) {
	watching, err := h.Payments.Watch(r.Context(), h.Scope, id)
	if err != nil {
		h.fail(w, r, err)
		return nil, nil
	}
	defer func() {
		if s == nil { // also after a panic: a watch keeps the store leased
			watching.Stop()
		}
	}()
	b, known := &watching.Bill, lastEvent(r)
	if b.Status.Final() && b.Version == known {
		w.WriteHeader(http.StatusNoContent)
		return nil, nil
	}
	h.admit(w, r, *b)
	header := w.Header()
	header.Set("Content-Type", typeEvents)
	// What compresses or buffers on the way holds events back, and keeps an
	// encoder in memory for as long as somebody watches.
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil, nil
	}
	begun := &stream{
		Handler: h, request: r, writer: w, control: http.NewResponseController(w),
		changes: watching.Changes, stop: watching.Stop, final: b.Status.Final(),
	}
	err = begun.begin(b, known)
	return begun, err
}

// lastEvent returns the version of the bill that the client has seen last, 0
// for none.
func lastEvent(r *http.Request) uint64 {
	version, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		return 0
	}
	return version
}

// errGone: the client takes no more.
var errGone = errors.New("the client has gone")

// stream is one client's.
type stream struct {
	*Handler

	request *http.Request
	writer  http.ResponseWriter
	control *http.ResponseController
	changes <-chan *bill.Bill
	stop    func()
	final   bool // the bill has ended, as far as the client was told
}

// follow sends what becomes of the bill, as long as there is something to tell
// and somebody to tell it to.
func (s *stream) follow() error {
	beat := time.NewTicker(s.Heartbeat)
	defer beat.Stop()
	for !s.final {
		var err error
		select {
		case next, more := <-s.changes:
			if !more {
				return nil
			}
			s.final = next.Status.Final()
			err = s.tell(next, "")
		case <-beat.C:
			err = s.send(": \n\n")
		case <-s.Draining:
			return nil
		case <-s.request.Context().Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// begin sends the bill unless the client knows it, and something in any case:
// only then does the client learn that it is connected.
func (s *stream) begin(b *bill.Bill, known uint64) error {
	retry := fmt.Sprintf("retry: %d\n\n", comeBackAfter.Milliseconds())
	if b.Version == known {
		return s.send(retry)
	}
	return s.tell(b, retry)
}

// tell sends a bill as an event, after what is given.
func (s *stream) tell(b *bill.Bill, before string) error {
	body := s.encodeView(s.request, b)
	return s.send(fmt.Sprintf("%sid: %d\nevent: bill\ndata: %s\n\n", before, b.Version, body))
}

// send writes and flushes, or returns errGone where the client does not take it
// in time. Between two sends there is no deadline: HTTP/2 ends a stream when
// one passes, though nothing is being written.
func (s *stream) send(text string) error {
	s.bound()
	if _, err := io.WriteString(s.writer, text); err != nil {
		return errGone
	}
	if err := s.control.Flush(); err != nil {
		return errGone // or nothing here can flush: then only the answer's end sends it
	}
	s.setDeadline(time.Time{})
	return nil
}

// bound gives the client SendTimeout for what is written now, by the system's
// clock, as sockets know no other.
func (s *stream) bound() { s.setDeadline(time.Now().Add(s.SendTimeout)) }

// setDeadline does nothing to what has no deadlines: it is not a server's.
func (s *stream) setDeadline(deadline time.Time) { _ = s.control.SetWriteDeadline(deadline) }
