package watch

import (
	"context"
	"sync"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// maxUnread bounds the bills that a feed remembers for who does not read: some
// ten megabytes.
const maxUnread = 100_000

// Feed is a bill.Feed. A bill that changes twice between two reads is there
// once.
type Feed struct {
	hub  *Hub
	once sync.Once

	mu      sync.Mutex
	ids     []string
	unread  map[string]struct{}
	ended   bool
	changed chan struct{} // holds one token while there is something to read
}

// All subscribes to the versions of all bills. On a closed Hub the feed has
// ended from the start.
func (h *Hub) All() *Feed {
	f := &Feed{hub: h, unread: make(map[string]struct{}), changed: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		f.end()
		return f
	}
	if h.feeds == nil {
		h.feeds = make(map[*Feed]struct{})
	}
	h.feeds[f] = struct{}{}
	return f
}

// Next waits for changes, as bill.Feed says.
func (f *Feed) Next(ctx context.Context) ([]string, error) {
	for {
		f.mu.Lock()
		ids, ended := f.ids, f.ended
		if len(ids) > 0 {
			f.ids = nil
			clear(f.unread)
		}
		f.mu.Unlock()
		switch {
		case len(ids) > 0:
			return ids, nil
		case ended:
			return nil, bill.ErrUnavailable
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.changed:
		}
	}
}

// Stop ends the subscription.
func (f *Feed) Stop() {
	f.once.Do(func() {
		f.hub.mu.Lock()
		delete(f.hub.feeds, f)
		f.hub.mu.Unlock()
		f.end()
	})
}

func (f *Feed) tell(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.unread[id]; there || f.ended {
		return
	}
	if len(f.ids) == maxUnread {
		f.ended, f.ids, f.unread = true, nil, nil // what is missing must not pass for all
	} else {
		f.ids = append(f.ids, id)
		f.unread[id] = struct{}{}
	}
	f.wake()
}

func (f *Feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wake()
}

func (f *Feed) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Interface guard
var _ bill.Feed = (*Feed)(nil)
