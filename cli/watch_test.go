package cli_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// lines collects what is printed, and wakes who waits for a line.
type lines struct{ came chan string }

func newLines() lines { return lines{make(chan string, 100)} }

func (l lines) Write(p []byte) (int, error) {
	l.came <- string(p)
	return len(p), nil
}

func (l lines) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l.came:
		return line
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was printed")
		return ""
	}
}

func TestAChangeIsShownAsItComes(t *testing.T) {
	more := make(chan struct{})
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/watch": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, waiting+"\n")
		w.(http.Flusher).Flush()
		<-more
		_, _ = io.WriteString(w, paid+"\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}})
	out := newLines()
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan result)
	go func() { ended <- runHost(ctx, a.host, out, "", "watch") }()
	if line := out.next(t); !strings.HasPrefix(line, "2026-11-22 09:00:00Z  WAIT  1.10 IDR  O1  b-1  ") {
		t.Errorf("%q", line)
	}
	close(more)
	if line := out.next(t); !strings.HasPrefix(line, "2026-11-22 10:01:00Z  SUCCESS  15000 IDR  O2  b-2") {
		t.Errorf("%q", line)
	}
	interrupt()
	if r := <-ended; r.code != 0 || r.err != "" {
		t.Errorf("interrupted: %+v", r)
	}
}

func TestALostWatchIsTakenUpAgain(t *testing.T) {
	var calls atomic.Int32
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/watch": func(w http.ResponseWriter, r *http.Request) {
		switch calls.Add(1) {
		case 1:
			cutShort(waiting+"\n", `{"half`)(w, r)
		case 2: // in the middle of a reload
			says(503, `{"error":"no configuration"}`)(w, r)
		default:
			says(200, paid+"\n")(w, r)
		}
	}})
	r := a.run("watch", "--json", "--limit", "2").want(t, 0, waiting+"\n"+paid+"\n")
	if strings.Count(r.err, "The connection was lost") != 1 {
		t.Errorf("stderr %q", r.err)
	}
}

func TestAWatchThatCannotBeginIsAnError(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/watch": says(503, `{"error":"no configuration has this app"}`)})
	a.run("watch").complains(t, 1, "no configuration has this app")
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestAWatchThatCannotPrintEnds(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/watch": says(200, paid+"\n")})
	for _, args := range [][]string{{"watch"}, {"watch", "--json"}} {
		if r := runHost(t.Context(), a.host, full{}, "", args...); r.code != 1 {
			t.Errorf("%+v", r)
		}
	}
}

func TestAWatchSaysWhatItWantsToSee(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/watch": says(200, paid+"\n")})
	a.run("watch", "--order", "O2", "--status", "success", "--limit", "1").has(t, 0, "b-2")
	a.wantAsked("GET /qlink/watch?order=O2&status=SUCCESS")
}
