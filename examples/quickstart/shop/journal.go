package shop

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// journal is an append-only file of lines. A line that append accepted is on
// the disk; one that it did not accept is never read back.
//
// The file is open only while it is written. So there is nothing to close, and
// a reload of Caddy cannot close it under a request that is still running.
type journal struct {
	path string
	size int64 // how much of the file is whole lines
	torn bool  // a failed append may have left more than that
}

// openJournal opens the file at path, creating it where there is none, and
// hands each of its lines to replay. What stands after the last line end was
// cut off while it was written, was never acknowledged, and is dropped.
func openJournal(path string, replay func(line []byte) error) (*journal, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = createDurably(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	whole := content[:bytes.LastIndexByte(content, '\n')+1]
	number := 0
	for line := range bytes.Lines(whole) {
		number++
		if err := replay(line); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
	}
	return &journal{path: path, size: int64(len(whole)), torn: len(whole) < len(content)}, nil
}

// append writes line, which ends in its only line end, and returns when
// it is on the disk.
func (j *journal) append(line []byte) error {
	f, err := os.OpenFile(j.path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	defer f.Close() // after Sync, nothing is left for it to lose
	if err := j.cutTornEnd(f); err != nil {
		return err
	}
	j.torn = true // until the line is whole
	if _, err := f.WriteAt(line, j.size); err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync journal: %w", err)
	}
	j.torn = false
	j.size += int64(len(line))
	return nil
}

// cutTornEnd removes what a failed append left behind. A file of another length
// that this journal did not write itself belongs to a second process: writing
// on would destroy what that one has acknowledged.
func (j *journal) cutTornEnd(f *os.File) error {
	if j.torn {
		if err := f.Truncate(j.size); err != nil {
			return fmt.Errorf("cut torn line off journal: %w", err)
		}
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	if info.Size() != j.size {
		return fmt.Errorf("%s was changed by another process: give each shop a data folder of its own", j.path)
	}
	return nil
}

// createDurably makes an empty file whose name survives a power cut as well.
func createDurably(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // has no sync for folders
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
