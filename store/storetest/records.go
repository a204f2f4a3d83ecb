package storetest

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

var recordTests = []test{
	{"WhatWasNeverWrittenIsNotFound", whatWasNeverWrittenIsNotFound},
	{"EveryFieldComesBack", everyFieldComesBack},
	{"KeysOfHostileTextStayApart", keysOfHostileTextStayApart},
	{"HistoryIsInTheOrderItWasWritten", historyIsInTheOrderItWasWritten},
	{"DetailsStayAsTheyWere", detailsStayAsTheyWere},
	{"AnIdempotencyKeyIsForgottenWhenItsTimeIsOver", anIdempotencyKeyIsForgottenWhenItsTimeIsOver},
	{"TheFirstAnswerUnderAnIdempotencyKeyStaysUntilItIsForgotten", theFirstAnswerUnderAnIdempotencyKeyStaysUntilItIsForgotten},
	{"TheFirstOrphanOfABillIsKept", theFirstOrphanOfABillIsKept},
	{"AnOrderPerShopAndLedger", anOrderPerShopAndLedger},
}

func whatWasNeverWrittenIsNotFound(t *testing.T, store bill.Store) {
	commit(t, store, only(sample("longer")))
	wantNoBill(t, store, "long") // a beginning of another id
	wantNothingElse(t, store, sample("long"))
}

// everyFieldComesBack writes generated records of every kind. The generator
// finds the fields itself, so that a new field is tested on its first day.
func everyFieldComesBack(t *testing.T, store bill.Store) {
	bills := generator[bill.Bill]()
	details := generator[bill.Details]()
	events := rapid.SliceOfN(generator[bill.Event](), 0, 3)
	attempts := rapid.SliceOfN(generator[bill.Attempt](), 0, 3)
	reports := generator[bill.Report]()
	notifications := generator[bill.Notification]()
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		number++
		b, d := bills.Draw(rt, "bill"), details.Draw(rt, "details")
		b.ID += "#" + strings.Repeat("I", number) // generated ids may repeat
		b.OrderCode += b.ID
		b.Revision = 1
		n := notifications.Draw(rt, "notification")
		n.ID, n.OrderCode, n.Revision = b.ID, b.OrderCode, 1
		c := bill.Change{
			Order:         &bill.OrderRecord{Key: b.OrderKey(), Revision: 1, Attempts: attempts.Draw(rt, "attempts")},
			Bills:         []bill.BillChange{{Bill: b, Details: &d, Events: events.Draw(rt, "events")}},
			Notifications: []bill.Notification{n},
			Idempotency:   &bill.Idempotency{Key: b.ID, Request: b.OrderCode, Bill: b.ID, ExpiresAt: noon},
			Orphan:        &bill.Orphan{Ledger: b.Ledger, ID: b.ID, At: b.CreatedAt, Report: reports.Draw(rt, "report")},
		}
		if err := store.Commit(t.Context(), c); err != nil {
			rt.Fatalf("Commit: %v", err)
		}
		wantWhole(rt, t, store, c)
	})
}

// wantWhole reads all that c wrote and compares.
func wantWhole(rt *rapid.T, t *testing.T, store bill.Store, c bill.Change) {
	id := c.Bills[0].Bill.ID
	b, err := store.Bill(t.Context(), id)
	d, err2 := store.Details(t.Context(), id)
	history, err3 := store.History(t.Context(), id)
	record, err4 := store.Order(t.Context(), c.Order.Key)
	answer, err5 := store.Idempotent(t.Context(), id, noon.Add(-time.Second))
	notification, err6 := store.Notification(t.Context(), id)
	if err := errors.Join(err, err2, err3, err4, err5, err6); err != nil {
		rt.Fatalf("reading back: %v", err)
	}
	for i := range c.Bills[0].Events {
		c.Bills[0].Events[i].Report.ActionValue = "" // kept with the bill alone
	}
	wantSame(rt, c.Bills[0].Bill, b)
	wantSame(rt, *c.Bills[0].Details, d)
	wantSame(rt, c.Bills[0].Events, history)
	wantSame(rt, *c.Order, record)
	wantSame(rt, *c.Idempotency, answer)
	wantSame(rt, c.Notifications[0], notification)
	told, err := store.Notifications(t.Context(), notification.Bill)
	if err != nil || !slices.ContainsFunc(told, func(n bill.Notification) bool { return n.ID == id }) {
		rt.Fatalf("notifications of bill %q: %d, %v", notification.Bill, len(told), err)
	}
	wantUTC(rt, reflect.ValueOf(b))
	wantUTC(rt, reflect.ValueOf(history))
	wantUTC(rt, reflect.ValueOf(answer))
	wantUTC(rt, reflect.ValueOf(notification))
}

