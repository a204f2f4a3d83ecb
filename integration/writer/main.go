// Command writer writes bills into a store until it is stopped, and says of
// each on its standard output, a number a line, that it was acknowledged. It is
// what the trial of the power cut cuts off.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

func main() {
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write opens the store in dir and writes bills into it, eight at a time.
func write(dir string) error {
	ctx := context.Background()
	module := &badger.Store{Path: dir}
	if err := module.Provision(caddy.Context{Context: ctx}); err != nil {
		return err
	}
	store, err := module.Open(ctx, bill.Env{Logger: zap.NewNop})
	if err != nil {
		return err
	}
	failed := make(chan error)
	var next atomic.Int64
	for range 8 {
		go func() {
			for {
				n := next.Add(1)
				if err := store.Commit(ctx, numbered(n)); err != nil {
					failed <- err
					return
				}
				// One write, which a pipe takes as a whole.
				if _, err := os.Stdout.WriteString(strconv.FormatInt(n, 10) + "\n"); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// numbered is a new bill of an ordinary size.
func numbered(n int64) bill.Change {
	now := time.Now().UTC()
	b := bill.Bill{
		ID: strconv.FormatInt(n, 10), Ledger: "ledger", Account: "default", Shop: "default", OrderCode: "O-" + strconv.FormatInt(n, 10),
		Attempt: 1, Status: bill.Created, Amount: "15000", Currency: "IDR", Country: "ID", CreatedAt: now, UpdatedAt: now, Version: 1, Revision: 1,
	}
	record, _ := bill.OrderRecord{Key: b.OrderKey(), Revision: 1}.With(b)
	return bill.Change{
		Order: &record,
		Bills: []bill.BillChange{{
			Bill:    b,
			Details: &bill.Details{Description: strings.Repeat(b.OrderCode+" ", 100)},
			Events:  []bill.Event{{Kind: bill.EventCreated, At: now, To: bill.Created, Version: 1}},
		}},
	}
}
