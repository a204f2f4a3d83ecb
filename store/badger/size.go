package badger

import (
	"errors"
	"io/fs"
	"os"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// Size returns the bytes of the store's files, which is more than its disk has
// given where a file is mapped before it is filled.
func (s *store) Size() (bytes uint64, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // Badger has just merged it into another
		}
		if err != nil {
			return 0, err
		}
		bytes += uint64(info.Size()) //nolint:gosec // a file's size is not below zero
	}
	return bytes, nil
}

// Interface guard
var _ bill.Sizer = (*store)(nil)
