//go:build !(linux || darwin || freebsd)

package badger

import "io/fs"

// allocated returns the length of a file, holes included.
func allocated(info fs.FileInfo) uint64 {
	return uint64(max(info.Size(), 0))
}
