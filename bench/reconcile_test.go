package bench

import (
	"net/http"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// reconcile measures how long it takes to ask after bills that are due, among
// very many and among themselves: from the first question that the gateway hears
// to the last.
func reconcile(t *testing.T, among *grown, around *peers) {
	t.Helper()
	alone := t.TempDir()
	(population{bills: *benchDue, open: *benchDue, due: *benchDue}).build(t, alone+"/data/caddy/qlink", around.gateway)
	came := inTurn(
		func() float64 { return around.pass(t, among.home) },
		func() float64 { return around.pass(t, alone) },
	)
	book.enter(t, claim{
		What:    "asking after " + thousands(*benchDue) + " bills that are due among " + thousands(among.size),
		Against: "the same among themselves alone", AtMost: true, Goal: 1.3, margin: 8, Why: "Each bill is looked up, and written, among so many tables that a process has just opened: its first reads find no block in memory. " + noisy,
	}, over(came[0], came[1]), "%s; alone %s; first to last question at the gateway", rounded(median(came[0])), rounded(median(came[1])))
}

// pass opens a store and waits until all that is due was asked after. That is due
// again by the next round: the other side's takes longer than the interval.
func (p *peers) pass(t *testing.T, home string) float64 {
	t.Helper()
	resp, err := http.Post("http://"+p.gateway+"/forget", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // of no body
	c := startCaddy(t, home, qlinkSite, p.values(2*time.Second))
	var asked struct {
		Bills       int
		Nanoseconds int64
	}
	c.await("all questions", func() bool {
		if err := json.Unmarshal(read(t, "http://"+p.gateway+"/asked"), &asked, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Fatal(err)
		}
		return asked.Bills >= *benchDue
	})
	c.stop()
	return time.Duration(asked.Nanoseconds).Seconds()
}
