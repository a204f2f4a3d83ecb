package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-qlink/caddy-qlink/integration/pagetest"
)

const ours = "github.com/caddy-qlink/caddy-qlink"

// Caddy's site makes its documentation of modules from their doc comments: each
// module and each field of its JSON has one, as far as its types are ours.
func TestEveryModuleAndEveryFieldOfItsJSONIsDocumented(t *testing.T) {
	modules, fields := 0, 0
	docs := make(sources)
	for _, id := range caddy.Modules() {
		module := typeOf(t, id)
		if !strings.HasPrefix(module.PkgPath(), ours) {
			continue
		}
		modules++
		for _, at := range structsOf(module) {
			if docs.of(t, at, "") == "" {
				t.Errorf("%s.%s has no comment", at.PkgPath(), at.Name())
			}
			for _, field := range inJSON(at) {
				fields++
				if docs.of(t, at, "."+field.Name) == "" {
					t.Errorf("%s.%s: the field %s has no comment", at.PkgPath(), at.Name(), field.Name)
				}
			}
		}
	}
	if modules < 6 || fields < 40 {
		t.Errorf("%d modules, %d fields: something was not looked at", modules, fields)
	}
}

// typeOf returns the type of a module's configuration.
func typeOf(t *testing.T, id string) reflect.Type {
	t.Helper()
	info, err := caddy.GetModule(id)
	if err != nil {
		t.Fatal(err)
	}
	at := reflect.TypeOf(info.New())
	if at.Kind() == reflect.Pointer {
		at = at.Elem()
	}
	return at
}

// structsOf returns a module's type and those of ours that are in its JSON.
func structsOf(module reflect.Type) (all []reflect.Type) {
	var walk func(reflect.Type)
	walk = func(at reflect.Type) {
		switch at.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			walk(at.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if slices.Contains(all, at) || !strings.HasPrefix(at.PkgPath(), ours) {
			return
		}
		all = append(all, at)
		for _, field := range inJSON(at) {
			walk(field.Type)
		}
	}
	walk(module)
	return all
}

// inJSON returns the fields that configurations have.
func inJSON(at reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(at), func(field reflect.StructField) bool {
		tag, tagged := field.Tag.Lookup("json")
		return !tagged || tag == "-" || len(field.Index) > 1
	})
}

// sources are the comments of packages: of struct types, of "type.field", and of
// "type.method".
type sources map[string]map[string]string

// of returns the comment of a type, or, with a name behind a dot, of what it has.
func (s sources) of(t *testing.T, at reflect.Type, name string) string {
	t.Helper()
	pkg := at.PkgPath()
	if s[pkg] == nil {
		s[pkg] = comments(t, "../.."+strings.TrimPrefix(pkg, ours))
	}
	return s[pkg][at.Name()+name]
}

// comments reads those of a package.
func comments(t *testing.T, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if method, ok := d.(*ast.FuncDecl); ok && method.Recv != nil {
				of := method.Recv.List[0].Type
				if pointer, ok := of.(*ast.StarExpr); ok {
					of = pointer.X
				}
				found[of.(*ast.Ident).Name+"."+method.Name.Name] = method.Doc.Text()
			}
			declared, ok := d.(*ast.GenDecl)
			if !ok || declared.Tok != token.TYPE {
				continue
			}
			for _, s := range declared.Specs {
				spec := s.(*ast.TypeSpec)
				structure, ok := spec.Type.(*ast.StructType)
				if !ok {
					continue
				}
				found[spec.Name.Name] = declared.Doc.Text() + spec.Doc.Text()
				for _, field := range structure.Fields.List {
					for _, name := range field.Names {
						found[spec.Name.Name+"."+name.Name] = field.Doc.Text() + field.Comment.Text()
					}
				}
			}
		}
	}
	return found
}

const (
	directives = "../../docs/directives.md"
	marker     = "<!-- From here on it is what the code says of itself; a test keeps it so. -->\n"
)

const storeMetrics = "store_up store_size_bytes commit_changes commit_duration_seconds"

