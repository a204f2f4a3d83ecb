package bill

import (
	"context"
	"io"
	"time"
)

// Manifest says what a backup holds, and what a restore can check it by.
type Manifest struct {
	Format   int       `json:"format"`
	At       time.Time `json:"at"`       // of the snapshot; UTC
	Store    string    `json:"store"`    // id of the store it was taken of
	Sequence uint64    `json:"sequence"` // of the last change in it: a store counts its changes
	Bills    uint64    `json:"bills"`    // that were ever created
	Records  uint64    `json:"records"`  // in the file
	Bytes    int64     `json:"bytes"`    // of the file before its last line …
	SHA256   string    `json:"sha256"`   // … and their hash, in hexadecimal
}

// Backuper is implemented by stores that can be backed up while they run.
type Backuper interface {
	// Backup writes one consistent snapshot of the store to w, in memory that
	// does not grow with it: every commit that was acknowledged before the call,
	// each as a whole or not at all. It holds up neither commits nor Close: it
	// ends with an error when ctx ends or the store closes or breaks, and when it
	// meets damage, which is never copied in silence. What was written before an
	// error is no backup, and no restore takes it for one.
	Backup(ctx context.Context, w io.Writer) (Manifest, error)
}

// Restorable is implemented by stores that can come from a backup. Orders paid
// after the backup was taken would be payable again; so such a store begins
// with its checkouts closed: it takes everything but new payments, until
// somebody has seen to those orders and reopens it. It keeps no engine from
// committing; that is the engine's to heed.
type Restorable interface {
	// CheckoutsClosed returns since when checkouts are closed; zero where they
	// are open. It is asked often: it does no I/O and waits for nothing.
	CheckoutsClosed() time.Time
	// Reopen opens checkouts for good: it is durable when it returns. Where they
	// are open it does nothing.
	Reopen(ctx context.Context) error
}

// CheckoutsClosed returns since when the checkouts of s are closed; zero where
// they are open, also where s is no Restorable.
func CheckoutsClosed(s Store) time.Time {
	if r, ok := s.(Restorable); ok {
		return r.CheckoutsClosed()
	}
	return time.Time{}
}
