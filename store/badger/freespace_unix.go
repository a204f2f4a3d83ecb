//go:build linux || darwin || freebsd

package badger

import (
	"golang.org/x/sys/unix"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// freeSpace returns the bytes that an ordinary user may still write in dir.
func freeSpace(dir string) (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	// The fields' types, signed and not, differ among systems; some count a
	// reserve that has been broken into as below zero.
	blocks := max(int64(stat.Bavail), 0)            //nolint:gosec // see above
	return uint64(blocks) * uint64(stat.Bsize), nil //nolint:gosec // see above
}

// FreeSpace returns the bytes free on the store's disk.
func (s *store) FreeSpace() (uint64, error) { return freeSpace(s.dir) }

// Interface guard
var _ bill.FreeSpacer = (*store)(nil)
