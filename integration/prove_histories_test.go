package integration

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
	"github.com/caddy-qlink/caddy-qlink/store/postgres"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
	"github.com/caddy-qlink/caddy-qlink/store/storetest"
)

var proveHistories = flag.Int("prove.histories", 25, "concurrent histories of one bill and of one order, each over each store")

const (
	historyCheck    = time.Minute // at most, for one
	historiesAtOnce = 4           // of one order each: they share the syncs of their commits
)

// eachStore runs a part of a trial over a store of each kind.
func eachStore(t *testing.T, part func(t *testing.T, store bill.Store)) (stores int) {
	kinds := map[string]bill.Store{"memory": memory.New(), "badger": openBadger(t), "postgres": openPostgres(t)}
	for name, store := range kinds {
		t.Run(name, func(t *testing.T) {
			part(t, store)
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return len(kinds)
}

// openPostgres opens a store in a database of its own.
func openPostgres(t *testing.T) bill.Store {
	return opened(t, &postgres.Store{DSN: postgrestest.Start(t).DSN()})
}

// story 4, story 7: whoever works on one bill at the same time, what they are
// told could have been told to one after the other.
func TestProveConcurrentHistoriesOfOneBill(t *testing.T) {
	stores := eachStore(t, func(t *testing.T, store bill.Store) { storetest.Histories(t, store, *proveHistories, *proveSeed) })
	if t.Failed() {
		return
	}
	prove(t, "concurrent histories of one bill (porcupine), over every store", fmt.Sprintf("%d histories over each of %d stores", *proveHistories, stores),
		"all linearizable")
}

// story 4, story 7, story 9, story 12: whoever works with one engine on one
// order at the same time, what they are told, and what the gateway saw, could
// have come about one after the other, as the contract allows it; and the
// gateway never has two payments of the order that can be paid.
func TestProveConcurrentHistoriesOfOneOrder(t *testing.T) {
	seen := make(tally)
	stores := eachStore(t, func(t *testing.T, store bill.Store) {
		var mu sync.Mutex // of what was seen
		crowd(historiesAtOnce, *proveHistories, func(round int) {
			if t.Failed() {
				return
			}
			e := newEncounter(store, *proveSeed, round)
			bills, err := e.run(t.Context())
			if err != nil {
				t.Errorf("%s: %v", e.name, err)
				return
			}
			if wrong := e.judge(bills); wrong != "" {
				t.Errorf("%s: %s:\n%s", e.name, wrong, e.history)
			}
			mu.Lock()
			defer mu.Unlock()
			e.sum(seen, bills)
		})
	})
	if t.Failed() {
		return
	}
	for _, what := range historySights {
		if *proveHistories >= 1000 && seen[what] == 0 {
			t.Errorf("no history saw any %s", what)
		}
	}
	prove(t, "concurrent histories of one order (porcupine), one engine over every store",
		fmt.Sprintf("%d histories over each of %d stores, %s", *proveHistories, stores, seen.String(historySights...)),
		"all as the model of the contract allows; never two payments of an order that can be paid")
}

// historySights are what a long trial has to have seen.
var historySights = []string{"payments booked", "attempts replaced", "orders paid", "late payments", "refunds due"}

// judge returns what is wrong with a round; "" if nothing is.
func (e *encounter) judge(bills []bill.Bill) string {
	if e.history.wrong != "" {
		return e.history.wrong
	}
	if got := porcupine.CheckOperationsTimeout(affairs, e.history.facts, historyCheck); got != porcupine.Ok {
		return fmt.Sprintf("not what the contract allows (%s)", got)
	}
	return e.bank.verdict(bills)
}

// sum counts what a round saw.
func (e *encounter) sum(seen tally, bills []bill.Bill) {
	for _, b := range bills {
		if b.RefundDue {
			seen.count("refunds due")
		}
		switch {
		case b.LatePayment:
			seen.count("late payments")
		case b.Status == bill.Success:
			seen.count("orders paid")
		case b.Cancel.Reason == bill.CancelReplaced:
			seen.count("attempts replaced")
		}
	}
	for range e.bank.payments {
		seen.count("payments booked")
	}
}
