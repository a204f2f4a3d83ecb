package payment

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// untold returns the URLs that were not told that b is paid: those whose
// notification has waited for minutes or was given up, and those that are
// configured and have none. Where one was superseded, what came in its place
// counts, since it says that the order is paid, too.
func (a *audit) untold(ctx context.Context, store bill.Store, b bill.Bill) ([]Untold, error) {
	told, err := store.Notifications(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	byURL := make(newest)
	for _, n := range told {
		if n.Type == bill.BillPaid || n.Type == bill.BillLatePayment {
			byURL[n.URL] = n // oldest first
		}
	}
	if err := a.replaced(ctx, store, b, byURL); err != nil {
		return nil, err
	}
	wanted := a.wanted(b)
	var lines []Untold
	for _, url := range slices.Sorted(maps.Keys(byURL)) {
		n := byURL[url]
		if !n.Undelivered() || n.State == bill.Pending && lately(latest(n.CreatedAt, n.RedeliveredAt), a.engine.now()) {
			continue
		}
		lines = append(lines, Untold{
			Line: lineOf(b), URL: url, Configured: slices.Contains(wanted, url), State: UntoldState(n.State),
			Notification: n.ID, Since: bill.Timestamp(latest(n.CreatedAt, n.RedeliveredAt)), Tries: n.Tries, LastError: n.LastError,
		})
	}
	for _, url := range wanted {
		if _, ok := byURL[url]; !ok && b.Told == 0 { // what was forgotten had been delivered
			lines = append(lines, Untold{Line: lineOf(b), URL: url, Configured: true, State: UntoldNever, Since: bill.Timestamp(b.UpdatedAt)})
		}
	}
	return lines, nil
}

// wanted returns the URLs that are configured to be told that b is paid.
func (a *audit) wanted(b bill.Bill) []string {
	if a.engine.cfg.Notify == nil {
		return nil
	}
	var urls []string
	for _, target := range a.engine.cfg.Notify(b.Account, b.Shop) {
		if slices.Contains(target.Events, b.NotificationType()) {
			urls = append(urls, target.URL)
		}
	}
	return urls
}

// replaced puts in the place of what was superseded what its URL was to be told
// instead: the newest about any attempt of the order.
func (a *audit) replaced(ctx context.Context, store bill.Store, b bill.Bill, byURL newest) error {
	superseded := func(n bill.Notification) bool { return n.State == bill.Superseded }
	if !slices.ContainsFunc(slices.Collect(maps.Values(byURL)), superseded) {
		return nil
	}
	record, err := store.Order(ctx, b.OrderKey())
	if err != nil {
		return err
	}
	all, _, err := newestOf(ctx, store, record)
	if err != nil {
		return err
	}
	for url, n := range byURL {
		if superseded(n) {
			byURL[url] = all[url]
		}
	}
	return nil
}

// unconfirmed returns b's line where a notification says that it is paid and no
// query has agreed.
func unconfirmed(b bill.Bill, now time.Time) Unconfirmed {
	return Unconfirmed{Line: lineOf(b), ReportedAt: bill.Timestamp(b.Reported.At), InFlight: lately(b.Reported.At, now)}
}
