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
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// seeOther sends a browser on, after a POST, to a page it can load again.
func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusSeeOther)
}
