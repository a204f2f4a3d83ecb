//go:build linux || darwin || freebsd

package badger

import (
	"io/fs"
	"syscall"
)

// allocated returns the bytes that a file takes: the logs are as long as they
// may get from the beginning, and mostly holes.
func allocated(info fs.FileInfo) uint64 {
	const unit = 512
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(max(stat.Blocks, 0)) * unit
	}
	return uint64(max(info.Size(), 0))
}
