package handlers

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func accepting(accept ...string) *http.Request {
	return &http.Request{Header: http.Header{"Accept": accept}}
}

func TestAPageIsForWhoPrefersHTML(t *testing.T) {
	for accept, html := range map[string]bool{
		"":    false,
		"*/*": false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
		"text/html":                             true,
		"TEXT/HTML; charset=utf-8":              true,
		"text/*":                                true,
		"text/html, */*":                        true,
		"application/json":                      false,
		"application/json, text/plain, */*":     false,
		"application/json, text/html;q=0.9":     false,
		"text/html;q=0.5, application/json":     false,
		"text/html, application/json;q=0.9":     true,
		"text/html, application/json":           true,
		"application/json, text/html":           false,
		"text/html;q=0, */*":                    false,
		"text/html;q=0.000":                     false,
		"text/html;q=0.001":                     true,
		"text/html;level=1;q=0.4, */*;q=0.5":    false,
		"text/html;q=nonsense":                  true,
		"text/html;q=2, application/json;q=0.9": true,
		",,;q=1,text/html":                      true,
		"text/htm":                              false,
		"application/*, text/html;q=0.2":        false,
	} {
		if got := prefersHTML(accepting(accept)); got != html {
			t.Errorf("Accept %q: %v", accept, got)
		}
	}
	if prefersHTML(accepting("application/json", "text/html;q=0.1")) {
		t.Error("lines of the header are not read as one")
	}
}

func TestAStreamIsForWhoNamesItAndPrefersIt(t *testing.T) {
	for accept, events := range map[string]bool{
		"":                                    false,
		"*/*":                                 false,
		"text/*":                              false,
		"application/json":                    false,
		"text/event-stream":                   true,
		"TEXT/Event-Stream":                   true,
		"text/event-stream, */*;q=0.8":        true,
		"text/event-stream, */*":              true,
		"text/event-stream, application/json": true,
		"application/json, text/event-stream": false,
		"application/json;q=0.5, text/event-stream;q=0.9":                 true,
		"application/json, text/event-stream;q=0.9":                       false,
		"text/event-stream;q=0":                                           false,
		"text/event-stream;q=0.1, */*":                                    false,
		"text/event-streams":                                              false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false,
	} {
		if got := prefersEvents(accepting(accept)); got != events {
			t.Errorf("Accept %q: %v", accept, got)
		}
	}
}

func FuzzAccept(f *testing.F) {
	f.Add("text/html;q=0.5, */*;q=1.000")
	f.Add(";;q==,")
	f.Fuzz(func(t *testing.T, accept string) {
		if prefersHTML(accepting(accept)) && !strings.Contains(strings.ToLower(accept), "text/") && !strings.Contains(accept, "*/*") {
			t.Errorf("Accept %q is taken for a browser's", accept)
		}
	})
}

func FuzzPrefer(f *testing.F) {
	f.Add("wait=10")
	f.Add(`respond-async;x, WAIT = "99999999999"`)
	f.Fuzz(func(t *testing.T, prefer string) {
		wait := preferredWait(&http.Request{Header: http.Header{"Prefer": {prefer}}})
		if wait < 0 || wait > maxWait || wait%time.Second != 0 {
			t.Errorf("Prefer %q waits %s", prefer, wait)
		}
		if wait, ok := parseWait(prefer); ok && (wait < 0 || wait > maxWait) {
			t.Errorf("wait=%q waits %s", prefer, wait)
		}
	})
}

func FuzzSignature(f *testing.F) {
	f.Add(Sign("s", time.Unix(1700000000, 0), "GET", "/", nil))
	f.Add("t=1,v1=")
	f.Fuzz(func(t *testing.T, value string) {
		seconds, mac, ok := parseSignature(value)
		if ok && (!strings.HasPrefix(value, "t="+seconds+",v1=") || len(mac) != 32 || len(value) != len("t=,v1=")+len(seconds)+64) {
			t.Errorf("%q is read as %q and %x", value, seconds, mac)
		}
	})
}
