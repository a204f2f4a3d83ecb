package badger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// verifyAtOnce bounds the bytes of tables that are read before the store serves.
// What a larger store has beyond that is read while it serves, the older tables
// last. A core reads some 500 MB a second.
const verifyAtOnce = 1 << 30

// tableFile is a table of the database, as its MANIFEST lists it.
type tableFile struct {
	id          uint64
	path        string
	compression options.CompressionType
}

// Badger passes over what it cannot read: a table whose index is wrong is left
// out, a block that is wrong is as if the keys in it had never been, and an
// older state of a bill shows in their place, or none. A compaction then makes
// that last. So every block of every table is verified, once at each start,
// before Badger sees it.

// verifyTables verifies the given tables until bound bytes are read, as many at a
// time as there are processors, and returns those that are left.
func verifyTables(ctx context.Context, files []tableFile, bound int64) (left []tableFile, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var read, next atomic.Int64
	var tasks sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		tasks.Go(func() {
			var v verifier
			for read.Load() < bound && ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(len(files)) {
					return
				}
				n, err := files[i].verify(&v)
				if err != nil {
					cancel(err)
				}
				read.Add(n)
			}
		})
	}
	tasks.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return files[min(next.Load(), int64(len(files))):], nil
}

// verification reads in the background what opening has left unverified.
type verification struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// verifyLater begins the verification of the given tables. The first damage
// breaks the store, and keeps it from being opened anew.
func (s *store) verifyLater(files []tableFile) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	s.verifying = verification{cancel, ended}
	go func() {
		defer close(ended)
		var v verifier
		for _, file := range files {
			if ctx.Err() != nil {
				return
			}
			if _, err := file.verify(&v); err != nil {
				s.logger().Error("the store is damaged and serves nobody any more", zap.Error(err))
				s.witness.found(err)
				s.committer.breakWith(fmt.Errorf("%w: %w", bill.ErrUnavailable, err))
				return
			}
		}
	}()
}

// stop returns when nothing is read any more.
func (v verification) stop() {
	v.cancel()
	<-v.ended
}

// listedTables returns the tables of the MANIFEST, the youngest first. One
// that cannot be read lists none: Badger, which is opened next, will not open
// over it.
func listedTables(dir string) []tableFile {
	file, err := os.Open(manifestPath(dir))
	if err != nil {
		return nil
	}
	defer file.Close()
	manifest, _, err := badgerdb.ReplayManifestFile(file, magic, databaseOptions(dir, zap.NewNop))
	if err != nil {
		return nil
	}
	var files []tableFile
	for id, listed := range manifest.Tables {
		files = append(files, tableFile{id, table.NewFilename(id, dir), listed.Compression})
	}
	slices.SortFunc(files, func(a, b tableFile) int { return cmp.Compare(b.id, a.id) })
	return files
}

// verify reads the table and returns its bytes, or an error that wraps
// ErrDamaged. One that is not there is no error: a running store has compacted
// it away, or else Badger will miss it.
func (f tableFile) verify(v *verifier) (read int64, err error) {
	read, err = f.read(v)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil && !f.isListed():
		return 0, nil // compacted away while it was read
	case err != nil:
		return 0, fmt.Errorf("%w: table %s: %w; restore the newest backup of the whole folder", ErrDamaged, f.path, err)
	}
	return read, nil
}

func (f tableFile) read(v *verifier) (size int64, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), v.verify(file, info.Size(), f.compression)
}

// isListed reports whether the MANIFEST lists the table, as far as it can be
// read: Badger takes a table off it before it deletes its file, which it cuts
// first.
func (f tableFile) isListed() bool {
	files := listedTables(filepath.Dir(f.path))
	return len(files) == 0 || slices.ContainsFunc(files, func(other tableFile) bool { return other.id == f.id })
}
