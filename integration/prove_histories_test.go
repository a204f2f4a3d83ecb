package integration

import (
	"flag"
	"fmt"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/memory"
	"github.com/caddy-qlink/caddy-qlink/store/storetest"
)

var proveHistories = flag.Int("prove.histories", 25, "concurrent histories of one bill, over each store")

// story 4, story 7: whoever works on one bill at the same time, what they are
// told could have been told to one after the other.
func TestProveConcurrentHistoriesOfOneBill(t *testing.T) {
	stores := map[string]bill.Store{"memory": memory.New(), "badger": openBadger(t)}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			storetest.Histories(t, store, *proveHistories, *proveSeed)
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if t.Failed() {
		return
	}
	prove(t, "concurrent histories of one bill, over every store", fmt.Sprintf("%d histories over each of %d stores", *proveHistories, len(stores)),
		"all linearizable")
}
