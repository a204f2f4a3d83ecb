package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/store/internal/codec"
)

// SQLSTATEs (PostgreSQL's documentation, appendix A).
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	uniqueViolation      = "23505"
	characterNotInSet    = "22021"
	readOnly             = "25006"
	warning              = "01000"

	// Classes.
	connectionException   = "08"
	insufficientResources = "53"
	limitExceeded         = "54"
	operatorIntervention  = "57"
)

// code returns the SQLSTATE of an error, or "".
func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// worded returns an error in the words of bill.Store.
func worded(err error) error {
	switch c := code(err); {
	case err == nil, errors.Is(err, bill.ErrConflict), errors.Is(err, bill.ErrNotFound),
		errors.Is(err, bill.ErrUnavailable), errors.Is(err, bill.ErrTooLarge):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return bill.ErrNotFound
	case c == uniqueViolation:
		return fmt.Errorf("%w: %w", bill.ErrConflict, err)
	case strings.HasPrefix(c, limitExceeded):
		return fmt.Errorf("%w: %w", bill.ErrTooLarge, err)
	case c == characterNotInSet:
		return err // nothing was written
	}
	return fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
}

// again reports whether what failed may succeed if it is begun anew: others
// were in its way, or it never reached the server.
func again(err error) bool {
	c := code(err)
	return c == serializationFailure || c == deadlockDetected || pgconn.SafeToRetry(err)
}

// lost reports whether an error tells of the server rather than of what was
// asked of it.
func lost(err error) bool {
	switch c := code(err); {
	case err == nil, errors.Is(err, bill.ErrConflict), errors.Is(err, pgx.ErrNoRows), errors.Is(err, context.Canceled), errors.Is(err, ErrNewerSchema),
		errors.Is(err, bill.ErrMoved), errors.Is(err, bill.ErrNotFound):
		return false
	case c == "":
		return true
	case c == readOnly, strings.HasPrefix(c, connectionException), strings.HasPrefix(c, insufficientResources), strings.HasPrefix(c, operatorIntervention):
		return true
	}
	return false
}

// record reads what codec wrote. What cannot be read must not pass for what
// never was.
func record[T any](data []byte) (T, error) {
	v, err := codec.Unmarshal[T](data)
	if err != nil {
		return v, fmt.Errorf("%w: %w", bill.ErrUnavailable, err)
	}
	return v, nil
}
