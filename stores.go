package caddyqlink

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/cli"
	"github.com/caddy-qlink/caddy-qlink/operator"
	"github.com/caddy-qlink/caddy-qlink/payment"
	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

// folders are the stores that the command line reads and writes while no Caddy
// has them open: those of package store/badger.
type folders struct{}

// Show describes a bill of a stopped store as the admin API would.
func (folders) Show(ctx context.Context, dir, name string) (detail jsontext.Value, doubt, err error) {
	offline, err := badger.OpenOffline(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	defer offline.Close()
	reader := payment.New(payment.Config{
		Store:  func(context.Context) (bill.Store, func(), error) { return offline, func() {}, nil },
		Logger: zap.NewNop(), Now: time.Now,
	})
	detail, err = operator.Describe(ctx, reader, name, time.Now())
	if errors.Is(err, bill.ErrNotFound) {
		err = cli.ErrUnknown
	}
	if several, ok := errors.AsType[*payment.AmbiguousError](err); ok {
		err = cli.Ambiguous(several, idsOf(several.Bills))
	}
	return detail, offline.Doubt, err
}

func idsOf(bills []bill.Bill) (ids []string) {
	for _, b := range bills {
		ids = append(ids, b.ID)
	}
	return ids
}

// Restore makes a store of a backup.
func (folders) Restore(ctx context.Context, backup io.Reader, dir string) (cli.Content, error) {
	m, err := badger.Restore(ctx, backup, dir, nil)
	return contentOf(m), err
}

// Verify reads all of a backup.
func (folders) Verify(ctx context.Context, backup io.Reader) (cli.Content, error) {
	m, err := badger.VerifyBackup(ctx, backup, nil)
	return contentOf(m), err
}

func contentOf(m bill.Manifest) cli.Content {
	return cli.Content{Bills: m.Bills, Records: m.Records, StoreID: m.Store, TakenAt: m.At.UTC().Format(time.RFC3339)}
}

// Check reads all of a stopped store.
func (folders) Check(ctx context.Context, dir string, found func(damage string) error) (cli.Content, error) {
	findings, err := badger.Check(ctx, dir, nil)
	for _, f := range findings.Found {
		if err == nil {
			err = found(f.Text)
		}
	}
	return cli.Content{Bills: findings.Bills, Records: findings.Records, StoreID: findings.Store}, err
}
