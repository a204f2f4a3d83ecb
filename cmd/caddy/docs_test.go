package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

const ours = "github.com/caddy-qlink/caddy-qlink"

// Caddy's site makes its documentation of modules from their doc comments: each
// module and each field of its JSON has one, as far as its types are ours.
func TestEveryModuleAndEveryFieldOfItsJSONIsDocumented(t *testing.T) {
	modules, fields := 0, 0
	docs := make(map[string]map[string]string) // of a package: the comments of types, and of "type.field"
	seen := make(map[reflect.Type]bool)
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
		if seen[at] || !strings.HasPrefix(at.PkgPath(), ours) {
			return
		}
		seen[at] = true
		if docs[at.PkgPath()] == nil {
			docs[at.PkgPath()] = comments(t, "../.."+strings.TrimPrefix(at.PkgPath(), ours))
		}
		if docs[at.PkgPath()][at.Name()] == "" {
			t.Errorf("%s.%s has no comment", at.PkgPath(), at.Name())
		}
		for _, field := range reflect.VisibleFields(at) {
			tag, inJSON := field.Tag.Lookup("json")
			if !inJSON || tag == "-" || len(field.Index) > 1 {
				continue
			}
			fields++
			if docs[at.PkgPath()][at.Name()+"."+field.Name] == "" {
				t.Errorf("%s.%s: the field %s has no comment", at.PkgPath(), at.Name(), field.Name)
			}
			walk(field.Type)
		}
	}
	for _, id := range caddy.Modules() {
		info, err := caddy.GetModule(id)
		if err != nil {
			t.Fatal(err)
		}
		at := reflect.TypeOf(info.New())
		if at.Kind() == reflect.Pointer {
			at = at.Elem()
		}
		if strings.HasPrefix(at.PkgPath(), ours) {
			modules++
			walk(at)
		}
	}
	if modules < 6 || fields < 40 {
		t.Errorf("%d modules, %d fields: something was not looked at", modules, fields)
	}
}

// comments returns the comments of a package's struct types and of their fields.
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
