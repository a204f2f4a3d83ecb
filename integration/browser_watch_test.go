package integration

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
)

// request is one that a page made, whatever became of it.
type request struct {
	Method string
	URL    string
	Type   network.ResourceType
	Header network.Headers // the page's own; the browser adds to it

	loader cdp.LoaderID // the document it was made for
	at     cdp.MonotonicTime
}

func (r request) host() string {
	u, err := url.Parse(r.URL)
	if err != nil {
		return r.URL
	}
	return u.Host
}

// watch notes what a page does: its requests, when it is painted first, the
// errors it logs and the violations of its own policy.
type watch struct {
	mu       sync.Mutex
	requests []request
	paints   map[cdp.LoaderID]cdp.MonotonicTime
	loaded   map[cdp.LoaderID]bool
	underWay map[network.RequestID]string // path
	most     map[string]int               // of requests for a path that were under way at a time
	faults   []string
	muted    bool // what a test does to a page is not the page's doing
	excused  []*regexp.Regexp
}

func newWatch() *watch {
	return &watch{
		paints: make(map[cdp.LoaderID]cdp.MonotonicTime), loaded: make(map[cdp.LoaderID]bool),
		underWay: make(map[network.RequestID]string), most: make(map[string]int),
	}
}

// note is called with every event of the browser, in their order.
func (w *watch) note(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		w.requested(e)
	case *network.EventLoadingFinished:
		delete(w.underWay, e.RequestID)
	case *network.EventLoadingFailed:
		delete(w.underWay, e.RequestID)
	case *page.EventLifecycleEvent:
		switch e.Name {
		case "firstPaint":
			w.paints[e.LoaderID] = e.Timestamp
		case "load":
			w.loaded[e.LoaderID] = true
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			w.fault("log of %s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			w.fault("console: %s", consoleText(e.Args))
		}
	case *runtime.EventExceptionThrown:
		w.fault("exception: %s %s", e.ExceptionDetails.Text, consoleText([]*runtime.RemoteObject{e.ExceptionDetails.Exception}))
	case *audits.EventIssueAdded:
		w.issue(e.Issue)
	}
}

func (w *watch) requested(e *network.EventRequestWillBeSent) {
	r := request{Method: e.Request.Method, URL: e.Request.URL, Type: e.Type, Header: e.Request.Headers, loader: e.LoaderID, at: e.Timestamp}
	w.requests = append(w.requests, r)
	w.begun(e.RequestID, r.URL)
	if u, err := url.Parse(r.URL); err == nil && u.Scheme != "data" && u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" {
		w.fault("request to another host: %s", r.URL)
	}
}

// begun counts a request among those for the same path.
func (w *watch) begun(id network.RequestID, address string) {
	u, err := url.Parse(address)
	if err != nil {
		return
	}
	w.underWay[id] = u.Path
	now := 0
	for _, path := range w.underWay {
		if path == u.Path {
			now++
		}
	}
	w.most[u.Path] = max(w.most[u.Path], now)
}

// mostAtOnce is how many requests for a path were under way at a time at most.
func (w *watch) mostAtOnce(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most[path]
}

func (w *watch) issue(i *audits.InspectorIssue) {
	if d := i.Details.ContentSecurityPolicyIssueDetails; d != nil {
		w.fault("against the page's policy: %s %s", d.ViolatedDirective, d.BlockedURL)
	}
}

func (w *watch) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	excused := slices.ContainsFunc(w.excused, func(r *regexp.Regexp) bool { return r.MatchString(text) })
	if !w.muted && !excused {
		w.faults = append(w.faults, text)
	}
}

// take returns the faults so far and forgets them.
func (w *watch) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	faults := w.faults
	w.faults = nil
	return faults
}

func consoleText(args []*runtime.RemoteObject) string {
	var b strings.Builder
	for _, a := range args {
		if a != nil {
			fmt.Fprintf(&b, "%s%s ", a.Value, a.Description)
		}
	}
	return b.String()
}

func (w *watch) mute(muted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.muted = muted
}

// wantLoaded is an error until the document has been loaded.
func (w *watch) wantLoaded(loader cdp.LoaderID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.loaded[loader] {
		return errors.New("it is not loaded yet")
	}
	return nil
}

// superseded reports whether the tab has gone on to another document without
// ever loading this one.
func (w *watch) superseded(loader cdp.LoaderID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	newest := w.newest()
	return !w.loaded[loader] && newest != "" && newest != loader
}

// newest is the document asked for last.
func (w *watch) newest() cdp.LoaderID {
	for _, r := range slices.Backward(w.requests) {
		if r.Type == network.ResourceTypeDocument {
			return r.loader
		}
	}
	return ""
}

// beforePaint are the requests of the newest document that were made before
// anything of it was to be seen, its own among them.
func (w *watch) beforePaint() []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	newest := w.newest()
	painted, ok := w.paints[newest]
	var early []request
	for _, r := range w.requests {
		if r.loader == newest && (!ok || r.at < painted) {
			early = append(early, r)
		}
	}
	return early
}
