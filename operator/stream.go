package operator

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// lines is an answer of NDJSON: a line an object, each sent at once or in
// bunches.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	flushed time.Time
}

// flushEvery is how long a line may wait for the next ones, so that a million
// of them are not a million packets.
const flushEvery = 100 * time.Millisecond

func startLines(w http.ResponseWriter) *lines {
	endless(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	return &lines{w: w, control: http.NewResponseController(w)}
}

// send writes one line.
func (l *lines) send(v any) error {
	text, err := encode(v)
	if err == nil {
		_, err = l.w.Write(text)
	}
	if err != nil || time.Since(l.flushed) < flushEvery {
		return err
	}
	return l.flush()
}

func (l *lines) flush() error {
	l.flushed = time.Now()
	return l.control.Flush()
}

// cut ends a stream that could not be finished so that nobody takes it for
// whole: the connection breaks.
func cut() { panic(http.ErrAbortHandler) }

// lastWrites is how long an answer may still be written when the configuration
// has stopped: a client that reads nothing holds up no exit.
const lastWrites = time.Second

// untilEnded is the request's context, ended also when the configuration stops.
func untilEnded(d Desk, w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		select {
		case <-d.Ended:
			cancel()
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(lastWrites)) // where it cannot be set, nothing blocks
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// serveWatch answers GET /qlink/watch: a line for each bill that changes, of
// those that the filters select, until the client goes or the configuration
// ends.
func serveWatch(d Desk, w http.ResponseWriter, r *http.Request) error {
	values, err := Parameters(r, filters...)
	if err != nil {
		return err
	}
	q, err := BillQuery(values, d.Now())
	if err != nil {
		return err
	}
	if q.Untold || !q.StuckAt.IsZero() {
		return refuse(http.StatusBadRequest, "untold and stuck are no changes that could be watched")
	}
	ctx, cancel := untilEnded(d, w, r)
	defer cancel()
	var l *lines
	err = d.Payments.Follow(ctx, func() {
		l = startLines(w)
		_ = l.flush() // who waits for the headers knows that nothing is missed from here on
	}, func(b bill.Bill) error {
		if !q.Selects(b) {
			return nil
		}
		if err := l.send(viewOf(b, d.Now())); err != nil {
			return err
		}
		return l.flush()
	})
	if l == nil {
		return err
	}
	return nil // the stream has begun: its end is all there is to say
}

// told is what became of one bill in a bulk act.
type told struct {
	Bill          string `json:"bill"`
	OrderCode     string `json:"orderCode"`
	Notifications int    `json:"redelivered"`
	Overtaken     int    `json:"overtaken"`
	Error         string `json:"error"`
}

// tally is a bulk act's last line.
type tally struct {
	Done          bool `json:"done"`
	DryRun        bool `json:"dryRun"`
	Bills         int  `json:"bills"`
	Notifications int  `json:"notifications"`
	Failed        int  `json:"failed"`
}

// mostRemembered bounds the bills that a bulk act remembers having seen to.
const mostRemembered = 100_000

// serveBulkRedeliver answers POST /qlink/redeliver: the shops are told again of
// what was given up (failed) or of everything (all), since a time.
func serveBulkRedeliver(d Desk, w http.ResponseWriter, r *http.Request) error {
	values, err := Parameters(r, "failed", "all", "since", "dry_run")
	if err != nil {
		return err
	}
	var failed, all, dry bool
	for name, set := range map[string]*bool{"failed": &failed, "all": &all, "dry_run": &dry} {
		if *set, err = flag(values, name); err != nil {
			return err
		}
	}
	since, err := timeOf(values, "since", d.Now())
	switch {
	case err != nil:
		return err
	case failed == all:
		return refuse(http.StatusBadRequest, "either failed or all has to be true")
	case since.IsZero():
		return refuse(http.StatusBadRequest, "since is missing: from when on notifications are sent again")
	}
	q := bill.NotificationQuery{Since: since, Limit: maxLimit}
	if failed {
		q.State = bill.Dead
	}
	return redeliverAll(d, w, r, q, dry)
}

func redeliverAll(d Desk, w http.ResponseWriter, r *http.Request, q bill.NotificationQuery, dry bool) error {
	by := d.Payments.Operator(actor(r))
	page, next, err := d.Payments.Notifications(r.Context(), q)
	if err != nil {
		return err
	}
	l := startLines(w)
	total := tally{Done: true, DryRun: dry}
	seen := make(map[string]bool)
	for {
		for _, n := range page {
			if seen[n.Bill] {
				continue
			}
			if len(seen) == mostRemembered {
				clear(seen)
			}
			seen[n.Bill] = true
			line := tellAgain(r.Context(), by, n, dry)
			total.Bills++
			total.Notifications += line.Notifications
			if line.Error != "" {
				total.Failed++
			}
			if err := l.send(line); err != nil || r.Context().Err() != nil {
				cut()
			}
		}
		if next == "" {
			break
		}
		q.Cursor = next
		if page, next, err = d.Payments.Notifications(r.Context(), q); err != nil {
			cut()
		}
	}
	if err := l.send(total); err != nil {
		cut()
	}
	return nil
}

func tellAgain(ctx context.Context, by payment.Operator, n bill.Notification, dry bool) told {
	line := told{Bill: n.Bill, OrderCode: n.OrderCode}
	if dry {
		line.Notifications = 1
		return line
	}
	again, err := by.Redeliver(ctx, n.Bill)
	if err != nil && !errors.Is(err, context.Canceled) {
		line.Error = err.Error()
	}
	line.Notifications, line.Overtaken = len(again.Sent), len(again.Overtaken)
	return line
}
