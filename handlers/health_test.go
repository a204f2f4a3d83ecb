package handlers_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

func TestANodeIsWellWhileItCanReadItsStore(t *testing.T) {
	for name, test := range map[string]struct {
		err        error
		status     int
		body       string
		retryAfter string
	}{
		"all is well":   {nil, 200, `{"status":"ok"}`, ""},
		"no store":      {fmt.Errorf("read bill: %w", bill.ErrUnavailable), 503, `"code":"unavailable"`, "10"},
		"another fault": {errors.New("canary"), 500, `"code":"internal_error"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.engine.billErr = test.err
			w := s.do(get("/qlink/health"))
			wantStatus(t, w, test.status)
			wantContains(t, w.Body.String(), test.body)
			wantHeader(t, w.Header(), "Retry-After", test.retryAfter)
			wantHeader(t, w.Header(), "Cache-Control", "no-store")
			if n := s.logs.Len(); n != 0 {
				t.Errorf("each question writes %d lines into the log", n)
			}
		})
	}
	w := newSite(t).do(post("/qlink/health", ""))
	wantStatus(t, w, http.StatusMethodNotAllowed)
	wantHeader(t, w.Header(), "Allow", "GET, HEAD")
}
