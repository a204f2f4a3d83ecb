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
	"github.com/caddy-qlink/caddy-qlink/payment"
)

const (
	typeEvents = "text/event-stream"

	// comeBackAfter is when a browser connects again whose stream has ended.
	comeBackAfter = 2 * time.Second
)

// events answers GET /bills/{id}/events: the bill now, unless the client knows
// it, and then at each change until it has ended. Who comes back knowing the
// end gets a 204, which keeps a browser's EventSource from coming again.
func (h *Handler) events(w http.ResponseWriter, r *http.Request, id string) {
	watching, err := h.Payments.Watch(r.Context(), h.Scope, id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer watching.Stop()
	known := lastEvent(r)
	if b := watching.Bill; b.Status.Final() && b.Version == known {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.admit(w, r, watching.Bill)
	header := w.Header()
	header.Set("Content-Type", typeEvents)
	// What compresses or buffers on the way holds events back, and keeps an
	// encoder in memory for as long as somebody watches.
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	s := stream{Handler: h, request: r, writer: w, control: http.NewResponseController(w)}
	switch err := s.follow(watching, known); {
	case err == nil:
		s.bound() // what the server writes at the end
	case !errors.Is(err, errGone):
		h.Logger.Error("event stream", zap.String("bill", id), zap.Error(err))
	}
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
}

// follow sends the bill and what becomes of it, as long as there is something
// to tell and somebody to tell it to.
func (s *stream) follow(watching payment.Watching, known uint64) error {
	b := watching.Bill
	if err := s.begin(b, known); err != nil {
		return err
	}
	beat := time.NewTicker(s.Heartbeat)
	defer beat.Stop()
	for !b.Status.Final() {
		var err error
		select {
		case next, more := <-watching.Changes:
			if !more {
				return nil
			}
			b = next
			err = s.tell(b, "")
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
func (s *stream) begin(b bill.Bill, known uint64) error {
	retry := fmt.Sprintf("retry: %d\n\n", comeBackAfter.Milliseconds())
	if b.Version == known {
		return s.send(retry)
	}
	return s.tell(b, retry)
}

// tell sends a bill as an event, after what is given.
func (s *stream) tell(b bill.Bill, before string) error {
	body := s.encodeView(s.request, &b)
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
