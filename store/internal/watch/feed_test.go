package watch_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/watch"
)

// next reads a feed that has something to tell.
func next(t *testing.T, f *watch.Feed) []string {
	t.Helper()
	ids, err := f.Next(t.Context())
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return ids
}

func wantEnded(t *testing.T, f *watch.Feed) {
	t.Helper()
	if ids, err := f.Next(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
		t.Errorf("Next: %d ids, %v, want ErrUnavailable", len(ids), err)
	}
}

func TestAFeedTellsOfABillOnceBetweenTwoReads(t *testing.T) {
	var hub watch.Hub
	feed := hub.All()
	for range 3 {
		for version := range uint64(5) {
			hub.Tell("a", version)
			hub.Tell("b", version)
		}
		if ids := next(t, feed); !slices.Equal(ids, []string{"a", "b"}) {
			t.Errorf("told of %v", ids)
		}
	}
}

func TestAFeedThatNobodyReadsEndsInsteadOfForgetting(t *testing.T) {
	const most = 100_000
	var hub watch.Hub
	lazy, diligent := hub.All(), hub.All()
	for n := range most {
		hub.Tell(strconv.Itoa(n), 1)
	}
	for n := range most {
		hub.Tell(strconv.Itoa(n), 2) // is known
	}
	if ids := next(t, diligent); len(ids) != most {
		t.Errorf("told of %d bills", len(ids))
	}
	hub.Tell("one more", 1)
	wantEnded(t, lazy)
	hub.Tell("later", 1)
	wantEnded(t, lazy)
	if ids := next(t, diligent); !slices.Equal(ids, []string{"one more", "later"}) {
		t.Errorf("told of %v", ids)
	}
}

func TestAFeedWhoseHubClosesTellsTheRestAndEnds(t *testing.T) {
	var hub watch.Hub
	feed := hub.All()
	hub.Tell("a", 1)
	hub.Close()
	if ids := next(t, feed); !slices.Equal(ids, []string{"a"}) {
		t.Errorf("told of %v", ids)
	}
	wantEnded(t, feed)
	wantEnded(t, hub.All())
}

func TestCloseAndStopWakeWhoWaits(t *testing.T) {
	var hub watch.Hub
	for _, end := range []func(*watch.Feed){(*watch.Feed).Stop, func(*watch.Feed) { hub.Close() }} {
		feed := hub.All()
		ended := make(chan error, 1)
		go func() {
			_, err := feed.Next(context.Background())
			ended <- err
		}()
		end(feed)
		if err := <-ended; !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("Next: %v", err)
		}
	}
}
