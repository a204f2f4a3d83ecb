package badger

import (
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"
)

// magic is written into the database's MANIFEST, so that another program's
// database is not taken for ours. It is "QL"; it changes when the layout of
// the keys changes so that old code must not open it.
const magic = 'Q'<<8 | 'L'

// databaseOptions are Badger's, made for a small and careful database: its
// defaults want 85 MB of heap and do not sync.
func databaseOptions(dir string, logger func() *zap.Logger) badgerdb.Options {
	return badgerdb.DefaultOptions(dir).
		WithSyncWrites(true).       // else a power cut takes what was acknowledged
		WithDetectConflicts(false). // the committer is the only writer
		WithMemTableSize(8 << 20).
		WithNumMemtables(2).
		// Level zero is merged into the next level in larger pieces than Badger's five
		// tables, since keys are random and each merge rewrites most of that level; by
		// two at a time instead of four, and into tables of half the size: a dozen of
		// those that are being built are in memory at once.
		WithNumLevelZeroTables(10).
		WithNumLevelZeroTablesStall(20).
		WithNumCompactors(2).
		WithBaseTableSize(1 << 20).
		WithValueLogFileSize(16 << 20).
		WithBlockCacheSize(8 << 20). // never 0: Open panics, as blocks are compressed
		WithCompression(options.Snappy).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false).
		WithExternalMagic(magic).
		WithLogger(databaseLogger{logger})
}

// databaseLogger hands Badger's words to the logger of the day: the database
// outlives the configuration that it was opened with.
type databaseLogger struct {
	current func() *zap.Logger
}

func (l databaseLogger) sugar() *zap.SugaredLogger {
	return l.current().Named("badger").WithOptions(zap.AddCallerSkip(1)).Sugar()
}

func (l databaseLogger) Errorf(format string, args ...any) {
	l.sugar().Errorf(strings.TrimSpace(format), args...)
}

func (l databaseLogger) Warningf(format string, args ...any) {
	l.sugar().Warnf(strings.TrimSpace(format), args...)
}

// Infof logs at debug: Badger's information is about tables and levels.
func (l databaseLogger) Infof(format string, args ...any) {
	l.sugar().Debugf(strings.TrimSpace(format), args...)
}

// Debugf logs nothing: it is called for each write.
func (databaseLogger) Debugf(string, ...any) {}