// wantUTC looks at every time in v.
//
// story 34
func wantUTC(t tester, v reflect.Value) {
	t.Helper()
	if at, ok := reflect.TypeAssert[time.Time](v); ok {
		if at.Location() != time.UTC {
			t.Fatalf("the time %v is not in UTC", at)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			wantUTC(t, field)
		}
	case reflect.Slice:
		for i := range v.Len() {
			wantUTC(t, v.Index(i))
		}
	default:
	}
}

// generator makes values of T with every exported field filled: text of all
// kinds, times of all zones.
func generator[T any]() *rapid.Generator[T] {
	return rapid.MakeCustom[T](rapid.MakeConfig{
		Kinds: map[reflect.Kind]*rapid.Generator[any]{
			reflect.String: rapid.OneOf(rapid.String(), rapid.SampledFrom(hostile)).AsAny(),
		},
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[time.Time](): rapid.Custom(drawTime).AsAny(),
		},
	})
}

func drawTime(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "zero") {
		return time.Time{}
	}
	seconds := rapid.Int64Range(0, 4_000_000_000).Draw(t, "seconds")
	micros := rapid.Int64Range(0, 999_999).Draw(t, "microseconds")
	offset := rapid.IntRange(-12*3600, 14*3600).Draw(t, "offset")
	return time.Unix(seconds, micros*1000).In(time.FixedZone("", offset))
}

var hostile = []string{
	"", "\x00", "\x00\x00", "a\x00b", "\x01", "/", "..", "a/b", ":", "|", "\"", "\\", "<script>", "' OR 1=1 --", "%s%n",
	"\u2028", "\u202e", "\ufeff", "\U0010ffff", "商品01", "é", "e\u0301", "null", "{}", "\r\n", strings.Repeat("x", 300),
}

// story 36
func keysOfHostileTextStayApart(t *testing.T, store bill.Store) {
	keys := make(map[bill.OrderKey]int)
	for _, ledger := range []string{"", "\x00", "a", "a\x00", "a/b", "\U0010ffff"} {
		for _, shop := range []string{"", "\x00", "\x00a", "a", "b"} {
			for _, code := range []string{"", "\x00", "a", "b", "\x00b"} {
				key := bill.OrderKey{Ledger: ledger, Shop: shop, OrderCode: code}
				keys[key] = len(keys)
				record := bill.OrderRecord{Key: key, Revision: 1, Attempts: []bill.Attempt{{ID: numbered(len(keys))[len(keys)-1]}}}
				commit(t, store, bill.Change{
					Order:  &record,
					Orphan: &bill.Orphan{Ledger: ledger, ID: shop + "\x00" + code, At: noon},
				})
			}
		}
	}
	for key, number := range keys {
		record, err := store.Order(t.Context(), key)
		if err != nil || record.Key != key || record.Attempts[0].ID != numbered(number + 1)[number] {
			t.Errorf("order %q: %v, %v", key, record, err)
		}
	}
}

func historyIsInTheOrderItWasWritten(t *testing.T, store bill.Store) {
	b := sample("a")
	neighbour := sample("a\x00") // sorts right behind, and must not be seen
	kinds := []bill.EventKind{bill.EventCreated, bill.EventApplyAccepted, bill.EventReportedWait, bill.EventReportedPaid}
	var want []bill.Event
	for round := range 20 {
		c := only(b, neighbour)
		for i := range round % 3 {
			// Times that run backwards: the clock is no order.
			event := bill.Event{Kind: kinds[(round+i)%len(kinds)], At: noon.Add(-time.Duration(round) * time.Hour), Version: b.Version}
			c.Bills[0].Events = append(c.Bills[0].Events, event)
			want = append(want, event)
		}
		c.Bills[1].Events = []bill.Event{{Kind: bill.EventForced, At: noon}}
		commit(t, store, c)
		b, neighbour = moved(b), moved(neighbour)
	}
	got, err := store.History(t.Context(), b.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, want, got)
}

func detailsStayAsTheyWere(t *testing.T, store bill.Store) {
	b, want := sample("a"), bill.Details{Description: "three", Items: []bill.Item{{SKUCode: "1"}, {SKUCode: "2"}}}
	c := only(b)
	c.Bills[0].Details = &want
	commit(t, store, c)
	commit(t, store, only(moved(b)))
	got, err := store.Details(t.Context(), b.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, want, got)
}

