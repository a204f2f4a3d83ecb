package handlers

import (
	"container/list"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// What one client may get wrong, and how many clients are remembered.
const (
	forgeryBurst  = 1000            // failed signatures at once …
	forgeryRate   = rate.Limit(20)  // … and a second, after those
	forgersKept   = 10_000          // whose last failure is oldest is forgotten
	forgeryReport = 1 * time.Minute // between two lines in the log about one client beyond its limit
)

// Forgeries counts requests with a missing or wrong signature by client, and
// bounds what they cost: beyond a generous number they are refused with 429
// and not logged one by one. It is asked after a signature has failed, never
// before, so that a genuine request is not limited whoever else is behind its
// address.
//
// It lives in the memory of one process, of a bounded size. The zero value is
// ready, and safe for concurrent use.
type Forgeries struct {
	mu      sync.Mutex
	clients map[string]*list.Element // of *forger
	recent  list.List                // who failed last comes first
}

// forger is a client that failed.
type forger struct {
	client   string
	bucket   *rate.Limiter
	refused  int // beyond the bucket and not reported yet
	reported time.Time
}

// count takes note of a failure. It returns whether the client is beyond its
// limit, and how many refusals are to be reported now, 0 for none.
func (f *Forgeries) count(client string, now time.Time) (beyond bool, report int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.find(client)
	if c.bucket.AllowN(now, 1) {
		return false, 0
	}
	c.refused++
	if !c.reported.IsZero() && now.Before(c.reported.Add(forgeryReport)) {
		return true, 0
	}
	report, c.refused, c.reported = c.refused, 0, now
	return true, report
}

// find returns the client, as the one who failed last. It is called under the
// lock.
func (f *Forgeries) find(client string) *forger {
	if known, ok := f.clients[client]; ok {
		f.recent.MoveToFront(known)
		return known.Value.(*forger)
	}
	if f.clients == nil {
		f.clients = make(map[string]*list.Element)
	}
	if len(f.clients) == forgersKept {
		oldest := f.recent.Remove(f.recent.Back()).(*forger)
		delete(f.clients, oldest.client)
	}
	c := &forger{client: client, bucket: rate.NewLimiter(forgeryRate, forgeryBurst)}
	f.clients[client] = f.recent.PushFront(c)
	return c
}

// beyondForgeries counts and logs a request whose signature failed, and
// reports whether its client has sent too many of them.
func (h *Handler) beyondForgeries(r *http.Request, what string, fields ...zap.Field) bool {
	beyond, report := h.Forgeries.count(h.client(r), h.Now())
	log := h.Logger.With(append(fields, zap.String("client", h.ClientIP(r)))...)
	switch {
	case !beyond:
		log.Warn(what)
	case report > 0:
		log.Warn("too many badly signed requests: they are refused with 429, and not logged for a while", zap.Int("refused", report))
	}
	return beyond
}
