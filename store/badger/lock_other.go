//go:build !(linux || darwin || freebsd)

package badger

import (
	"errors"
	"fmt"
	"os"
)

// lockToRead cannot be had here: nor can Badger read without writing.
func lockToRead(string) (*os.File, error) {
	return nil, fmt.Errorf("a store cannot be read offline on this system: %w", errors.ErrUnsupported)
}
