package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// Bounds towards the admin endpoint.
const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 2 * time.Minute // until an answer begins: the gateway may have been asked meanwhile
	maxAnswer     = 64 << 20
	maxComplaint  = 1 << 20
)

// operatorHeader names who acts: it is recorded in a bill's history.
const operatorHeader = "QLink-Operator"

// remote adds the flags by which Caddy's own commands find the admin endpoint.
func remote(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().String("address", "", "Address of the administration API listener (if --config is not used)")
	cmd.Flags().StringP("config", "c", "", "Configuration file (if --address is not used)")
	cmd.Flags().StringP("adapter", "a", "", "Name of config adapter to apply (if --config is used)")
	return cmd
}

// client speaks to the admin API of one Caddy.
type client struct {
	http     *http.Client
	endpoint Endpoint
	operator string
}

// admin returns the client that the flags ask for. It connects when asked
// something.
func (s *session) admin() (*client, error) {
	flag := func(name string) string { return s.cmd.Flags().Lookup(name).Value.String() }
	endpoint, err := s.host.Admin(flag("address"), flag("config"), flag("adapter"))
	if err != nil {
		return nil, fmt.Errorf("find the admin endpoint: %w", err)
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &client{endpoint: endpoint, operator: operator(), http: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, endpoint.Network, endpoint.Address)
			},
			ResponseHeaderTimeout: answerTimeout,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// operator returns user@host, in what a header can hold.
func operator() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		host = h
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, name+"@"+host)
}

// request is a call of the admin API.
type request struct {
	method string
	path   string // segments escaped
	query  url.Values
	body   any // nil: none
}

func get(path string, query url.Values) request { return request{http.MethodGet, path, query, nil} }
func post(path string, body any) request        { return request{http.MethodPost, path, nil, body} }

// billPath returns the path of a bill by any of its names, which is the
// operator's text.
func billPath(name, act string) string {
	path := "/qlink/bills/" + strings.ReplaceAll(url.PathEscape(name), ".", "%2E") // dots alone would be a way up
	if act != "" {
		path += "/" + act
	}
	return path
}

// apiError is an answer that is not 2xx.
type apiError struct {
	Status int `json:"-"`

	Message string         `json:"error"`
	Code    string         `json:"code"`
	Bill    jsontext.Value `json:"bill"`
	Bills   []string       `json:"bills"`
}

func (e *apiError) Error() string {
	text := e.Message
	if len(e.Bills) > 0 {
		text += ": " + strings.Join(e.Bills, ", ")
	}
	return text
}

// open asks and returns the answer's body as it comes, which the caller
// closes.
func (c *client) open(ctx context.Context, r request) (io.ReadCloser, error) {
	req, err := c.newRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, c.complaint(resp)
}

func (c *client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	target := c.endpoint.Origin + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	if c.endpoint.Network == "tcp" {
		req.Header.Set("Origin", c.endpoint.Origin)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set(operatorHeader, c.operator)
	return req, nil
}

// unreachable says what a person can do about it.
func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // without the address a second time
	}
	return fmt.Errorf("no Caddy answers at %s: %w (is it running? --address names another)", c.endpoint.Name, err)
}

// noApp ends the error of a Caddy that has the module and no configuration of
// it.
const noApp = "has no app qlink"

// complaint turns an answer into an error with an exit code. Where no error of
// the admin API comes with it, there is no qlink behind it at all.
func (c *client) complaint(resp *http.Response) error {
	answer := &apiError{Status: resp.StatusCode}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxComplaint))
	if err != nil || json.Unmarshal(body, answer) != nil || answer.Message == "" {
		return fmt.Errorf("the Caddy at %s answers %s: has it this module?", c.endpoint.Name, resp.Status)
	}
	switch {
	case resp.StatusCode == http.StatusBadRequest:
		return &failure{exitUsage, answer}
	case resp.StatusCode == http.StatusNotFound && strings.HasSuffix(answer.Message, noApp):
		return answer
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return &failure{exitNo, answer}
	}
	return answer
}

// fetch asks and reads the whole answer.
func (c *client) fetch(ctx context.Context, r request) (jsontext.Value, error) {
	body, err := c.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	answer, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return answer, nil
}

// ask asks and decodes the answer into a value.
func ask[T any](ctx context.Context, c *client, r request) (answer T, err error) {
	raw, err := c.fetch(ctx, r)
	if err != nil {
		return answer, err
	}
	return decode[T](raw)
}

// decode reads an answer: names that it does not know are another version's.
func decode[T any](raw jsontext.Value) (v T, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("understand the answer: %w", err)
	}
	return v, nil
}

// stream asks for an answer of many objects and passes each on as it comes,
// until the last; one that breaks off is an error.
func (c *client) stream(ctx context.Context, r request, each func(jsontext.Value) error) error {
	body, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer body.Close()
	decoder := jsontext.NewDecoder(body)
	for {
		value, err := decoder.ReadValue()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("the answer breaks off: %w", err)
		}
		if err := each(value); err != nil {
			return err
		}
	}
}

// patient waits for an answer however long it takes: the gateway is asked about
// every bill first.
func (c *client) patient() {
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t.ResponseHeaderTimeout = 0
	}
}