// chapters of the page: a directive, or what stands in a block of another one,
// and what is measured of it, without the caddy_qlink_ in front.
var chapters = []struct{ title, module, example, metrics string }{
	{"Global option `qlink`", "qlink", "[README](../README.md#use-it)", "gateway_requests_total gateway_request_duration_seconds gateway_up bills bill_transitions_total time_to_pay_seconds " +
		"settlement_delay_seconds reconcile_lag_seconds alarms_total refunds_due late_payments orphans notifications " +
		"notification_oldest_pending_age_seconds notification_attempts_total notification_attempt_duration_seconds events_total"},
	{"Directive `qlink`", "http.handlers.qlink", "[README](../README.md#use-it), [going-live.md](going-live.md), `examples/`", "checkouts_total checkouts_closed webhooks_total watchers"},
	{"Matcher `qlink_bill`", "http.matchers.qlink_bill", "[gating.md](gating.md), `examples/download`", ""},
	{"Directive `qlink_console`", "http.handlers.qlink_console", "[console.md](console.md), `examples/console`", ""},
	{"Store `badger`", "qlink.stores.badger", "the default: without the option `store` it is this one", storeMetrics + " store_free_bytes"},
	{"Store `postgres`", "qlink.stores.postgres", "[postgres.md](postgres.md), `examples/cluster`", storeMetrics},
	{"Directive `qlink_sandbox`", "http.handlers.qlink_sandbox", "[sandbox.md](sandbox.md), `examples/quickstart`", ""},
}

func TestThePageOfDirectivesIsWhatTheCodeSays(t *testing.T) {
	docs := make(sources)
	var page strings.Builder
	for _, c := range chapters {
		module := typeOf(t, c.module)
		fmt.Fprintf(&page, "\n## %s\n\n%s\n\n", c.title, paragraphs(docs.of(t, module, "")))
		if syntax := indented(docs.of(t, module, ".UnmarshalCaddyfile")); syntax == "" {
			t.Errorf("%s: its grammar is nowhere", c.module)
		} else {
			fmt.Fprintf(&page, "```\n%s```\n\n", syntax)
		}
		fmt.Fprintf(&page, "Module `%s`. Seen at work: %s.\n", c.module, c.example)
		if c.metrics != "" {
			fmt.Fprintf(&page, "\n[Metrics](metrics.md), each behind `caddy_qlink_`: `%s`.\n", strings.Join(strings.Fields(c.metrics), "`, `"))
		}
		for _, at := range structsOf(module) {
			fmt.Fprintf(&page, "\n")
			if at != module {
				fmt.Fprintf(&page, "### `%s`\n\n", at.Name())
			}
			page.WriteString("| JSON | what |\n| --- | --- |\n")
			for _, field := range inJSON(at) {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				fmt.Fprintf(&page, "| `%s` | %s |\n", name, strings.ReplaceAll(strings.Join(strings.Fields(docs.of(t, at, "."+field.Name)), " "), "|", `\|`))
			}
		}
	}
	pagetest.Keep(t, directives, marker, page.String())
}

// Every metric is named by what it is measured of, and no other.
func TestThePageOfDirectivesNamesEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `caddy_qlink_([a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		there[row[1]] = true
	}
	named := make(map[string]bool)
	for _, c := range chapters {
		for name := range strings.FieldsSeq(c.metrics) {
			named[name] = true
		}
	}
	if len(there) == 0 || !maps.Equal(there, named) {
		t.Errorf("docs/metrics.md has %q, and docs/directives.md %q", slices.Sorted(maps.Keys(there)), slices.Sorted(maps.Keys(named)))
	}
}

// paragraphs are those of a comment that are text, each on a line.
func paragraphs(comment string) string {
	var all []string
	for paragraph := range strings.SplitSeq(comment, "\n\n") {
		if !strings.HasPrefix(paragraph, "\t") && !strings.Contains(paragraph, " | ") {
			all = append(all, strings.Join(strings.Fields(paragraph), " "))
		}
	}
	return strings.TrimSpace(strings.Join(all, "\n\n"))
}

// indented is the preformatted part of a comment.
func indented(comment string) string {
	var all strings.Builder
	for line := range strings.Lines(comment) {
		if text, ok := strings.CutPrefix(line, "\t"); ok {
			all.WriteString(text)
		} else if strings.TrimSpace(line) == "" && all.Len() > 0 {
			all.WriteString("\n")
		}
	}
	return strings.TrimRight(all.String(), "\n") + "\n"
}
