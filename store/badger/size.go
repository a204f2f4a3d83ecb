package badger

import (
	"errors"
	"io/fs"
	"os"
)

// Size returns the bytes that the store's files take on the disk.
func (s *store) Size() (bytes uint64, err error) {
	if err := s.readable(); err != nil {
		return 0, err
	}
	return sizeOf(s.dir)
}

func sizeOf(dir string) (bytes uint64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist): // compacted away just now
		case err != nil:
			return 0, err
		default:
			bytes += allocated(info)
		}
	}
	return bytes, nil
}
