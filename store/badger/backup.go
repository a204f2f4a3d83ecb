package badger

import (
	"context"
	"errors"
	"fmt"
	"io"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Backup writes the store as it is now, in the format of container.go. It
// reads a block's worth at a time and writes it with nothing locked: a reader
// who is slow, or has gone, holds up nobody who closes the store.
func (s *store) Backup(ctx context.Context, w io.Writer) (bill.Manifest, error) {
	m, err := s.backUp(ctx, w)
	if err != nil {
		return bill.Manifest{}, fmt.Errorf("back up store %s: %w", s.dir, err)
	}
	return m, nil
}

func (s *store) backUp(ctx context.Context, w io.Writer) (bill.Manifest, error) {
	if err := s.verifyOpenTables(ctx); err != nil {
		return bill.Manifest{}, err
	}
	p, err := s.takeSnapshot()
	if err != nil {
		return bill.Manifest{}, err
	}
	defer p.end()
	held, size, err := p.describe(ctx)
	if err != nil {
		return bill.Manifest{}, err
	}
	b, err := newBackupWriter(w)
	if err != nil {
		return bill.Manifest{}, err
	}
	header := backupHeader{
		Format: backupFormat, At: p.at, Store: held.Store, Sequence: held.Sequence, Bills: held.Bills, Size: size,
	}
	if err := b.begin(header); err != nil {
		return bill.Manifest{}, err
	}
	for from := []byte{0}; from != nil; {
		if from, err = p.read(ctx, from, b); err == nil {
			err = b.endBlock()
		}
		if err != nil {
			return bill.Manifest{}, err
		}
	}
	if p.bills != held.Bills {
		return bill.Manifest{}, fmt.Errorf("%w: %d bills can be read, and %d were written", ErrDamaged, p.bills, held.Bills)
	}
	trailer, err := b.finish()
	return manifestOf(header, trailer), err
}

// verifyOpenTables verifies the tables that are in use: Badger passes over a
// block that it cannot read, as if nothing were there.
func (s *store) verifyOpenTables(ctx context.Context) error {
	return s.view(ctx, func(*badgerdb.Txn) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = errors.New("a checksum does not match")
			}
			if err != nil {
				err = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
		}()
		return s.db.VerifyChecksum()
	})
}
