//go:build linux

package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/postgres/postgrestest"
)

// BenchmarkCommit compares what the engine writes with the least that the same
// server can make durable: one row, in the same number of round trips.
func BenchmarkCommit(b *testing.B) {
	s := openNode(b, configured(b, postgrestest.Shared(b).Database(), "qlink"))
	var number atomic.Int64
	begin := func() bill.Change {
		id := fmt.Sprint("bill-", number.Add(1))
		made := sample(id)
		return bill.Change{
			Order:         &bill.OrderRecord{Key: made.OrderKey(), Revision: 1, Attempts: []bill.Attempt{{ID: id, Status: made.Status}}},
			Bills:         []bill.BillChange{{Bill: made, Details: &bill.Details{Description: "coffee"}, Events: []bill.Event{{Kind: bill.EventCreated, At: noon}}}},
			Notifications: []bill.Notification{{ID: id, URL: "https://shop.example", Bill: id, OrderCode: made.OrderCode, State: bill.Pending, CreatedAt: noon, Due: noon, Revision: 1}},
		}
	}
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("new bill/%d writers", writers), func(b *testing.B) {
			b.SetParallelism(writers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := s.Commit(context.Background(), begin()); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("webhook/%d writers", writers), func(b *testing.B) {
			b.SetParallelism(writers)
			b.RunParallel(func(p *testing.PB) {
				made := sample(fmt.Sprint("hook-", number.Add(1)))
				if err := s.Commit(context.Background(), only(made)); err != nil {
					b.Error(err)
				}
				for p.Next() {
					made = moved(made)
					c := only(made)
					c.Bills[0].Events = []bill.Event{{Kind: bill.EventReportedWait, At: noon}}
					if err := s.Commit(context.Background(), c); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("one row/%d writers", writers), func(b *testing.B) {
			b.SetParallelism(writers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					err := s.call(context.Background(), func(ctx context.Context, conn *pgxpool.Conn) error {
						if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
							return err
						}
						if _, err := conn.Exec(ctx, s.in(`INSERT INTO qlink.changes (bill, version) VALUES ('a', 1)`)); err != nil {
							return err
						}
						_, err := conn.Exec(ctx, "COMMIT")
						return err
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("read/%d readers", writers), func(b *testing.B) {
			b.SetParallelism(writers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := s.Bill(context.Background(), "bill-1"); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
