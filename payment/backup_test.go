package payment_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/qlink"
)

// vaulted is a store that is backed up, and may come from a backup.
type vaulted struct {
	bill.Store
	closedSince atomic.Pointer[time.Time]
	fault       error // of Reopen
	backUp      func(ctx context.Context, w io.Writer) (bill.Manifest, error)
}

func (v *vaulted) CheckoutsClosed() time.Time {
	if since := v.closedSince.Load(); since != nil {
		return *since
	}
	return time.Time{}
}

func (v *vaulted) Reopen(ctx context.Context) error {
	if err := errors.Join(v.fault, ctx.Err()); err != nil {
		return err
	}
	v.closedSince.Store(nil)
	return nil
}

func (v *vaulted) Backup(ctx context.Context, w io.Writer) (bill.Manifest, error) {
	return v.backUp(ctx, w)
}

// restore has the counter's store come from a backup.
func (c *counter) restore() *vaulted {
	v := &vaulted{Store: c.store}
	since := time.Now().UTC()
	v.closedSince.Store(&since)
	c.store = v
	return v
}

func TestARestoredStoreTakesNoNewPaymentsUntilItIsReopened(t *testing.T) {
	atWith(t, offering, func(t *testing.T, c *counter) {
		named := named("VA")
		named.OrderCode = "O2"
		toChoose, failed := c.mustCreate(unchosen("15000"), payment.OutcomeNew), c.failedBill(named)
		followed := named
		followed.OrderCode = "O4"
		before := c.failedBill(followed)
		if _, err := c.retry(before.ID); err != nil {
			t.Fatal(err)
		}
		store := c.restore()
		if since, err := c.engine.CheckoutsClosed(t.Context()); err != nil || !since.Equal(store.CheckoutsClosed()) || since.IsZero() {
			t.Errorf("closed since %v, %v", since, err)
		}
		applied := c.gateway.count("apply")
		o := named
		o.OrderCode = "O3"
		for what, try := range map[string]func() error{
			"before the shop is asked":    func() error { return c.engine.Ready(t.Context(), buyer) },
			"a new order":                 func() error { _, err := c.create(o); return err },
			"an order that has a bill":    func() error { _, err := c.create(unchosen("15000")); return err },
			"a request with a key":        func() error { _, err := c.createKeyed(o, "key"); return err },
			"a choice":                    func() error { _, err := c.choose(toChoose.ID, "BANK", "VA"); return err },
			"a new attempt":               func() error { _, err := c.retry(failed.ID); return err },
			"a new attempt that there is": func() error { _, err := c.retry(before.ID); return err },
		} {
			if err := try(); !errors.Is(err, payment.ErrCheckoutsClosed) || errors.Is(err, bill.ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if n := c.gateway.count("apply"); n != applied {
			t.Errorf("%d calls of /apply", n-applied)
		}
		if shown, err := c.engine.Showing(t.Context(), c.scope, failed.ID, within); err != nil || shown.MayRetry {
			t.Errorf("its page offers a new attempt: %v, %v", shown.MayRetry, err)
		}
		if _, err := c.choose("unknown", "BANK", "VA"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("a bill that is not there: %v", err)
		}
		if err := c.engine.Reopen(t.Context()); err != nil {
			t.Fatal(err)
		}
		if since, err := c.engine.CheckoutsClosed(t.Context()); err != nil || !since.IsZero() {
			t.Errorf("reopened, and closed since %v, %v", since, err)
		}
		if shown, err := c.engine.Showing(t.Context(), c.scope, failed.ID, within); err != nil || !shown.MayRetry {
			t.Errorf("its page offers no new attempt: %v, %v", shown.MayRetry, err)
		}
		c.mustCreate(o, payment.OutcomeNew)
		if _, err := c.choose(toChoose.ID, "BANK", "VA"); err != nil {
			t.Errorf("a choice: %v", err)
		}
		if _, err := c.retry(failed.ID); err != nil {
			t.Errorf("a new attempt: %v", err)
		}
	})
}

func (c *counter) createKeyed(o bill.Order, key string) (payment.Created, error) {
	return c.engine.Create(c.t.Context(), c.scope, o, payment.HandOver{At: time.Now(), Idempotency: &payment.Idempotency{Key: key, Body: "body"}})
}

func TestARestoredStoreGoesOnWithThePaymentsItHas(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		var bills []bill.Bill
		for _, code := range []string{"told", "asked", "cancelled", "refreshed"} {
			o := order("15000")
			o.OrderCode = code
			bills = append(bills, c.mustCreate(o, payment.OutcomeNew))
		}
		c.restore()
		if err := c.notify(bills[0], "SUCCESS"); err != nil {
			t.Errorf("a webhook: %v", err)
		}
		c.wantStatus(bills[0].ID, bill.Success)
		if _, err := c.engine.Cancel(t.Context(), c.scope, bills[2].ID, bill.CancelBuyer); err != nil {
			t.Errorf("a cancel: %v", err)
		}
		if _, err := c.engine.Refresh(t.Context(), c.scope, bills[3].ID); err != nil {
			t.Errorf("a refresh: %v", err)
		}
		if _, err := c.engine.Bill(t.Context(), c.scope, bills[1].ID); err != nil {
			t.Errorf("the status: %v", err)
		}
		asked := c.gateway.count("query")
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		c.engine.Run(ctx)
		if c.gateway.count("query") == asked {
			t.Error("the workers stand still")
		}
	})
}

