package postgres

import (
	"context"
	"sync"
)

// health tells calls whether the database can be reached. The follower finds
// out; calls that are under way when it goes are ended.
type health struct {
	mu     sync.Mutex
	reason error           // why it is down; nil: it is up
	period context.Context //nolint:containedctx // lasts as long as the database is up
	end    context.CancelFunc
}

// up returns a context that ends when the database goes, or why it is gone.
func (h *health) up() (context.Context, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.period, h.reason
}

// err returns why the database is gone, or nil.
func (h *health) err() error {
	_, err := h.up()
	return err
}

// rise says that it is there, and reports whether that is news.
func (h *health) rise() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason == nil {
		return false
	}
	h.reason = nil
	h.period, h.end = context.WithCancel(context.Background())
	return true
}

// down says that it is gone, and reports whether that is news.
func (h *health) down(reason error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := h.reason == nil
	h.reason = reason
	if h.end != nil {
		h.end()
		h.end = nil
	}
	return news
}
