package bench

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// largestSize is that of the largest store that is measured.
func largestSize(t *testing.T) int {
	t.Helper()
	sizes := strings.Split(*benchSizes, ",")
	size, err := strconv.Atoi(sizes[len(sizes)-1])
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// How long it takes to ask after bills that are due, among many and among
// themselves: from the first question that the gateway hears to the last.
func TestReconcile(t *testing.T) {
	pass := func(size int) func() float64 {
		around := startPeers(t)
		home := t.TempDir()
		(population{bills: size, open: *benchDue, due: *benchDue}).build(t, home+"/data/caddy/qlink", around.gateway)
		// Once asked after, a bill is due again by the next round: the other side's
		// takes longer than that.
		const soon = 2 * time.Second
		values := map[string]string{"shop": around.shop, "gateway": around.gateway, "interval": soon.String()}
		return func() float64 {
			resp, err := http.Post("http://"+around.gateway+"/forget", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close() // of no body
			c := startCaddy(t, home, qlinkSite, values)
			var asked struct {
				Bills       int
				Nanoseconds int64
			}
			c.await("all questions", func() bool {
				if err := json.Unmarshal(read(t, "http://"+around.gateway+"/asked"), &asked, json.MatchCaseInsensitiveNames(true)); err != nil {
					t.Fatal(err)
				}
				return asked.Bills >= *benchDue
			})
			c.stop()
			return time.Duration(asked.Nanoseconds).Seconds()
		}
	}
	many := largestSize(t)
	came := inTurn(pass(many), pass(*benchDue))
	book.enter(t, claim{
		What:    "asking after " + thousands(*benchDue) + " bills that are due among " + thousands(many),
		Against: "the same among themselves alone", AtMost: true, Goal: 1.3, margin: 5,
	}, over(came[0], came[1]), "%s; alone %s; first to last question at the gateway", rounded(median(came[0])), rounded(median(came[1])))
}
