package cli

import (
	"fmt"
	"maps"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// pageSize is the most that the admin API gives at once.
const pageSize = 1000

// limitFlag adds the bound of a listing.
func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", 100, "At most so many; 0: all")
}

// listing is a paged answer of the admin API.
type listing struct {
	path  string
	query url.Values
	field string // of the answer, that holds the page
	limit int    // 0: none
}

// each passes on the objects of the pages, page after page, and reports
// whether there would have been more.
func (l listing) each(s *session, c *client, visit func(jsontext.Value) error) (more bool, err error) {
	if l.limit < 0 {
		return false, misuse("--limit must not be below zero")
	}
	query := maps.Clone(l.query)
	if query == nil {
		query = url.Values{}
	}
	seen := 0
	for {
		size := pageSize
		if l.limit > 0 {
			size = min(size, l.limit-seen)
		}
		query.Set("limit", strconv.Itoa(size))
		answer, err := ask[map[string]jsontext.Value](s, c, get(l.path, query))
		if err != nil {
			return false, err
		}
		page, next, err := l.page(answer)
		if err != nil {
			return false, err
		}
		for _, object := range page {
			if err := visit(object); err != nil {
				return false, err
			}
		}
		seen += len(page)
		switch {
		case next == "" || l.limit > 0 && seen >= l.limit:
			return next != "", nil
		case next == query.Get("cursor"):
			return false, fmt.Errorf("the answer leads back to itself")
		}
		query.Set("cursor", next)
	}
}

func (l listing) page(answer map[string]jsontext.Value) (page []jsontext.Value, next string, err error) {
	if raw, ok := answer[l.field]; ok {
		if page, err = decode[[]jsontext.Value](raw); err != nil {
			return nil, "", err
		}
	}
	if raw, ok := answer["next"]; ok {
		if next, err = decode[string](raw); err != nil {
			return nil, "", err
		}
	}
	return page, next, nil
}

// show prints a listing: with --json each object as it comes, else a table.
func (l listing) show(s *session, none string, t *rows, row func(jsontext.Value) error) error {
	c, err := s.admin()
	if err != nil {
		return err
	}
	visit := row
	if s.out.json {
		visit = s.out.object
	}
	more, err := l.each(s, c, visit)
	if err != nil {
		return err
	}
	if !s.out.json {
		if t.count == 0 {
			s.out.note("%s", none)
		}
		if err := t.print(""); err != nil {
			return err
		}
	}
	if more {
		s.out.note("There are more: --limit 0 lists all.")
	}
	return nil
}
