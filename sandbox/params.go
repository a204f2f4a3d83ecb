package sandbox

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// params are the parameters of one call. Reading one that is missing or of
// another type than the document's adds to problems, so that a caller hears of
// all his mistakes at once.
type params struct {
	fields   map[string]jsontext.Value
	path     string // in front of the names in problems: "items[0]."
	problems *[]string
}

func parseParams(body []byte) (params, error) {
	p := params{problems: new([]string)}
	if err := json.Unmarshal(body, &p.fields); err != nil {
		return params{}, err
	}
	return p, nil
}

func (p params) complain(name, format string, args ...any) {
	*p.problems = append(*p.problems, p.path+name+" "+fmt.Sprintf(format, args...))
}

// given reports whether there is a value; null and no value are the same.
func (p params) given(name string) bool {
	v, ok := p.fields[name]
	return ok && v.Kind() != 'n'
}

// text reads a String.
func (p params) text(name string) string {
	if !p.given(name) {
		return ""
	}
	var s string
	if err := json.Unmarshal(p.fields[name], &s); err != nil {
		p.complain(name, "must be a String")
	}
	return s
}

// required reads a String that may not be missing or empty.
func (p params) required(name string) string {
	before := len(*p.problems)
	s := p.text(name)
	if s == "" && len(*p.problems) == before {
		p.complain(name, "is required")
	}
	return s
}

// texts reads an array of Strings, or one String: the document's table says the
// one, its example shows the other.
func (p params) texts(name string) []string {
	if !p.given(name) {
		return nil
	}
	value := p.fields[name]
	if value.Kind() == '"' {
		if s := p.text(name); s != "" {
			return []string{s}
		}
		return nil
	}
	var list []string
	if err := json.Unmarshal(value, &list); err != nil {
		p.complain(name, "must be an Array of Strings")
	}
	return list
}

// quantity checks a number, or the text of one: the document's table says the
// one, its example shows the other.
func (p params) quantity(name string) {
	if !p.given(name) {
		p.complain(name, "is required")
		return
	}
	value := p.fields[name]
	if value.Kind() == '0' {
		return
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil || jsontext.Value(s).Kind() != '0' || !jsontext.Value(s).IsValid() {
		p.complain(name, "must be a number")
	}
}

// items checks the array of goods (document, section 4).
func (p params) items() {
	if !p.given("items") {
		return
	}
	var list []map[string]jsontext.Value
	if err := json.Unmarshal(p.fields["items"], &list); err != nil {
		p.complain("items", "must be an Array of objects")
		return
	}
	for i, fields := range list {
		item := params{fields: fields, path: fmt.Sprintf("items[%d].", i), problems: p.problems}
		item.required("skuCode")
		item.required("skuName")
		item.quantity("quantity")
		for _, name := range []string{"url", "imageUrl", "category", "subcategory", "description", "metadata"} {
			item.text(name)
		}
	}
}

// refusal is nil, or tells of every problem.
func (p params) refusal() *refusal {
	if len(*p.problems) == 0 {
		return nil
	}
	return &refusal{code: "INVALID_PARAMETER", message: strings.Join(*p.problems, "; ")}
}
