package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// The description of the endpoints that programs read. Every answer that a test
// of this package gets from one of them has to be as it says, and all that it
// says has to be seen by a test.
const openAPI = "../docs/openapi.yaml"

// described is what docs/openapi.yaml says, and what of it was seen.
type described struct {
	read func() (*openapi3.T, error)

	mu   sync.Mutex
	seen map[string]bool
}

var theDescription = described{
	seen: make(map[string]bool),
	read: sync.OnceValues(func() (*openapi3.T, error) {
		loader := openapi3.NewLoader()
		doc, err := loader.LoadFromFile(openAPI)
		if err != nil {
			return nil, err
		}
		for _, contentType := range []string{"text/html", "text/event-stream", "image/svg+xml", "image/png"} {
			openapi3filter.RegisterBodyDecoder(contentType, asText)
		}
		return doc, doc.Validate(context.Background())
	}),
}

var refusals = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestHeaderFieldsTooLarge, http.StatusBadGateway, http.StatusServiceUnavailable}

// asText takes a body that has no form of its own.
func asText(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	text, err := io.ReadAll(body)
	return string(text), err
}

// find returns the operation that a request to an endpoint is described by.
func (d *described) find(doc *openapi3.T, method, path string) (route *routers.Route, parameters map[string]string) {
	segments := strings.Split(path, "/")
	for template, item := range doc.Paths.Map() {
		pattern := strings.Split(template, "/")
		if len(pattern) != len(segments) || item.GetOperation(method) == nil {
			continue
		}
		values := make(map[string]string)
		if slices.EqualFunc(pattern, segments, func(p, s string) bool {
			name, varies := strings.CutPrefix(p, "{")
			values[strings.TrimSuffix(name, "}")] = s
			return p == s || varies && s != ""
		}) {
			return &routers.Route{Spec: doc, Path: template, PathItem: item, Method: method, Operation: item.GetOperation(method)}, values
		}
	}
	return nil, nil
}

// check compares an answer with the description, if its request is for one of the
// endpoints.
func (d *described) check(req *http.Request, a answer) error {
	path, ours := strings.CutPrefix(req.URL.EscapedPath(), "/qlink")
	// Every answer of an endpoint forbids to keep it. One that does not, and is a
	// refusal, is by somebody who stands before them: net/http over what is no
	// request, who asks for a password, or an operator who keeps the site shut.
	if a.Header.Get("Cache-Control") == "" && slices.Contains(refusals, a.StatusCode) {
		return nil
	}
	if !ours || req.Method != http.MethodGet && req.Method != http.MethodPost || a.Header.Get("Content-Encoding") != "" {
		return nil
	}
	doc, err := d.read()
	if err != nil {
		return err
	}
	route, parameters := d.find(doc, req.Method, path)
	if route == nil {
		if a.StatusCode < 400 {
			return fmt.Errorf("%s %s is not described, and answers %s", req.Method, path, a.Status)
		}
		d.noteCode(a)
		return nil
	}
	for name, value := range parameters {
		parameters[name], _ = url.PathUnescape(value)
	}
	if err := openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: parameters, Route: route},
		Status:                 a.StatusCode, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}); err != nil {
		return err
	}
	d.note(route.Operation, a)
	d.noteCode(a)
	return nil
}

// note keeps what was seen of an operation.
func (d *described) note(o *openapi3.Operation, a answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[seenStatus(o, fmt.Sprint(a.StatusCode))] = true
	d.seen[seenKind(o, fmt.Sprint(a.StatusCode), a.kind())] = true
}

// noteCode keeps the code of an error.
func (d *described) noteCode(a answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var problem struct{ Code string }
	if a.kind() == "application/problem+json" && json.Unmarshal(a.body, &problem) == nil {
		d.seen[seenCode(problem.Code)] = true
	}
}

// kind is the answer's content type, without parameters.
func (a answer) kind() string {
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	return kind
}

func seenStatus(o *openapi3.Operation, status string) string { return o.OperationID + " " + status }

func seenKind(o *openapi3.Operation, status, kind string) string {
	return seenStatus(o, status) + " as " + kind
}

func seenCode(code string) string { return "the code " + code }

// ourFault is the code of an error that no test knows how to come by: one that
// knew would be mended.
const ourFault = "internal_error"

// unseen is what is described and was seen by no test: statuses, the kinds of
// content of those that are no errors, and the codes of errors.
func (d *described) unseen() ([]string, error) {
	doc, err := d.read()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, item := range doc.Paths.Map() {
		for _, o := range item.Operations() {
			for status, response := range o.Responses.Map() {
				if status == "default" {
					continue // the codes tell those apart
				}
				all = append(all, seenStatus(o, status))
				for kind := range response.Value.Content {
					if status < "400" {
						all = append(all, seenKind(o, status, kind))
					}
				}
			}
		}
	}
	for _, code := range doc.Components.Schemas["Problem"].Value.Properties["code"].Value.Enum {
		if code != ourFault {
			all = append(all, seenCode(fmt.Sprint(code)))
		}
	}
	all = slices.DeleteFunc(all, func(what string) bool { return d.seen[what] })
	slices.Sort(all)
	return all, nil
}

// That an answer is compared at all: a wrong one is found, and one that nobody
// described.
func TestAnAnswerThatIsNotDescribedIsFound(t *testing.T) {
	const problem = `{"title":"a","status":404,"detail":"b","code":"not_found"}`
	for _, c := range []struct {
		method, path, contentType, body string
		status                          int
		right                           bool
	}{
		{"GET", "/qlink/bills/x", "application/problem+json", problem, 404, true},
		{"GET", "/qlink/bills/x", "application/problem+json", strings.Replace(problem, "not_found", "lost", 1), 404, false},
		{"GET", "/qlink/bills/x", "application/json", `{"id":"x"}`, 200, false},
		{"GET", "/qlink/bills/x", "text/plain", "hello", 200, false},
		{"GET", "/qlink/health", "application/json", `{"status":"ok"}`, 200, true},
		{"GET", "/qlink/health", "application/json", `{"status":"bad"}`, 200, false},
		{"POST", "/qlink/payNotification", "application/json", `{"success":true}`, 200, true},
		{"POST", "/qlink/payNotification", "application/json", `{"success":true}`, 404, false},
		{"GET", "/qlink/secret", "application/json", `{}`, 200, false},
		{"GET", "/kopi", "text/html", "a page of the shop", 200, true},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://shop.example"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Content-Type": {c.contentType}, "Cache-Control": {"no-store"}}
		a := answer{&http.Response{StatusCode: c.status, Status: fmt.Sprint(c.status), Header: header}, []byte(c.body)}
		apart := described{read: theDescription.read, seen: make(map[string]bool)}
		if err := apart.check(req, a); (err == nil) != c.right {
			t.Errorf("%s %s, %d %s: %v", c.method, c.path, c.status, c.body, err)
		}
	}
}