func TestThatCheckoutsAreClosedIsLoggedOnceWithTheWayOut(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	atWith(t, func(cfg *payment.Config) { cfg.Logger = zap.New(core) }, func(t *testing.T, c *counter) {
		c.restore()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		c.engine.Run(ctx)
		if n := logs.FilterMessageSnippet("caddy qlink reopen").Len(); n != 1 {
			t.Errorf("logged %d times: %v", n, logs.All())
		}
		for range 2 {
			if err := c.engine.Reopen(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := logs.FilterMessageSnippet("open again").Len(); n != 1 {
			t.Errorf("reopened twice, logged %d times", n)
		}
	})
}

func TestAFailureToReopenLeavesCheckoutsClosed(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.restore().fault = bill.ErrUnavailable
		if err := c.engine.Reopen(t.Context()); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("Reopen: %v", err)
		}
		if err := c.engine.Ready(t.Context(), ""); !errors.Is(err, payment.ErrCheckoutsClosed) {
			t.Errorf("Ready: %v", err)
		}
	})
}

func TestAnOrdinaryStoreIsOpenAndIsBackedUpElsewhere(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		if since, err := c.engine.CheckoutsClosed(t.Context()); err != nil || !since.IsZero() {
			t.Errorf("closed since %v, %v", since, err)
		}
		if err := c.engine.Reopen(t.Context()); err != nil {
			t.Errorf("Reopen: %v", err)
		}
		_, err := c.engine.Backup(t.Context(), io.Discard)
		if !errors.Is(err, payment.ErrNoBackup) || !strings.Contains(err.Error(), "not supported by this store; use ") {
			t.Errorf("Backup: %v", err)
		}
	})
}

func TestABackupEndsWhenTheEngineStops(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		store := c.restore()
		store.backUp = func(ctx context.Context, w io.Writer) (bill.Manifest, error) {
			if _, err := w.Write([]byte("begun")); err != nil {
				return bill.Manifest{}, err
			}
			<-ctx.Done()
			return bill.Manifest{}, ctx.Err()
		}
		ended := make(chan error, 1)
		go func() {
			_, err := c.engine.Backup(context.Background(), io.Discard)
			ended <- err
		}()
		synctest.Wait()
		if err := c.engine.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Backup: %v", err)
		}
		if _, err := c.engine.Backup(t.Context(), io.Discard); !errors.Is(err, bill.ErrUnavailable) {
			t.Errorf("after that: %v", err)
		}
	})
}

func TestABackupIsTheStoresOwn(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		want := bill.Manifest{Store: "s", Bills: 7}
		c.restore().backUp = func(_ context.Context, w io.Writer) (bill.Manifest, error) {
			_, err := io.WriteString(w, "all of it")
			return want, err
		}
		var file strings.Builder
		m, err := c.engine.Backup(t.Context(), &file)
		if err != nil || m != want || file.String() != "all of it" {
			t.Errorf("%+v, %q, %v", m, file.String(), err)
		}
	})
}

// The order of such a bill may have been paid since, by an attempt that the
// backup does not hold: to call /apply again would make it payable twice.
func TestARestoredStoreAppliesForNothingAgainUntilItIsReopened(t *testing.T) {
	at(t, func(t *testing.T, c *counter) {
		c.gateway.set(func() { c.gateway.applyErr = failed(qlink.KindUnclear) })
		b := c.mustCreate(order("15000"), payment.OutcomeUnknown)
		c.gateway.set(func() { c.gateway.applyErr = nil })
		v := c.restore()
		work := func(d time.Duration) {
			ctx, stop := context.WithTimeout(t.Context(), d)
			defer stop()
			c.engine.Run(ctx)
		}
		work(time.Hour)
		if _, err := c.operator().Refresh(t.Context(), b.ID); err != nil {
			t.Fatal(err)
		}
		if c.wantStatus(b.ID, bill.Created); c.gateway.count("apply") != 1 || c.gateway.count("query") < 3 {
			t.Errorf("closed: %d /apply, %d queries", c.gateway.count("apply"), c.gateway.count("query"))
		}
		if err := v.Reopen(t.Context()); err != nil {
			t.Fatal(err)
		}
		work(time.Hour)
		if c.wantStatus(b.ID, bill.Wait); c.gateway.count("apply") != 2 {
			t.Errorf("reopened: %d /apply", c.gateway.count("apply"))
		}
	})
}
