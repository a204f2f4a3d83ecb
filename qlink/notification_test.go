package qlink

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func assertEqual[T any](t fataler, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%+v, want\n%+v", got, want)
	}
}

var uuid1Paid = time.Date(2025, 8, 4, 5, 45, 21, 0, time.UTC)

func TestANotificationIsRead(t *testing.T) {
	got, err := ParseNotification([]byte(`{"tradeUuid":"uuid1","billCode":"billCode1","orderCode":"O1","paymentRequestId":"P1",
		"status":"SUCCESS","payTime":"2025-08-04 13:45:21","errorCode":"E1","new":{"a":[1]}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	assertEqual(t, got, Notification{
		TradeUUID: "uuid1", BillCode: "billCode1", OrderCode: "O1", PaymentRequestID: "P1",
		Status: Status{StatusSuccess, "SUCCESS"}, PayTime: uuid1Paid, ErrorCode: "E1",
	})
}

func TestMistypedFieldsDoNotBlockANotification(t *testing.T) {
	for body, want := range map[string]Notification{
		`{"tradeUuid":"u","status":"wait"}`: {TradeUUID: "u", Status: Status{StatusWait, "wait"}},
		`{"tradeUuid":"u","status":"WAIT","billCode":null,"orderCode":"","paymentRequestId":null,"payTime":"","errorCode":null}`: {TradeUUID: "u", Status: Status{StatusWait, "WAIT"}},
		`{"tradeUuid":"u","status":"FAIL","billCode":20250804001,"orderCode":12,"errorCode":500}`:                                {TradeUUID: "u", Status: Status{StatusFail, "FAIL"}, BillCode: "20250804001", OrderCode: "12", ErrorCode: "500"},
		`{"tradeUuid":"u","status":"SUCCESS","payTime":"yesterday","errorCode":{"a":1}}`:                                         {TradeUUID: "u", Status: Status{StatusSuccess, "SUCCESS"}},
		`{"tradeUuid":"u","status":"SUCCESS","payTime":[2025,8,4],"errorCode":true}`:                                             {TradeUUID: "u", Status: Status{StatusSuccess, "SUCCESS"}},
		`{"tradeUuid":"u","status":"SUCCESS","payTime":1754286321000}`:                                                           {TradeUUID: "u", Status: Status{StatusSuccess, "SUCCESS"}, PayTime: uuid1Paid},
		`{"tradeUuid":"u","status":"REFUNDING","cancelTime":null,"tradeUuidList":[]}`:                                            {TradeUUID: "u", Status: Status{StatusUnknown, "REFUNDING"}},
		`{"tradeUuid":"u","status":"CANCELED","cancelTime":"2025-08-04 13:45:21"}`:                                               {TradeUUID: "u", Status: Status{StatusCanceled, "CANCELED"}},
		`{"tradeUuid":"u","status":"FAIL","STATUS":"SUCCESS","Status":"SUCCESS"}`:                                                {TradeUUID: "u", Status: Status{StatusFail, "FAIL"}},
	} {
		got, err := ParseNotification([]byte(body), nil)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		assertEqual(t, got, want)
	}
}

func TestWhatIsNoNotificationIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":                  ``,
		"no JSON":                  `status=SUCCESS`,
		"cut":                      `{"tradeUuid":"u","status":"SUCC`,
		"more than one object":     `{"tradeUuid":"u","status":"SUCCESS"}{}`,
		"an array":                 `[{"tradeUuid":"u","status":"SUCCESS"}]`,
		"null":                     `null`,
		"text":                     `"SUCCESS"`,
		"two statuses":             `{"tradeUuid":"u","status":"FAIL","status":"SUCCESS"}`,
		"two statuses, escaped":    `{"tradeUuid":"u","status":"FAIL","statu\u0073":"SUCCESS"}`,
		"a name twice deep inside": `{"tradeUuid":"u","status":"FAIL","x":{"a":1,"a":2}}`,
		"no UTF-8":                 "{\"tradeUuid\":\"u\xff\",\"status\":\"SUCCESS\"}",
		"half a surrogate pair":    `{"tradeUuid":"u\ud800","status":"SUCCESS"}`,
		"no tradeUuid":             `{"status":"SUCCESS"}`,
		"empty tradeUuid":          `{"tradeUuid":"","status":"SUCCESS"}`,
		"null tradeUuid":           `{"tradeUuid":null,"status":"SUCCESS"}`,
		"a number for tradeUuid":   `{"tradeUuid":1,"status":"SUCCESS"}`,
		"no status":                `{"tradeUuid":"u"}`,
		"empty status":             `{"tradeUuid":"u","status":""}`,
		"a number for status":      `{"tradeUuid":"u","status":1}`,
		"an object for billCode":   `{"tradeUuid":"u","status":"SUCCESS","billCode":{}}`,
		"word of a cancel":         `{"tradeUuid":"u","status":"SUCCESS","cancelTime":"2025-08-04 13:45:21"}`,
		"a query":                  `{"tradeUuid":"u","status":"SUCCESS","tradeUuidList":["u"]}`,
	} {
		if got, err := ParseNotification([]byte(body), nil); !errors.Is(err, ErrNotNotification) || got != (Notification{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// story 26
func TestOurOwnRequestsReflectedAreNoNotifications(t *testing.T) {
	client := testClient(t, func(c *Config) { c.ApplyParams = []Param{{"source", "SUCCESS"}} })
	for name, body := range map[string][]byte{
		"queryPayAccount": client.queryPayAccountBody(),
		"apply":           client.applyBody(ApplyRequest{TradeUUID: "u", OrderCode: "o", Metadata: `{"status":"SUCCESS"}`, Description: `","status":"SUCCESS`}),
		"getPayStatus":    client.getPayStatusBody([]string{"u"}, []string{"b"}),
		"cancel":          client.cancelBody("u", "b"),
	} {
		if err := Verify(ContentAuto, "app-1001", []string{"s3cr3t"}, body, client.sign(body)); err != nil {
			t.Fatalf("%s: the signature is not genuine, so this tests nothing: %v", name, err)
		}
		if _, err := ParseNotification(body, nil); !errors.Is(err, ErrNotNotification) {
			t.Errorf("%s %s: %v", name, body, err)
		}
	}
}

// story 34
func TestTimesAreReadInTheZoneAgreedUpon(t *testing.T) {
	jakarta := time.FixedZone("Asia/Jakarta", 7*60*60)
	for s, want := range map[string]time.Time{
		"2025-08-04 13:45:21":          time.Date(2025, 8, 4, 6, 45, 21, 0, time.UTC),
		" 2025-08-04 13:45:21.5 ":      time.Date(2025, 8, 4, 6, 45, 21, 500_000_000, time.UTC),
		"2025-08-04T13:45:21":          time.Date(2025, 8, 4, 6, 45, 21, 0, time.UTC),
		"2025-08-04T13:45:21+08:00":    uuid1Paid,
		"2025-08-04T05:45:21Z":         uuid1Paid,
		"2025-08-04T05:45:21.000+0000": uuid1Paid,
		"1754286321":                   uuid1Paid,
		"1754286321000":                uuid1Paid,
		"":                             {}, "null": {}, "0": {}, "-1": {}, "2025-13-04 13:45:21": {}, "0000-00-00 00:00:00": {}, "20250804": {},
	} {
		got := parseTime(s, jakarta)
		if !got.Equal(want) || got.Location() != time.UTC && !got.IsZero() {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
	}
	if got := parseTime("2025-08-04 13:45:21", nil); !got.Equal(uuid1Paid) {
		t.Errorf("without a zone %v, want Shanghai's %v", got, uuid1Paid)
	}
}

func TestStatusesAreReadWithoutCaseAndWithTheirSynonyms(t *testing.T) {
	for code, words := range map[StatusCode][]string{
		StatusWait:     {"WAIT", "wait", "PENDING", "PROCESSING", "INIT"},
		StatusSuccess:  {"SUCCESS", "Success", "PAID", " success "},
		StatusFail:     {"FAIL", "FAILED"},
		StatusCanceled: {"CANCEL", "CANCELED", "CANCELLED", "CLOSED"},
		StatusExpired:  {"EXPIRED", "TIMEOUT"},
		StatusUnknown:  {"", "SUCCESSFUL", "REFUND", "UNPAID", "0", "UNKNOWN"},
	} {
		for _, word := range words {
			if got := ParseStatus(word); got != (Status{code, word}) {
				t.Errorf("%q is %v, want %v", word, got, code)
			}
		}
		if code != StatusUnknown && ParseStatus(code.String()).Code != code {
			t.Errorf("%v is not read as itself", code)
		}
	}
}

// story 5, story 11: SUCCESS of a cancel means the opposite of SUCCESS of a payment.
func TestACancelStatusIsReadByItsOwnList(t *testing.T) {
	for code, words := range map[CancelCode][]string{
		CancelDone:    {"SUCCESS", "success", "CANCEL", "CANCELED", "CANCELLED"},
		CancelPending: {"WAIT", "PENDING", "PROCESSING", "INIT"},
		CancelRefused: {"FAIL", "FAILED"},
		CancelUnknown: {"", "PAID", "CLOSED", "EXPIRED", "CANCELLING"},
	} {
		for _, word := range words {
			if got := ParseCancelStatus(word); got != (CancelStatus{code, word}) {
				t.Errorf("%q is %v, want %v", word, got, code)
			}
		}
		if code.String() == "" {
			t.Errorf("code %d has no name", code)
		}
	}
}

func FuzzParseNotification(f *testing.F) {
	f.Add(benchmarkBody)
	f.Add([]byte(`{"tradeUuid":"u","status":"FAIL","status":"SUCCESS"}`))
	f.Add([]byte(`{"tradeUuid":"u","status":"SUCCESS","payTime":1754286321000,"errorCode":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := ParseNotification(body, nil)
		if err != nil {
			if !errors.Is(err, ErrNotNotification) || n != (Notification{}) {
				t.Fatalf("%+v, %v", n, err)
			}
			return
		}
		if n.TradeUUID == "" || n.Status.Raw == "" {
			t.Fatalf("%q became %+v", body, n)
		}
	})
}

func BenchmarkParseNotification(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseNotification(benchmarkBody, nil); err != nil {
			b.Fatal(err)
		}
	}
}
