package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// jsonFlag is the flag of every command that has something to tell a program.
const jsonFlag = "json"

// printer writes what a command has found: tables and lines for people, or an
// object a line for programs.
type printer struct {
	out, err io.Writer
	json     bool
	colour   bool // out is a terminal that wants it
}

func newPrinter(cmd *cobra.Command) *printer {
	p := &printer{out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}
	if flag := cmd.Flags().Lookup(jsonFlag); flag != nil {
		p.json = flag.Value.String() == "true"
	}
	p.colour = isTerminal(p.out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return p
}

// isTerminal reports whether somebody sits at the other end.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// asJSON adds the flag.
func asJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().Bool(jsonFlag, false, "Print JSON, one object a line, for programs")
	return cmd
}

// line prints one, made harmless.
func (p *printer) line(format string, args ...any) error {
	_, err := fmt.Fprintln(p.out, harmless(fmt.Sprintf(format, args...)))
	return err
}

// note tells the person at the terminal something that is no result.
func (p *printer) note(format string, args ...any) {
	fmt.Fprintln(p.err, harmless(fmt.Sprintf(format, args...)))
}

// object prints JSON from the admin API as it came, but on one line.
func (p *printer) object(value jsontext.Value) error {
	_, err := p.out.Write(append(harmlessJSON(value), '\n'))
	return err
}

// value prints a value of ours as JSON.
func (p *printer) value(v any) error {
	encoded, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	return p.object(encoded)
}

// Colours of what a status means.
var (
	good  = text.FgGreen
	bad   = text.FgRed
	doubt = text.FgYellow
	dim   = text.Faint
)

// paint colours a text that is harmless already.
func (p *printer) paint(colour text.Color, s string) string {
	if !p.colour || s == "" {
		return s
	}
	return text.Escape(s, colour.EscapeSeq())
}

// rows is a table under construction. Its cells are made harmless as they are
// put in.
type rows struct {
	p      *printer
	writer table.Writer
	count  int
}

func (p *printer) table(header ...string) *rows {
	t := &rows{p: p, writer: table.NewWriter()}
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.writer.SetStyle(style)
	t.writer.SuppressTrailingSpaces()
	cells := make(table.Row, len(header))
	for i, name := range header {
		cells[i] = p.paint(dim, name)
	}
	if len(header) > 0 {
		t.writer.AppendHeader(cells)
	}
	return t
}

// cell is a text with its colour.
type cell struct {
	text   string
	colour text.Color
}

// add appends a row of strings, numbers and cells.
func (t *rows) add(values ...any) {
	row := make(table.Row, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case cell:
			row[i] = t.p.paint(v.colour, harmless(v.text))
		case string:
			row[i] = harmless(v)
		default:
			row[i] = v
		}
	}
	t.writer.AppendRow(row)
	t.count++
}

// rightAligned names the columns of numbers, counted from 1.
func (t *rows) rightAligned(columns ...int) {
	configs := make([]table.ColumnConfig, 0, len(columns))
	for _, n := range columns {
		configs = append(configs, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.writer.SetColumnConfigs(configs)
}

// print writes the table, indented.
func (t *rows) print(indent string) error {
	if t.count == 0 {
		return nil
	}
	rendered := t.writer.Render()
	for line := range strings.Lines(rendered + "\n") {
		if _, err := io.WriteString(t.p.out, indent+line); err != nil {
			return err
		}
	}
	return nil
}

// heading begins a part of a long answer.
func (p *printer) heading(title string) error {
	_, err := fmt.Fprintf(p.out, "\n%s\n", p.paint(text.Bold, title))
	return err
}

// pad makes a column of lines that are printed one by one.
func pad(s string, width int) string { return text.Pad(s, width, ' ') }