// theFirstAnswerUnderAnIdempotencyKeyStaysUntilItIsForgotten: of two requests
// under one key, which saw nothing of each other, one loses, with all that it
// writes.
func theFirstAnswerUnderAnIdempotencyKeyStaysUntilItIsForgotten(t *testing.T, store bill.Store) {
	first := bill.Idempotency{Key: "k", Request: "hash", Bill: "a", At: noon, ExpiresAt: noon.Add(24 * time.Hour)}
	commit(t, store, bill.Change{Idempotency: &first})
	wantFirst := func() {
		t.Helper()
		got, err := store.Idempotent(t.Context(), "k", noon)
		if err != nil || got.Request != "hash" || got.Bill != "a" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for what, other := range map[string]bill.Idempotency{
		"another bill":    {Key: "k", Request: "hash", Bill: "b", At: first.ExpiresAt.Add(-1), ExpiresAt: noon.Add(48 * time.Hour)},
		"another request": {Key: "k", Request: "other", Bill: "a", At: noon, ExpiresAt: noon.Add(48 * time.Hour)},
	} {
		c := only(due("fresh"))
		c.Idempotency = &other
		if err := store.Commit(t.Context(), c); !errors.Is(err, bill.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := store.Bill(t.Context(), "fresh"); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("%s: its bill: %v", what, err)
		}
		wantFirst()
	}
	again := first
	again.At, again.ExpiresAt = noon.Add(time.Hour), noon.Add(25*time.Hour)
	commit(t, store, bill.Change{Idempotency: &again})
	wantFirst()
	if got, err := store.Idempotent(t.Context(), "k", first.ExpiresAt); err != nil || !got.ExpiresAt.Equal(again.ExpiresAt) {
		t.Errorf("answered again, it is kept longer: %+v, %v", got, err)
	}
	later := bill.Idempotency{Key: "k", Request: "other", Bill: "b", At: again.ExpiresAt, ExpiresAt: noon.Add(72 * time.Hour)}
	commit(t, store, bill.Change{Idempotency: &later})
	if got, err := store.Idempotent(t.Context(), "k", later.At); err != nil || got.Bill != "b" {
		t.Errorf("once it was forgotten: %+v, %v", got, err)
	}
}

func anIdempotencyKeyIsForgottenWhenItsTimeIsOver(t *testing.T, store bill.Store) {
	want := bill.Idempotency{Key: "k", Request: "hash", Bill: "a", ExpiresAt: noon.Add(24 * time.Hour)}
	commit(t, store, bill.Change{Idempotency: &want})
	got, err := store.Idempotent(t.Context(), "k", want.ExpiresAt.Add(-time.Nanosecond))
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, want, got)
	for _, now := range []time.Time{want.ExpiresAt, want.ExpiresAt.Add(time.Hour)} {
		if _, err := store.Idempotent(t.Context(), "k", now); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("at %v: %v, want ErrNotFound", now, err)
		}
	}
}

func theFirstOrphanOfABillIsKept(t *testing.T, store bill.Store) {
	first := bill.Orphan{Ledger: "l", ID: "x", At: noon, Report: bill.Report{TradeUUID: "x", Status: "SUCCESS"}}
	again := bill.Orphan{Ledger: "l", ID: "x", At: noon.Add(time.Hour), Report: bill.Report{TradeUUID: "x", Status: "FAIL"}}
	other := bill.Orphan{Ledger: "m", ID: "x", At: noon.Add(time.Hour)}
	for _, o := range []bill.Orphan{first, again, other} {
		commit(t, store, bill.Change{Orphan: &o})
	}
	got, next, err := store.Orphans(t.Context(), "", 10)
	if err != nil || next != "" {
		t.Fatalf("Orphans: next %q, %v", next, err)
	}
	wantSame(t, []bill.Orphan{first, other}, got)
}

// story 36
func anOrderPerShopAndLedger(t *testing.T, store bill.Store) {
	key := bill.OrderKey{Ledger: "test", Shop: "a", OrderCode: "1"}
	commit(t, store, bill.Change{Order: &bill.OrderRecord{Key: key, Revision: 1}})
	for _, other := range []bill.OrderKey{
		{Ledger: "live", Shop: "a", OrderCode: "1"},
		{Ledger: "test", Shop: "b", OrderCode: "1"},
		{Ledger: "test", Shop: "a", OrderCode: "2"},
		{Ledger: "test", Shop: "a1", OrderCode: ""},
	} {
		if _, err := store.Order(t.Context(), other); !errors.Is(err, bill.ErrNotFound) {
			t.Errorf("order %v: %v, want ErrNotFound", other, err)
		}
	}
}
