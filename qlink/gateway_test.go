package qlink

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// gateway is a server that answers everything alike, and what it was last asked.
type gateway struct {
	*httptest.Server
	requests chan request
}

type request struct {
	*http.Request
	body []byte
}

func newGateway(tb testing.TB, answer http.HandlerFunc) *gateway {
	tb.Helper()
	g := &gateway{requests: make(chan request, 64)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			tb.Error(err)
		}
		g.requests <- request{r, body}
		answer(w, r)
	}))
	tb.Cleanup(g.Close)
	return g
}

// says answers with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (g *gateway) client(tb testing.TB, change func(*Config)) *Client {
	tb.Helper()
	client := testClient(tb, func(c *Config) {
		c.Endpoint = g.URL + "/pay"
		if change != nil {
			change(c)
		}
	})
	tb.Cleanup(client.CloseIdleConnections)
	return client
}

// clientOf is a client of a gateway that always gives this answer.
func clientOf(tb testing.TB, status int, body string) *Client {
	tb.Helper()
	return newGateway(tb, says(status, body)).client(tb, nil)
}

func validApply() ApplyRequest {
	return ApplyRequest{
		PayTypeCode: "ONLINE", PayChannelCode: "QRIS", TradeUUID: "uuid1", OrderCode: "O1",
		TradeTime: time.Date(2025, 8, 4, 5, 45, 21, 0, time.UTC), Country: "ID", Currency: "IDR", Amount: "1.1",
	}
}

// operations calls each operation of a client.
var operations = map[string]func(*testing.T, *Client) error{
	OperationQueryPayAccount: func(t *testing.T, c *Client) error {
		_, err := c.QueryPayAccount(t.Context())
		return err
	},
	OperationApply: func(t *testing.T, c *Client) error {
		_, err := c.Apply(t.Context(), validApply())
		return err
	},
	OperationGetPayStatus: func(t *testing.T, c *Client) error {
		_, err := c.GetPayStatus(t.Context(), []string{"uuid1"}, nil)
		return err
	},
	OperationCancel: func(t *testing.T, c *Client) error {
		_, err := c.Cancel(t.Context(), "uuid1", "billCode1")
		return err
	},
}

func wantKind(t *testing.T, name string, err error, kind Kind) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%s: %v is no *Error", name, err)
	}
	if e.Kind != kind {
		t.Errorf("%s: %v (%v) is not %v", name, e, e.Kind, kind)
	}
	return e
}
