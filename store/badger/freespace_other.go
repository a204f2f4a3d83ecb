//go:build !(linux || darwin || freebsd)

package badger

import "errors"

// freeSpace cannot be told here; the store does not implement bill.FreeSpacer.
func freeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }
