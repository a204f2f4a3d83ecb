package watch_test

import (
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/caddy-qlink/caddy-qlink/store/internal/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// story 18
func TestASlowReceiverFindsTheNewestVersion(t *testing.T) {
	var hub watch.Hub
	versions, stop := hub.Watch("a")
	defer stop()
	for version := range uint64(5) {
		hub.Tell("a", version+1)
	}
	if got := <-versions; got != 5 {
		t.Errorf("received version %d, want 5", got)
	}
}

func TestOnlyThoseWhoWatchABillAreTold(t *testing.T) {
	var hub watch.Hub
	versions, stop := hub.Watch("a")
	defer stop()
	hub.Tell("b", 1)
	select {
	case version := <-versions:
		t.Errorf("received version %d of another bill", version)
	default:
	}
}

func TestStopClosesTheChannelOnceAndForAll(t *testing.T) {
	var hub watch.Hub
	versions, stop := hub.Watch("a")
	stop()
	stop()
	hub.Tell("a", 1)
	if _, open := <-versions; open {
		t.Error("received after stop")
	}
}

func TestCloseEndsWatchesOfBeforeAndAfter(t *testing.T) {
	var hub watch.Hub
	before, stopBefore := hub.Watch("a")
	hub.Close()
	hub.Close()
	after, stopAfter := hub.Watch("a")
	for _, versions := range []<-chan uint64{before, after} {
		if _, open := <-versions; open {
			t.Error("received after Close")
		}
	}
	stopBefore()
	stopAfter()
}

func TestTellingStoppingAndClosingMayMeet(t *testing.T) {
	var hub watch.Hub
	var tasks sync.WaitGroup
	for range 8 {
		tasks.Go(func() {
			for version := range uint64(200) {
				versions, stop := hub.Watch("a")
				hub.Tell("a", version)
				<-versions
				stop()
			}
		})
	}
	tasks.Wait()
	hub.Close()
}
