package integration

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// ours marks the goroutines that this module starts, in a stack's text.
const ours = "caddy-qlink/caddy-qlink/"

const (
	reloadLoad       = 4   // buyers at once while Caddy reloads
	reloadLooks      = 20  // looks at memory and goroutines, evenly over the reloads
	heapAllowed      = 120 // hundredths of the first quarter's heap that the last quarter's may be
	goroutineAllowed = 20  // goroutines by which two quarters may differ: each buyer has a few
)

// story 37, story 41, story 42: Caddy reloads over and over under load. Every
// request is answered, and as it should be; what the old configurations had
// is given back.
//
// Memory is what a garbage collection leaves of the heap: the median of the
// last quarter's looks against that of the first quarter's.
func TestProveReloadsUnderLoadLoseNothingAndLeaveNothingBehind(t *testing.T) {
	w, _ := provingGround(t, plainSite)
	w.write(siteConfig, w.values)
	w.start()
	b := w.checkout(order("O-LOAD", "15000"), 201)
	before := w.running(ours)
	served, looks := w.reloadUnderLoad()
	if served < *proveReloads {
		t.Errorf("only %d requests were served in the meantime", served)
	}
	if after := w.bill(b.ID); after != b {
		t.Errorf("%+v, before %+v", after, b)
	}
	w.client.CloseIdleConnections()
	w.await("the old configurations' goroutines to end", func() bool { return w.running(ours) <= before })
	if t.Failed() {
		t.Log(w.log.Tail())
	}
	for what, function := range map[string]string{"committers": "store/badger.(*committer)", "sets of workers": "payment.(*Engine).Run("} {
		if n := w.running(function); n != 1 {
			t.Errorf("%d %s on one store", n, what)
		}
	}
	judgeLooks(t, looks, served)
}

// reloadUnderLoad reloads as often as the trial says while buyers buy. It
// returns how many requests were served and what the looks in between saw.
func (w *world) reloadUnderLoad() (served int, looks []look) {
	ctx, stop := context.WithCancel(w.t.Context())
	var load sync.WaitGroup
	var count atomic.Int64
	for worker := range reloadLoad {
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				for _, status := range w.buy(fmt.Sprintf("O-L%d-%d", worker, n)) {
					if status != http.StatusOK && status != http.StatusCreated {
						w.t.Errorf("%d from worker %d, order %d", status, worker, n)
						return
					}
					count.Add(1)
				}
			}
		})
	}
	for n := range *proveReloads {
		if err := w.reload(); err != nil {
			w.t.Errorf("reload %d: %v", n, err)
			break
		}
		if (n+1)*reloadLooks / *proveReloads > n*reloadLooks / *proveReloads {
			looks = append(looks, w.look())
		}
	}
	stop()
	load.Wait()
	return int(count.Load()), looks
}

// look is what a process has at a moment.
type look struct {
	goroutines int
	heap       int // bytes that a garbage collection has left
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

func (c *caddy) look() look {
	c.t.Helper()
	found := heapAlloc.FindSubmatch(c.profile("heap?debug=1&gc=1"))
	if found == nil {
		c.t.Fatal("the profile does not tell the heap")
	}
	heap, err := strconv.Atoi(string(found[1]))
	if err != nil {
		c.t.Fatal(err)
	}
	return look{goroutines: len(c.goroutines()), heap: heap}
}

func judgeLooks(t *testing.T, looks []look, served int) {
	t.Helper()
	if len(looks) < reloadLooks {
		t.Fatalf("%d looks", len(looks))
	}
	quarter := len(looks) / 4
	first, last := middle(looks[:quarter]), middle(looks[len(looks)-quarter:])
	early, end := looks[len(looks)/10-1], looks[len(looks)-1]
	prove(t, "reloads under load",
		fmt.Sprintf("%d reloads, %d requests served", *proveReloads, served),
		fmt.Sprintf("0 answers but 200 and 201; goroutines %d after a tenth, %d at the end; heap after collection %.1f MiB, %.1f MiB; last quarter's median %d%% of the first's",
			early.goroutines, end.goroutines, mebibytes(early.heap), mebibytes(end.heap), last.heap*100/first.heap))
	if last.heap*100 > first.heap*heapAllowed {
		t.Errorf("the heap grew: %v", looks)
	}
	if last.goroutines > first.goroutines+goroutineAllowed {
		t.Errorf("the goroutines grew: %v", looks)
	}
}

// middle returns the medians of some looks.
func middle(looks []look) look {
	var goroutines, heaps []int
	for _, l := range looks {
		goroutines, heaps = append(goroutines, l.goroutines), append(heaps, l.heap)
	}
	slices.Sort(goroutines)
	slices.Sort(heaps)
	return look{goroutines: goroutines[len(goroutines)/2], heap: heaps[len(heaps)/2]}
}

func mebibytes(bytes int) float64 { return float64(bytes) / mib }

// buy creates a bill, reads it and settles it by a webhook; the statuses of
// the answers.
func (w *world) buy(code string) (statuses []int) {
	body := order(code, "15000")
	created := w.insist(func() *http.Request { return signed(w.request("POST", "/qlink/bills", body), body) })
	statuses = append(statuses, created.StatusCode)
	if created.StatusCode > http.StatusCreated {
		return statuses
	}
	id := decode[billJSON](w.t, created.body).ID
	read := w.insist(func() *http.Request { return w.request("GET", "/qlink/bills/"+id, "") })
	notification := fmt.Sprintf(`{"tradeUuid":%q,"status":"SUCCESS"}`, id)
	settled := w.insist(func() *http.Request {
		return w.request("POST", "/qlink/payNotification", notification, "appKey", appKey, "sign", signOf(notification, appSecret))
	})
	return append(statuses, read.StatusCode, settled.StatusCode)
}
