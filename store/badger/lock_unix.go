//go:build linux || darwin || freebsd

package badger

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockToRead takes the lock that Badger takes of a database it only reads:
// nobody has it open to write, or can until the file is closed.
func lockToRead(dir string) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
