package caddyqlink

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// option is one setting with one value: T is the block as written, R the block
// as understood. The same check serves the Caddyfile, where it can name file
// and line, and the load, where placeholders are known.
type option[T, R any] struct {
	name  string // in the Caddyfile and in JSON
	field func(*T) *string
	set   func(*R, string) error
}

// find returns the option of that name.
func find[T, R any](options []option[T, R], name string) (option[T, R], bool) {
	i := slices.IndexFunc(options, func(o option[T, R]) bool { return o.name == name })
	if i < 0 {
		return option[T, R]{}, false
	}
	return options[i], true
}

// resolve sets in out whatever is written in in; what is not keeps out's
// defaults. Errors name the option.
func resolve[T, R any](r resolver, options []option[T, R], in *T, out *R) error {
	for _, o := range options {
		written := *o.field(in)
		if written == "" {
			continue
		}
		value, err := r.value(written)
		if err == nil {
			err = o.set(out, value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return nil
}

// resolver replaces Caddy's global placeholders ({env.X}, {file./path}). One
// that is unknown or empty is an error: an unset variable must not become an
// empty secret.
type resolver struct{ replacer *caddy.Replacer }

func newResolver() resolver { return resolver{caddy.NewReplacer()} }

// value resolves what may be told to anybody.
func (r resolver) value(written string) (string, error) {
	return r.replacer.ReplaceOrErr(written, true, true)
}

// values resolves a list.
func (r resolver) values(written []string) ([]string, error) {
	resolved := make([]string, 0, len(written))
	for _, w := range written {
		v, err := r.value(w)
		if err == nil && v == "" {
			err = errors.New("is empty")
		}
		if err != nil {
			return nil, err
		}
		resolved = append(resolved, v)
	}
	return resolved, nil
}

// lonePlaceholder is a text that holds nothing but the name of a variable or a
// file, so that it may stand in an error.
var lonePlaceholder = regexp.MustCompile(`^\{(env|file)\.[^{}\\]+\}$`)

// secret resolves what nobody may be told: a secret written out may hold
// braces itself, and Caddy's error would quote what lies between them.
func (r resolver) secret(written string) (string, error) {
	resolved, err := r.replacer.ReplaceOrErr(written, true, true)
	switch {
	case err != nil && lonePlaceholder.MatchString(written):
		return "", err
	case err != nil:
		return "", errors.New("holds a placeholder that is empty or not known; write a brace of the value itself as \\{")
	case resolved == "":
		return "", errors.New("is empty")
	case strings.TrimSpace(resolved) != resolved:
		return "", errors.New("begins or ends with white space")
	case hasControl(resolved):
		return "", errors.New("holds a control character")
	}
	return resolved, nil
}

// secrets resolves a list of them, none of them twice.
func (r resolver) secrets(written []string) ([]string, error) {
	resolved := make([]string, 0, len(written))
	for _, w := range written {
		s, err := r.secret(w)
		if err != nil {
			return nil, err
		}
		if slices.Contains(resolved, s) {
			return nil, errors.New("the same secret is there twice")
		}
		resolved = append(resolved, s)
	}
	return resolved, nil
}

// hasPlaceholder tells whether a value can be checked at load only.
func hasPlaceholder(written string) bool { return strings.Contains(written, "{") }
