package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

//go:embed migrations/*.sql
var migrations embed.FS

// newest is the newest migration that this program knows.
var newest = func() int64 {
	known, err := knownMigrations()
	if err != nil {
		panic(err) // the embedded files are misnamed
	}
	return known[len(known)-1].version
}()

// migration is one file of migrations.
type migration struct {
	version int64
	text    string
}

// knownMigrations returns them, the oldest first. A file's name begins with its
// number.
func knownMigrations() (known []migration, err error) {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		text, err := migrations.ReadFile(path.Join("migrations", f.Name()))
		if err != nil {
			return nil, err
		}
		number, _, _ := strings.Cut(f.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, err
		}
		known = append(known, migration{version, string(text)})
	}
	return known, nil
}

// ErrNewerSchema is wrapped by the error about a schema that newer programs have
// made, and that this one must not use.
var ErrNewerSchema = errors.New("a newer version of this program has changed the schema so that this one cannot use it any more")

// How long the lock over migrations lasts once its holder is gone, and how often
// who waits for it looks.
const (
	lockLasts = 30 * time.Second
	lockLook  = time.Second
	lockTries = 120
	// migrateTime bounds all migrations together; a store is down meanwhile.
	migrateTime = 10 * time.Minute
)

// ready makes the schema, or brings it up to date, and checks that it is one
// that this program can use. Programs that know fewer migrations go on beside
// it.
func (s *store) ready(ctx context.Context, conn *pgx.Conn) error {
	version, err := s.version(ctx, conn)
	if err != nil {
		return err
	}
	if version == 0 && s.existing {
		return fmt.Errorf("there is no schema %s: %w", s.schema, bill.ErrNotFound)
	}
	if version < newest {
		if err := s.migrate(ctx, conn); err != nil {
			return fmt.Errorf("update schema %s: %w", s.schema, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	var st state
	if err := st.read(conn.QueryRow(ctx, s.in(askState))); err != nil {
		return fmt.Errorf("read the state of schema %s: %w", s.schema, err)
	}
	return s.heed(st)
}

// compatible refuses a schema whose oldest program is newer than this one.
func compatible(oldest int64) error {
	if oldest > newest {
		return fmt.Errorf("%w: it wants migration %d, and this program knows %d", ErrNewerSchema, oldest, newest)
	}
	return nil
}

// version returns the newest migration that was applied; 0 for none.
func (s *store) version(ctx context.Context, conn *pgx.Conn) (version int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	var begun bool
	if err := conn.QueryRow(ctx, s.in(`SELECT to_regclass('qlink.migrations') IS NOT NULL`)).Scan(&begun); err != nil || !begun {
		return 0, err
	}
	err = conn.QueryRow(ctx, s.in(`SELECT coalesce(max(version_id), 0) FROM qlink.migrations`)).Scan(&version)
	return version, err
}

// migrate applies what is missing, one process at a time. The lock is a row of a
// table, which every engine has; advisory locks are not. Through a pooler every
// statement may meet another session, so that none relies on one.
func (s *store) migrate(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTime)
	defer cancel()
	config := conn.Config()
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	db := stdlib.OpenDB(*config)
	defer db.Close()
	if err := s.makeSchema(ctx, db); err != nil {
		return err
	}
	plainText, err := s.bytewise(ctx, db)
	if err != nil {
		return err
	}
	known, err := knownMigrations()
	if err != nil {
		return err
	}
	steps := make([]*goose.Migration, 0, len(known))
	for _, m := range known {
		statements := plainText(s.in(m.text))
		steps = append(steps, goose.NewGoMigration(m.version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statements, pgx.QueryExecModeSimpleProtocol) // many in one
			return err
		}}, nil))
	}
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableName(s.schema+".migration_lock"),
		lock.WithTableLeaseDuration(lockLasts),
		lock.WithTableLockTimeout(lockLook, lockTries),
	)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, nil, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(steps...),
		goose.WithTableName(s.schema+".migrations"), goose.WithLocker(locker), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	applied, err := provider.Up(ctx)
	if err != nil {
		return err
	}
	if len(applied) > 0 {
		s.logger().Info("the store's schema was brought up to date", schemaFields(s.schema, newest)...)
	}
	return nil
}

// makeSchema makes it where it is missing: only then has the role to be allowed
// to. Two that do so at once may get in each other's way.
func (s *store) makeSchema(ctx context.Context, db *sql.DB) (err error) {
	var there int
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM pg_namespace WHERE nspname = $1`, s.schema).Scan(&there)
	if err != nil || there > 0 {
		return err
	}
	for range maxTries {
		_, err = db.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+s.schema)
		if c := code(err); c != uniqueViolation && c != "42P06" {
			return err
		}
	}
	return err
}

// bytewise returns what a migration is to become for the engine at hand: on
// CockroachDB every text compares as bytes, and the collation that says so has
// no name.
func (s *store) bytewise(ctx context.Context, db *sql.DB) (func(string) string, error) {
	var engine string
	if err := db.QueryRowContext(ctx, `SELECT version()`).Scan(&engine); err != nil {
		return nil, err
	}
	if strings.Contains(engine, "CockroachDB") {
		return func(statements string) string { return strings.ReplaceAll(statements, ` COLLATE "C"`, "") }, nil
	}
	return func(statements string) string { return statements }, nil
}
