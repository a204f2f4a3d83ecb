package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/payment"
)

// Refusal is an error with the status that it is answered with.
type Refusal struct {
	Status int
	err    error
}

// Error returns the words for the operator.
func (e *Refusal) Error() string { return e.err.Error() }

// Unwrap returns the error beneath.
func (e *Refusal) Unwrap() error { return e.err }

// Refuse returns err as one that is answered with the status.
func Refuse(status int, err error) error { return &Refusal{Status: status, err: err} }

func refuse(status int, format string, args ...any) error {
	return &Refusal{Status: status, err: fmt.Errorf(format, args...)}
}

// StatusOf is the one table from an error to an HTTP status.
func StatusOf(err error) int {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal.Status
	}
	if _, ok := errors.AsType[*payment.Refusal](err); ok {
		return http.StatusConflict
	}
	if _, ok := errors.AsType[*payment.AmbiguousError](err); ok {
		return http.StatusConflict
	}
	for _, row := range []struct {
		err    error
		status int
	}{
		{bill.ErrNotFound, http.StatusNotFound},
		{bill.ErrCursor, http.StatusBadRequest},
		{payment.ErrReason, http.StatusBadRequest},
		{payment.ErrAccountGone, http.StatusConflict},
		{payment.ErrPeriod, http.StatusBadRequest},
		{payment.ErrNoAccount, http.StatusNotFound},
		{payment.ErrNoBackup, http.StatusNotImplemented},
		{bill.ErrUnavailable, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, row.err) {
			return row.status
		}
	}
	return http.StatusInternalServerError
}

// problem is an error with more to tell than words.
type problem struct {
	Error string   `json:"error"`
	Code  string   `json:"code,omitzero"`
	Bill  *view    `json:"bill,omitzero"`
	Bills []string `json:"bills,omitzero"`
}

// encode writes v as one line of JSON.
func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v, json.Deterministic(true), json.FormatNilSliceAsNull(false))
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return append(text, '\n'), nil
}

// send answers with v.
func send(w http.ResponseWriter, status int, v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	sendText(w, status, text)
	return nil
}

func sendText(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client is gone, or it is not
}

// etagOf names a text, strongly.
func etagOf(text []byte) string {
	sum := sha256.Sum256(text)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// matches reports whether a list of entity tags (RFC 9110, section 13.1) holds
// the tag, or is *.
func matches(list, tag string) bool {
	for candidate := range strings.SplitSeq(list, ",") {
		if candidate = strings.TrimSpace(candidate); candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
			return true
		}
	}
	return false
}
