package operator_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
	"github.com/caddy-qlink/caddy-qlink/operator"
)

func TestAnExportHoldsEveryBillOnceInBothFormats(t *testing.T) {
	o := open(t)
	codes := []string{"plain", "a;=HYPERLINK(1)", "a;;'b", "=HYPERLINK(1)", "+1", "-1", "@x", "'quoted", `"quo,ted"`, "ü ＝1", "A-7"}
	want := make(map[string]string)
	for _, code := range codes {
		want[o.sell(code, "10.50").ID] = code
	}
	decoder := json.NewDecoder(strings.NewReader(o.ask("GET", "/qlink/export", "").text))
	seen := 0
	for decoder.More() {
		var line struct {
			ID, OrderCode, Amount string
			Metadata              map[string]string
		}
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if want[line.ID] != line.OrderCode || line.Amount != "10.50" || line.Metadata["who"] != "=1+1" {
			t.Errorf("%+v", line)
		}
		seen++
	}
	if seen != len(codes) {
		t.Errorf("%d lines", seen)
	}

	text := o.ask("GET", "/qlink/export?format=csv", "").text
	if strings.Count(text, "\r\n") != len(codes)+1 || strings.Count(text, "\n") != len(codes)+1 {
		t.Errorf("lines end otherwise than in CRLF:\n%s", text)
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != len(codes)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		for _, cell := range row {
			if strings.ContainsAny(cell[:min(1, len(cell))], "=+-@") {
				t.Errorf("a spreadsheet would run %q", cell)
			}
		}
		if code := operator.CellText(row[4]); rows[0][4] != "orderCode" || code != want[row[0]] {
			t.Errorf("%s is %q", row[0], code)
		}
	}
}

func TestACellIsReadBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune(";\t='+")))).Draw(t, "text")
		cell := operator.Cell(text)
		if back := operator.CellText(cell); back != text {
			t.Fatalf("%q came back as %q", text, back)
		}
		for _, bad := range []string{"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"} {
			if strings.HasPrefix(cell, bad) {
				t.Fatalf("%q begins a formula", cell)
			}
			for _, separator := range []string{";", "\t"} {
				if strings.Contains(cell, separator+bad) {
					t.Fatalf("%q begins a formula behind %q", cell, separator)
				}
			}
		}
	})
}

// failing is a store whose listing ends with the first page.
type failing struct{ bill.Store }

func (f failing) List(ctx context.Context, q bill.Query) ([]bill.Bill, string, error) {
	if q.Cursor != "" {
		return nil, "", bill.ErrUnavailable
	}
	q.Limit = 1
	return f.Store.List(ctx, q)
}

func TestAnExportThatCannotBeFinishedBreaksOff(t *testing.T) {
	o := open(t)
	o.sell("A-1", "1")
	o.sell("A-2", "1")
	o.store = failing{o.store}
	for _, format := range []string{"ndjson", "csv"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.url+"/qlink/export?format="+format, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue // it broke off before anything was sent
		}
		if text, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%d lines passed for the whole", strings.Count(string(text), "\n"))
		}
		resp.Body.Close()
	}
}
