package integration

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

var proveChanges = flag.Int("prove.changes", 40, "changes that watchers at other nodes wait for, each with and without LISTEN")

// What is promised of the time from when a webhook is posted to one node until
// a watcher at another one has the change, at the 99th percentile. It is judged
// where there are so many changes that this tells something of the product
// rather than of the other tests beside it; and a machine on which the webhooks'
// own answers take long may take as much longer.
const (
	heardWithin  = 100 * time.Millisecond
	polledWithin = 3 * time.Second
	watchJudged  = 200
	watchersPool = 16 // bills that are watched at once without LISTEN
	listenBeats  = 3  // times at the least that listening is as fast as polling, at the median
)

// A webhook at one node reaches those who watch the bill at others: who has a
// stream, and who polls.
func TestProveAWebhookReachesWatchersAtOtherNodes(t *testing.T) {
	n := startNodes(t, 3, map[string]string{"min": "30s", "max": "60s"}) // nothing but the webhook tells
	listening := n.watchChanges("LISTEN", 1)
	for _, w := range n.each {
		w.values["listen"] = "off"
		w.write(nodeConfig, w.values)
		w.reloadIdle()
	}
	polling := n.watchChanges("POLL", watchersPool)
	for what, took := range map[string][2][]time.Duration{"stream": {listening.streams, polling.streams}, "long poll": {listening.polls, polling.polls}} {
		if fast, slow := percentile(took[0], 50), percentile(took[1], 50); fast*listenBeats > slow {
			t.Errorf("%s: %v at the median with LISTEN, %v without", what, fast, slow)
		}
		if *proveChanges < watchJudged {
			continue
		}
		if fast, slow := percentile(took[0], 99), percentile(took[1], 100); fast > heardWithin+percentile(listening.answers, 99) || slow > polledWithin {
			t.Errorf("%s: %v at the 99th percentile with LISTEN, %v at most without", what, fast, slow)
		}
	}
	prove(t, "a webhook at one node, watchers at two others", fmt.Sprintf("%d changes each", *proveChanges),
		fmt.Sprintf("with LISTEN: stream %s, long poll %s; without: stream %s, long poll %s; the webhook's own answer %s",
			spread(listening.streams), spread(listening.polls), spread(polling.streams), spread(polling.polls), spread(listening.answers)))
}

// heard is how long changes took to reach those who watch, and the answers to
// the webhooks to come.
type heard struct{ streams, polls, answers []time.Duration }

// watchChanges has bills paid at one node and watched at the two others.
func (n *nodes) watchChanges(name string, atATime int) (all heard) {
	n.t.Helper()
	var mu sync.Mutex
	crowd(atATime, *proveChanges, func(i int) {
		stream, poll, answered := n.watchOne(fmt.Sprintf("W-%s-%d", name, i), i)
		mu.Lock()
		defer mu.Unlock()
		all.streams, all.polls, all.answers = append(all.streams, stream), append(all.polls, poll), append(all.answers, answered)
	})
	if n.t.Failed() {
		n.t.FailNow()
	}
	return all
}

// watchOne makes a bill and has it paid at the one node, while a stream at
// another and a long poll at the third wait for that.
func (n *nodes) watchOne(code string, i int) (stream, poll, answered time.Duration) {
	payer, streamer, poller := n.each[i%3], n.each[(i+1)%3], n.each[(i+2)%3]
	b, ok := payer.place(code)
	if !ok {
		return 0, 0, 0
	}
	l, err := streamer.listen(b.ID, "")
	if err == nil {
		defer l.Body.Close()
		_, err = l.next()
	}
	if err != nil {
		n.t.Errorf("stream: %v", err)
		return 0, 0, 0
	}
	tag := poller.tagOf(b.ID)
	var begun time.Time
	var watching sync.WaitGroup
	began := make(chan struct{})
	watching.Go(func() { // who polls long is there before the webhook comes, or reads the change at once
		a, err := poller.do(poller.request("GET", "/qlink/bills/"+b.ID+"?wait=20s", "", "If-None-Match", tag))
		end := time.Now()
		<-began
		if poll = end.Sub(begun); err != nil || a.StatusCode != http.StatusOK || decode[billJSON](n.t, a.body).Status != "SUCCESS" {
			n.t.Errorf("long poll: %v %s", err, a.body)
		}
	})
	<-time.After(20 * time.Millisecond)
	begun = time.Now()
	close(began)
	watching.Go(func() {
		data, err := l.next()
		if stream = time.Since(begun); err != nil || decode[billJSON](n.t, []byte(data)).Status != "SUCCESS" {
			n.t.Errorf("stream: %v %s", err, data)
		}
	})
	payer.insistOn(payer.notification(b, "SUCCESS"))
	answered = time.Since(begun)
	watching.Wait()
	return stream, poll, answered
}

// tagOf returns the entity tag of a bill as it is.
func (w *world) tagOf(id string) string {
	a, err := w.do(w.request("GET", "/qlink/bills/"+id, ""))
	if err != nil || a.StatusCode != http.StatusOK {
		w.t.Errorf("read %s: %v %s", id, err, a.body)
		return ""
	}
	return a.Header.Get("ETag")
}

// percentile returns how long p in a hundred took at most.
func percentile(took []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func spread(took []time.Duration) string {
	ms := func(p int) float64 { return float64(percentile(took, p).Microseconds()) / 1000 }
	return fmt.Sprintf("p50 %.1f, p99 %.1f, most %.1f ms", ms(50), ms(99), ms(100))
}
