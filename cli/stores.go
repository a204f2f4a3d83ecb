package cli

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Stores does what concerns folders of stopped stores, and the backups that
// they come from. Errors say in plain words what is wrong and, where a store is
// open, that it is.
type Stores interface {
	// Show returns the bill of that name as the admin API would. A doubt says why
	// what is read may not be all there was; an error that wraps ErrUnknown, that
	// there is none.
	Show(ctx context.Context, dir, name string) (detail jsontext.Value, doubt, err error)
	// Restore fills an empty folder, or one that is not there yet.
	Restore(ctx context.Context, backup io.Reader, dir string) (Content, error)
	// Check reads all of a folder and passes on each damage found.
	Check(ctx context.Context, dir string, found func(damage string) error) (Content, error)
	// Verify reads all of a backup.
	Verify(ctx context.Context, backup io.Reader) (Content, error)
}

// Content is what a store or a backup holds.
type Content struct {
	Bills   uint64 `json:"bills"`
	Records uint64 `json:"records"`
	StoreID string `json:"storeId,omitzero"`
	TakenAt string `json:"takenAt,omitzero"` // of a backup: RFC 3339
}

// ErrUnknown is wrapped where a store has no bill of a name.
var ErrUnknown = errors.New("no bill has this name")

// Ambiguous is the error about a name that bills of several orders have.
func Ambiguous(err error, bills []string) error { return no("%w: %s", err, strings.Join(bills, ", ")) }

var errNoStores = errors.New("this Caddy has no store that can be read from a folder")

func (s *session) stores() (Stores, error) {
	if s.host.Stores == nil {
		return nil, errNoStores
	}
	return s.host.Stores, nil
}
