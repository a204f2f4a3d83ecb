package operator

import (
	"context"
	"encoding/csv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// exporter writes bills in one format.
type exporter interface {
	mediaType() string
	begin() error
	bill(b bill.Bill, d bill.Details, now time.Time) error
	flush() error
}

// serveExport answers GET /qlink/export: all bills that the filters select,
// newest first, with their metadata, as a stream. One that breaks off was not
// finished.
func serveExport(d Desk, w http.ResponseWriter, r *http.Request) error {
	values, err := Parameters(r, append([]string{"format"}, filters...)...)
	if err != nil {
		return err
	}
	var out exporter
	switch format := values.Get("format"); format {
	case "", "ndjson":
		out = ndjson{w}
	case "csv":
		out = newCSV(w)
	default:
		return refuse(http.StatusBadRequest, "format %.40q is neither ndjson nor csv", format)
	}
	q, err := BillQuery(values, d.Now())
	if err != nil {
		return err
	}
	ctx, cancel := untilEnded(d, w, r)
	defer cancel()
	page, next, err := d.Payments.List(ctx, q)
	if err != nil {
		return stopped(ctx, r, err)
	}
	endless(w)
	w.Header().Set("Content-Type", out.mediaType())
	w.WriteHeader(http.StatusOK)
	if err := export(ctx, d, out, q, page, next); err != nil {
		cut()
	}
	return nil
}

// export writes page after page: what it holds does not grow with the store.
func export(ctx context.Context, d Desk, out exporter, q bill.Query, page []bill.Bill, next string) error {
	if err := out.begin(); err != nil {
		return err
	}
	for {
		for _, b := range page {
			details, err := d.Payments.DetailsOf(ctx, b.ID)
			if err == nil {
				err = out.bill(b, details, d.Now())
			}
			if err != nil {
				return err
			}
		}
		if next == "" {
			return out.flush()
		}
		var err error
		q.Cursor = next
		if page, next, err = d.Payments.List(ctx, q); err != nil {
			return err
		}
	}
}

// ndjson writes a line of JSON for each bill.
type ndjson struct{ w io.Writer }

func (ndjson) mediaType() string { return "application/x-ndjson" }
func (ndjson) begin() error      { return nil }
func (ndjson) flush() error      { return nil }

func (n ndjson) bill(b bill.Bill, d bill.Details, now time.Time) error {
	v := viewOf(b, now)
	v.Metadata = metadataOf(d)
	text, err := encode(v)
	if err == nil {
		_, err = n.w.Write(text)
	}
	return err
}

// columns are those of the CSV form, in their order, named as in JSON.
var columns = []struct {
	name string
	of   func(v view) string
}{
	{"id", func(v view) string { return v.ID }},
	{"account", func(v view) string { return v.Account }},
	{"shop", func(v view) string { return v.Shop }},
	{"livemode", func(v view) string { return strconv.FormatBool(v.LiveMode) }},
	{"orderCode", func(v view) string { return v.OrderCode }},
	{"attempt", func(v view) string { return strconv.Itoa(v.Attempt) }},
	{"status", func(v view) string { return string(v.Status) }},
	{"amount", func(v view) string { return string(v.Amount) }},
	{"currency", func(v view) string { return string(v.Currency) }},
	{"country", func(v view) string { return v.Country }},
	{"payTypeCode", func(v view) string { return v.PayType }},
	{"payChannelCode", func(v view) string { return v.PayChannel }},
	{"billCode", func(v view) string { return v.BillCode }},
	{"paymentRequestId", func(v view) string { return v.PaymentRequestID }},
	{"errorCode", func(v view) string { return v.ErrorCode }},
	{"createdAt", func(v view) string { return v.CreatedAt }},
	{"updatedAt", func(v view) string { return v.UpdatedAt }},
	{"expiresAt", func(v view) string { return v.ExpiresAt }},
	{"payTime", func(v view) string { return v.PayTime }},
	{"latePayment", func(v view) string { return strconv.FormatBool(v.LatePayment) }},
	{"refundDue", func(v view) string { return strconv.FormatBool(v.RefundDue) }},
	{"settledBy", func(v view) string { return string(v.SettledBy) }},
	{"stuck", func(v view) string { return string(v.Stuck) }},
	{"metadata", func(v view) string { return string(v.Metadata) }},
}

// csvFile writes RFC 4180: a header, lines that end in CRLF.
type csvFile struct{ to *csv.Writer }

func newCSV(w io.Writer) csvFile {
	to := csv.NewWriter(w)
	to.UseCRLF = true
	return csvFile{to}
}

func (csvFile) mediaType() string { return "text/csv; charset=utf-8; header=present" }

func (c csvFile) begin() error {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.name
	}
	return c.to.Write(names)
}

func (c csvFile) bill(b bill.Bill, d bill.Details, now time.Time) error {
	v := viewOf(b, now)
	v.Metadata = metadataOf(d)
	cells := make([]string, len(columns))
	for i, column := range columns {
		cells[i] = Cell(column.of(v))
	}
	return c.to.Write(cells)
}

func (c csvFile) flush() error {
	c.to.Flush()
	return c.to.Error()
}

// formula are the characters that make a spreadsheet take a cell for a formula,
// in their narrow and wide forms, and the mark that Cell puts before them.
const formula = "=+-@\t\r\n'＝＋－＠"

// separators are what divides cells where a comma is the decimal point: there a
// spreadsheet sees cells within ours.
const separators = ";\t"

// Cell is text as a spreadsheet shows it and never runs it: where a buyer's or a
// shop's words would begin a formula, there is an apostrophe before it. CellText
// takes it away.
func Cell(text string) string {
	var cell strings.Builder
	begins := true
	for _, r := range text {
		if begins && strings.ContainsRune(formula, r) {
			cell.WriteByte('\'')
		}
		cell.WriteRune(r)
		begins = strings.ContainsRune(separators, r)
	}
	return cell.String()
}

// CellText is the text that Cell was given, where that was UTF-8.
func CellText(cell string) string {
	var text strings.Builder
	begins := true
	for _, r := range cell {
		if begins && r == '\'' {
			begins = false
			continue
		}
		text.WriteRune(r)
		begins = strings.ContainsRune(separators, r)
	}
	return text.String()
}
