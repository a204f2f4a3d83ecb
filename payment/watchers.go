package payment

import (
	"maps"
	"slices"
	"sync"
)

// watchers counts who waits for which bill. A bill that somebody watches is
// asked after at MinInterval, however old it is.
type watchers struct {
	mu   sync.Mutex
	byID map[string]int
}

// add counts a watcher until the returned function is called.
func (w *watchers) add(id string) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byID == nil {
		w.byID = make(map[string]int)
	}
	w.byID[id]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.byID[id]--; w.byID[id] == 0 {
			delete(w.byID, id)
		}
	}
}

// ids returns the bills that somebody watches.
func (w *watchers) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.byID))
}
