// Package watch tells those who wait for a bill that its version has moved. It
// holds no bills and starts no goroutines; telling never blocks, whatever the
// watchers do.
//
// A store has one Hub and calls Tell after each commit.
package watch

import "sync"

// Hub knows who watches what. The zero value is ready for use, and safe for
// concurrent use.
type Hub struct {
	mu       sync.Mutex
	watchers map[string]map[chan uint64]struct{}
	feeds    map[*Feed]struct{}
	closed   bool
}

// Watch subscribes to the versions of one bill. The channel holds the newest
// version that was not received yet. It is closed by stop, which may be called
// more than once, and by Close; on a closed Hub it is closed from the start.
func (h *Hub) Watch(id string) (versions <-chan uint64, stop func()) {
	channel := make(chan uint64, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(channel)
		return channel, func() {}
	}
	if h.watchers == nil {
		h.watchers = make(map[string]map[chan uint64]struct{})
	}
	if h.watchers[id] == nil {
		h.watchers[id] = make(map[chan uint64]struct{})
	}
	h.watchers[id][channel] = struct{}{}
	return channel, func() { h.drop(id, channel) }
}

func (h *Hub) drop(id string, channel chan uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, watching := h.watchers[id][channel]; !watching {
		return
	}
	close(channel)
	delete(h.watchers[id], channel)
	if len(h.watchers[id]) == 0 {
		delete(h.watchers, id)
	}
}

// Tell hands a bill's new version to all who watch it. Calls for one bill have
// to come in the order of its versions.
func (h *Hub) Tell(id string, version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for channel := range h.watchers[id] {
		// Only Tell sends, under the lock: once the old version is taken out,
		// by us or by the receiver, there is room for the new one.
		select {
		case <-channel:
		default:
		}
		channel <- version
	}
	for feed := range h.feeds {
		feed.tell(id)
	}
}

// Reset ends all watches of now; later ones are taken.
func (h *Hub) Reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reset()
}

// Close ends all watches, now and later ones.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.reset()
}

// reset must be called under the lock.
func (h *Hub) reset() {
	for _, channels := range h.watchers {
		for channel := range channels {
			close(channel)
		}
	}
	h.watchers = nil
	for feed := range h.feeds {
		feed.end()
	}
	h.feeds = nil
}
