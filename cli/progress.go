package cli

import (
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
)

// bar shows how far long work has come, to whoever sits at a terminal. It is
// on standard error, and stays away where results are printed there line by
// line.
type bar struct {
	writer  progress.Writer
	tracker *progress.Tracker
	ended   chan struct{}
}

// bar begins one of so many steps; 0: nobody knows how many.
func (s *session) bar(title string, total int64, units progress.Units) *bar {
	if !isTerminal(s.out.err) || s.out.json && isTerminal(s.out.out) {
		return nil
	}
	w := progress.NewWriter()
	w.SetOutputWriter(s.out.err)
	w.SetUpdateFrequency(100 * time.Millisecond)
	w.SetTrackerPosition(progress.PositionRight)
	w.SetStyle(progress.StyleBlocks)
	w.Style().Visibility.ETA = total > 0
	w.Style().Visibility.Percentage = total > 0
	b := &bar{writer: w, tracker: &progress.Tracker{Message: title, Total: total, Units: units}, ended: make(chan struct{})}
	w.AppendTracker(b.tracker)
	go func() {
		defer close(b.ended)
		w.Render()
	}()
	return b
}

func (b *bar) add(n int64) {
	if b != nil {
		b.tracker.Increment(n)
	}
}

// end takes the bar off its last state, whatever became of the work.
func (b *bar) end(err error) {
	if b == nil {
		return
	}
	if err != nil {
		b.tracker.MarkAsErrored()
	} else {
		b.tracker.MarkAsDone()
	}
	for !b.writer.IsRenderInProgress() {
		select {
		case <-b.ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
	b.writer.Stop()
	<-b.ended
}

// counted returns a reader that moves the bar by the bytes read.
func (b *bar) counted(r io.Reader) io.Reader {
	if b == nil {
		return r
	}
	return countedReader{r, b}
}

type countedReader struct {
	io.Reader

	bar *bar
}

func (c countedReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bar.add(int64(n))
	return n, err
}
