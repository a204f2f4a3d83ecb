package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// On a full disk the process would die of SIGBUS in a mapped file, at every
// start again. So what has to be free to open a store is twice what an empty
// one takes; to write into an open one, what its next tables take.
const (
	minFreeSpace  = 96 << 20
	minFreeToGoOn = minFreeSpace / 2
)

// resolve returns path as an absolute one without symbolic links; what does
// not exist of it stays as it is. It creates nothing.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	existing, rest := abs, ""
	for {
		resolved, err := filepath.EvalSymlinks(existing)
		if err == nil {
			return filepath.Join(resolved, rest), nil
		}
		parent := filepath.Dir(existing)
		if !errors.Is(err, fs.ErrNotExist) || parent == existing {
			return "", err
		}
		existing, rest = parent, filepath.Join(filepath.Base(existing), rest)
	}
}

// prepareDirectory makes the store's directory, or checks the one that is
// there. On failure nothing has been made.
func prepareDirectory(dir string, logger *zap.Logger) error {
	existing := dir
	for !exists(existing) && filepath.Dir(existing) != existing {
		existing = filepath.Dir(existing)
	}
	if err := checkFreeSpace(existing, minFreeSpace); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		logger.Warn("the store's folder can be entered by other users: chmod 700 it",
			zap.String("dir", dir), zap.Stringer("mode", mode))
	}
	if err := checkManifest(dir); err != nil {
		return err
	}
	return removeEmptyLogs(dir)
}

// checkFreeSpace refuses a disk with less than so many bytes free.
func checkFreeSpace(dir string, needed uint64) error {
	free, err := freeSpace(dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	case err != nil:
		return fmt.Errorf("free space: %w", err)
	case free < needed:
		return fmt.Errorf("%w: the disk is full: %d MiB free, %d MiB needed", bill.ErrUnavailable, free>>20, needed>>20)
	}
	return nil
}

// checkManifest refuses a directory whose tables nobody lists any more: Badger
// would take it for a new one, and delete them.
func checkManifest(dir string) error {
	if exists(manifestPath(dir)) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		switch filepath.Ext(entry.Name()) {
		case ".sst", ".mem", ".vlog":
			return fmt.Errorf("%w: it holds %s but no MANIFEST; restore the whole folder from a backup",
				ErrDamaged, entry.Name())
		}
	}
	return nil
}

// removeEmptyLogs removes write-ahead logs of no length, over which Badger
// fails to open. It leaves such a file behind when it cannot give it its size,
// or is killed while removing it: neither holds anything.
func removeEmptyLogs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".mem" {
			continue
		}
		info, err := entry.Info()
		if err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, entry.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isStore reports whether there is a store in dir, in whatever state.
func isStore(dir string) bool {
	return exists(manifestPath(dir)) || exists(filepath.Join(dir, witnessName))
}

func manifestPath(dir string) string { return filepath.Join(dir, "MANIFEST") }

// syncDirectory makes durable which files dir holds.
func syncDirectory(dir string) (err error) {
	if runtime.GOOS == "windows" { // which syncs no folders, nor needs to
		return nil
	}
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return file.Sync()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
