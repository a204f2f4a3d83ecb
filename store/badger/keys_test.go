package badger

import (
	"bytes"
	"cmp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// parts makes texts that are apt to run into each other.
var parts = rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', '\uffff'}), 0, 4, -1)

var orders = rapid.Custom(func(t *rapid.T) bill.OrderKey {
	return bill.OrderKey{Ledger: parts.Draw(t, "ledger"), Shop: parts.Draw(t, "shop"), OrderCode: parts.Draw(t, "code")}
})

func TestTextsInKeysSortAsTextsAndEndUnambiguously(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		keyA, keyB := appendText(nil, a), appendText(nil, b)
		if bytes.Compare(keyA, keyB) != strings.Compare(a, b) {
			t.Fatalf("%q and %q sort as %q and %q", a, b, keyA, keyB)
		}
		if a != b && bytes.HasPrefix(keyA, keyB) {
			t.Fatalf("the key of %q begins with that of %q", a, b)
		}
	})
}

// story 36
func TestNoTwoOrdersShareAKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := orders.Draw(t, "a"), orders.Draw(t, "b")
		if (a == b) != bytes.Equal(orderKey(a), orderKey(b)) {
			t.Fatalf("%q and %q", orderKey(a), orderKey(b))
		}
	})
}

// story 36
func TestNoTwoOrdersOrURLsShareThePlaceOfThePending(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		urlA, urlB := parts.Draw(t, "url a"), parts.Draw(t, "url b")
		a, b := orders.Draw(t, "a"), orders.Draw(t, "b")
		keyA, keyB := pendingKey(urlA, a), pendingKey(urlB, b)
		if (urlA == urlB && a == b) != bytes.Equal(keyA, keyB) {
			t.Fatalf("%q and %q", keyA, keyB)
		}
	})
}

func TestIndexesSortByTime(t *testing.T) {
	times := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := times.Draw(t, "a"), times.Draw(t, "b")
		if got, want := bytes.Compare(dueKey(kindDue, a, "x"), dueKey(kindDue, b, "x")), a.Compare(b); got != want {
			t.Fatalf("due %v and %v: %d, want %d", a, b, got, want)
		}
		if got, want := bytes.Compare(createdKey(a, "x"), createdKey(b, "x")), -a.Compare(b); got != want {
			t.Fatalf("created %v and %v: %d, want %d", a, b, got, want)
		}
		id := parts.Draw(t, "id")
		if got, err := idOf(dueKey(kindDue, a, id)); err != nil || got != id {
			t.Fatalf("id %q came back as %q, %v", id, got, err)
		}
	})
}

func TestEventsSortByRevisionAndPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		revisions, places := rapid.Uint64(), rapid.Uint32()
		r1, r2 := revisions.Draw(t, "r1"), revisions.Draw(t, "r2")
		p1, p2 := places.Draw(t, "p1"), places.Draw(t, "p2")
		want := cmp.Or(cmp.Compare(r1, r2), cmp.Compare(p1, p2))
		if got := bytes.Compare(eventKey("x", r1, p1), eventKey("x", r2, p2)); got != want {
			t.Fatalf("%d/%d and %d/%d: %d, want %d", r1, p1, r2, p2, got, want)
		}
	})
}
