package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var migrationKey = []byte{kindMigration}

// abandoned is the damage that the witness tells of until all is deleted of a
// store that was given up.
const abandoned = "a migration into this folder was given up, and deleting it was interrupted: remove the folder"

// Place returns the folder.
func (s *store) Place() string { return s.dir }

// refused returns why the store does not serve, or nil.
func (s *store) refused() error { return s.role().Refusal() }

func (s *store) role() bill.Migration {
	if m := s.migration.Load(); m != nil {
		return *m
	}
	return bill.Migration{}
}

// Migration returns what the record under migrationKey says.
func (s *store) Migration(context.Context) (bill.Migration, error) { return s.role(), s.readable() }

// SetMigration writes the record as a change of its own.
func (s *store) SetMigration(ctx context.Context, m bill.Migration) error {
	if err := s.arrive(ctx, nil, m); err != nil {
		return fmt.Errorf("note the migration: %w", err)
	}
	return nil
}

// migrating is what a new state of the migration writes.
func (s *store) migrating(m bill.Migration) (writeSet, error) {
	if m.Role != bill.RoleNone {
		w, err := sealedWrite(migrationKey, m)
		return writeSet{writes: []write{w}, committed: func() { s.migration.Store(&m) }}, err
	}
	set := writeSet{writes: []write{{key: migrationKey, remove: true}}, committed: func() { s.migration.Store(nil) }}
	left := s.role()
	if left.Role != bill.RoleLeft {
		return set, nil
	}
	closed := restored{At: s.now().UTC().Truncate(time.Microsecond), Backup: left.Since}
	w, err := sealedWrite(restoredKey, closed)
	set.add(w)
	set.committed = func() {
		s.checkoutsClosed.Store(closed.At.UnixNano())
		s.migration.Store(nil)
	}
	return set, err
}

// Quiesce verifies every table: the folder's lock has kept others out since the
// store was opened, but what cannot be read would be passed over.
func (s *store) Quiesce(ctx context.Context) error { return s.verifyOpenTables(ctx) }

// Abandon closes the store and deletes its files. From the first one on the
// witness says so, and it goes last.
func (s *store) Abandon(context.Context) error {
	if s.role().Role != bill.RoleTarget {
		return fmt.Errorf("abandon store %s: nothing is being carried into it", s.dir)
	}
	if err := s.abandon(); err != nil {
		return fmt.Errorf("abandon store %s: %w", s.dir, err)
	}
	return nil
}

func (s *store) abandon() error {
	if err := s.Close(); err != nil {
		return err
	}
	if err := writeTestimony(s.dir, testimony{Damage: abandoned}); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries { // by name: the MANIFEST is behind all that it lists
		if isOurs(entry.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, entry.Name())))
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(s.dir, witnessName)), syncDirectory(s.dir))
}

// isOurs reports whether a file is one of the database's.
func isOurs(name string) bool {
	return slices.Contains([]string{".sst", ".mem", ".vlog"}, filepath.Ext(name)) ||
		slices.Contains([]string{badgerdb.ManifestFilename, badgerdb.KeyRegistryFileName, "LOCK", "DISCARD"}, name)
}

// Interface guards
var _ bill.Movable = (*store)(nil)
