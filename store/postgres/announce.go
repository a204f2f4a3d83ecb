package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// maxPayload is how many bytes a notification may hold (PostgreSQL's NOTIFY
// takes less than 8000).
const maxPayload = 7900

// announcer notifies the other nodes of what was committed: of versions and the
// ids of bills, nothing else. It does so after the commit and for many commits at
// once, since PostgreSQL lets only one transaction that notifies commit at a
// time. What gets lost here is found by the others' polls.
type announcer struct {
	store *store
	wake  chan struct{}

	mu      sync.Mutex
	pending map[string]uint64 // versions by bill
}

func newAnnouncer(s *store) *announcer {
	return &announcer{store: s, wake: make(chan struct{}, 1), pending: make(map[string]uint64)}
}

// announce never blocks.
func (a *announcer) announce(moved []move) {
	if !a.store.settings.Load().listen || len(moved) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range moved {
		a.pending[m.id] = max(a.pending[m.id], m.version)
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be announced, as payloads.
func (a *announcer) take() (payloads []string) {
	a.mu.Lock()
	pending := a.pending
	a.pending = make(map[string]uint64)
	a.mu.Unlock()
	var payload strings.Builder
	for id, version := range pending {
		line := fmt.Sprintf("%d %s\n", version, text(id))
		if len(line) > maxPayload || strings.ContainsAny(id, "\r\n") {
			continue // none of ours; the others' polls find it
		}
		if payload.Len()+len(line) > maxPayload {
			payloads = append(payloads, payload.String())
			payload.Reset()
		}
		payload.WriteString(line)
	}
	if payload.Len() > 0 {
		payloads = append(payloads, payload.String())
	}
	return payloads
}

func (a *announcer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		payloads := a.take()
		if len(payloads) == 0 {
			continue
		}
		if err := a.notify(ctx, payloads); err != nil && ctx.Err() == nil {
			a.store.logger().Debug("the other nodes were not notified; they poll", zap.Error(err))
			pause(ctx, pollEvery)
		}
	}
}

// notify sends the payloads in one transaction, which writes nothing and is not
// waited for by any commit.
func (a *announcer) notify(ctx context.Context, payloads []string) error {
	return a.store.execute(ctx, `SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload`, a.store.channel(), payloads)
}
