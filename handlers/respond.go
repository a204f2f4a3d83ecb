package handlers

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
	typeHTML    = "text/html; charset=utf-8"
)

// encodeJSON never fails on text: what the gateway once sent must not make a
// bill unreadable.
func encodeJSON(v any) ([]byte, error) {
	return json.Marshal(v, jsontext.AllowInvalidUTF8(true))
}

// writeJSON answers with v.
func (h *Handler) writeJSON(w http.ResponseWriter, r *http.Request, status int, contentType string, v any) {
	body, err := encodeJSON(v)
	if err != nil {
		h.Logger.Error("encode answer", zap.Error(err))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	write(w, r, status, contentType, body)
}

// write answers with a body, or with its headers alone where HEAD asked. A
// client that has gone is no error of ours.
func write(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	setHeaders(w.Header(), "Content-Type", contentType, "Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// setHeaders sets each name to the value after it. It is Header.Set for several
// at once, at the cost of one: their values share an allocation. Names are
// written as net/http does.
func setHeaders(header http.Header, pairs ...string) {
	values := make([]string, len(pairs)/2)
	for i := range values {
		values[i] = pairs[2*i+1]
		header[pairs[2*i]] = values[i : i+1 : i+1]
	}
}

// seeOther sends a browser on, after a POST, to a page it can load again.
func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusSeeOther)
}
