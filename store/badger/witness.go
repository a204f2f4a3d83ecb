package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
)

// witnessName is the file that the witness keeps in the store's folder.
const witnessName = "witness"

// witnessPause is how long a witness waits for more changes before it writes:
// so long, and the time of a write, it is behind the store at the most.
const witnessPause = 50 * time.Millisecond

// testimony is what a witness's file holds, as a record under the file's name.
type testimony struct {
	state
	// Damage says what was found, where Badger cannot be relied upon to show it
	// once more: its first opening mends the files and forgets what was wrong.
	Damage string `json:"damage,omitempty"`
}

// witness keeps a small file beside the store, of how far the store had come.
// It writes off the path of commits and after them: it may be a moment behind
// what is durable, never ahead.
//
// An operator who wants a store that has lost something to be opened all the
// same removes the file; nothing else makes it forget.
type witness struct {
	dir    string
	logger func() *zap.Logger

	mu   sync.Mutex
	seen testimony

	moved  chan struct{} // of one signal: seen is not what was written
	ending chan struct{}
	ended  chan struct{}
	err    error // of the last write; to be read when the witness has ended
}

// startWitness begins with what the file holds, the zero testimony if there is
// none.
func startWitness(dir string, logger func() *zap.Logger, held testimony) *witness {
	w := &witness{
		dir: dir, logger: logger, seen: held,
		moved: make(chan struct{}, 1), ending: make(chan struct{}), ended: make(chan struct{}),
	}
	go w.run(held)
	return w
}

// saw takes note of a state that is durable. It is quick and never waits.
func (w *witness) saw(s state) {
	w.note(func(seen *testimony) { seen.state = s })
}

// found takes note of damage, which the store's next opening will name.
func (w *witness) found(damage error) {
	w.note(func(seen *testimony) { seen.Damage = damage.Error() })
}

func (w *witness) note(change func(*testimony)) {
	w.mu.Lock()
	change(&w.seen)
	w.mu.Unlock()
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

// stop writes what was seen last, and returns when that is done.
func (w *witness) stop() error {
	close(w.ending)
	<-w.ended
	return w.err
}

func (w *witness) run(written testimony) {
	defer close(w.ended)
	for {
		select {
		case <-w.moved:
			w.pause()
		case <-w.ending:
			w.testify(&written)
			return
		}
		w.testify(&written)
	}
}

// pause lets more changes come.
func (w *witness) pause() {
	timer := time.NewTimer(witnessPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.ending:
	}
}

// testify writes what was seen, if it is not what was written. A failure is
// logged once, and tried again.
func (w *witness) testify(written *testimony) {
	w.mu.Lock()
	seen := w.seen
	w.mu.Unlock()
	if seen == *written {
		return
	}
	err := writeTestimony(w.dir, seen)
	switch {
	case err == nil:
		*written = seen
	case w.err == nil:
		w.logger().Error("the store's witness cannot be written, which is tried again; "+
			"meanwhile a store that lost its last changes would not be noticed", zap.String("dir", w.dir), zap.Error(err))
		fallthrough
	default:
		w.note(func(*testimony) {})
	}
	w.err = err
}

// readTestimony reads the file; found is false where there is none.
func readTestimony(dir string) (t testimony, found bool, err error) {
	record, err := os.ReadFile(filepath.Join(dir, witnessName))
	if errors.Is(err, fs.ErrNotExist) {
		return testimony{}, false, nil
	}
	if err != nil {
		return testimony{}, false, err
	}
	t, err = openRecord[testimony]([]byte(witnessName), record)
	switch {
	case errors.Is(err, ErrNewerFormat):
		return testimony{}, false, err
	case err != nil:
		return testimony{}, false, fmt.Errorf("its witness cannot be read, so that nobody knows whether changes are missing; %s: %w", wayOut, err)
	case t.Damage != "":
		return testimony{}, false, fmt.Errorf("%w: found earlier: %s", ErrDamaged, t.Damage)
	}
	return t, true, nil
}

// writeTestimony replaces the file as a whole, or not at all.
func writeTestimony(dir string, t testimony) (err error) {
	record, err := seal([]byte(witnessName), t)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, witnessName)
	if err := writeSynced(path+".new", record); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDirectory(dir)
}

func writeSynced(path string, content []byte) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.Sync()
}
