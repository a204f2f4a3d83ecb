package payment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// ErrNoBackup: the store cannot be backed up while it runs.
var ErrNoBackup = errors.New("not supported by this store; use the backup of the database that it is in, or an export")

// ErrCheckoutsClosed: the store was restored from a backup and nobody has
// reopened it, so that there are no new payments; nothing was created. All else
// goes on.
var ErrCheckoutsClosed = errors.New("checkouts are closed since the store was restored from a backup, until they are reopened")

// Backup writes one consistent snapshot of the store to w while all goes on, in
// memory that does not grow with the store. What was written before an error
// is no backup. It ends with ctx, and with Stop.
//
// Errors: ErrNoBackup, ctx's, w's, bill.ErrUnavailable, or the damage that was
// met.
func (e *Engine) Backup(ctx context.Context, w io.Writer) (bill.Manifest, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return bill.Manifest{}, err
	}
	defer release()
	backuper, ok := store.(bill.Backuper)
	if !ok {
		return bill.Manifest{}, ErrNoBackup
	}
	if !e.background.enter(math.MaxInt) {
		return bill.Manifest{}, fmt.Errorf("%w: it is being stopped", bill.ErrUnavailable)
	}
	defer e.background.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.running, cancel)()
	return backuper.Backup(ctx, w)
}

// CheckoutsClosed returns since when there are no new payments because the store
// was restored from a backup; zero where there are.
func (e *Engine) CheckoutsClosed(ctx context.Context) (time.Time, error) {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer release()
	return bill.CheckoutsClosed(store), nil
}

// Reopen lets a restored store take new payments again, for good. Where they
// are taken it does nothing.
func (e *Engine) Reopen(ctx context.Context) error {
	store, release, err := e.cfg.Store(ctx)
	if err != nil {
		return err
	}
	defer release()
	restorable, ok := store.(bill.Restorable)
	if !ok {
		return nil
	}
	since := restorable.CheckoutsClosed()
	if err := restorable.Reopen(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if !since.IsZero() {
		e.cfg.Logger.Info("checkouts are open again", zap.Time("closed_since", since))
	}
	return nil
}

// checkOpen returns ErrCheckoutsClosed where there are to be no new payments.
func checkOpen(store bill.Store) error {
	if !bill.CheckoutsClosed(store).IsZero() {
		return ErrCheckoutsClosed
	}
	return nil
}

// warnOfClosed says once that checkouts are closed, and how that ends.
func (e *Engine) warnOfClosed(store bill.Store) {
	since := bill.CheckoutsClosed(store)
	if since.IsZero() || e.warned.Swap(true) {
		return
	}
	e.cfg.Logger.Warn("checkouts are closed, and all else goes on: the store was restored from a backup, and orders paid after that was taken "+
		"would be payable again; once you have seen to those, open them by `caddy qlink reopen`", zap.Time("since", since))
}
