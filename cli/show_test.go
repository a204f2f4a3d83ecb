package cli_test

import (
	"net/http"
	"testing"
)

const detail = `{"bill":` + paid + `,"order":{"paid":true,"paidBill":"b-2","openBill":"","bills":["b-2","b-0"]},
 "details":{"description":"Two cups","items":[{"skuCode":"S"}],"metadata":{"cart":"7"},"returnUrl":"/thanks"},
 "history":[{"at":"2026-11-22T10:00:00Z","kind":"created","source":"shop","to":"CREATED","version":1},
  {"at":"2026-11-22T10:00:01Z","kind":"apply_accepted","source":"apply","from":"CREATED","to":"WAIT","version":2,"tookMs":41.5,"report":{"billCode":"BC1"}},
  {"at":"2026-11-22T10:00:30Z","kind":"resolved","source":"operator","actor":"ann@till","from":"WAIT","to":"WAIT","version":2,"note":"looked"}],
 "notifications":[{"id":"msg_1","url":"http://shop/n","type":"bill.paid","state":"dead","tries":2,"createdAt":"2026-11-22T10:01:00Z","lastError":"answered 500",
  "attempts":[{"at":"2026-11-22T10:01:01Z","tookMs":12,"status":500,"error":""},{"at":"2026-11-22T10:01:06Z","tookMs":15000,"status":0,"error":"timeout"}]}]}`

func TestABillIsShownWithAllThatHappened(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills/{id}": says(200, detail)})
	a.run("show", "O2").want(t, 0, `Bill                b-2
Status              SUCCESS
Amount              15000 IDR
Order               O2
Attempt             1
Account             default (live)
Shop                default
Country             ID
Way to pay          ONLINE / QRIS
Created             2026-11-22 10:00:00Z
Updated             2026-11-22 10:01:00Z
Paid                2026-11-22 10:00:59Z
Settled by          webhook
Bills of the order  b-2, b-0
Order is paid by    b-2
Description         Two cups
Items               [{"skuCode":"S"}]
Metadata            {"cart":"7"}
Return URL          /thanks

History
  AT                    EVENT           BY                   STATUS          TOOK   MORE
  2026-11-22 10:00:00Z  created         shop                 CREATED
  2026-11-22 10:00:01Z  apply_accepted  apply                CREATED → WAIT  42 ms  {"billCode":"BC1"}
  2026-11-22 10:00:30Z  resolved        operator (ann@till)  WAIT                   looked

Told to the shop
  CREATED               TYPE                          STATE      TRIES  URL            LAST ERROR    NOTIFICATION
  2026-11-22 10:01:00Z  bill.paid                     dead           2  http://shop/n  answered 500  msg_1
                          tried 2026-11-22 10:01:01Z  500               12 ms
                          tried 2026-11-22 10:01:06Z  no answer         15000 ms       timeout
`)
	a.wantAsked("GET /qlink/bills/O2")
}

func TestABillOfWhichLittleIsKnownIsShownAllTheSame(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills/{id}": says(200, `{"bill":{"id":"b-9"},"details":null}`)})
	a.run("show", "b-9").has(t, 0, "Bill     b-9\n")
}

func TestStatsAccountsOrphansAndNotificationsAreShown(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{
		"GET /qlink/stats": says(200, `{"bills":{"total":12,"open":2,"byStatus":{"WAIT":2,"SUCCESS":10}},"notifications":{"pending":1,"dead":3,"oldestPendingAt":"2026-11-22T10:00:00Z"},
			"orphans":4,"store":{"sizeBytes":2097152,"freeBytes":0,"checkoutsClosedSince":"2026-11-22T11:00:00Z"},"accounts":[{"name":"a","livemode":true,"gatewayReachable":false}]}`),
		"GET /qlink/accounts":      says(200, `{"accounts":[{"name":"a","livemode":true,"endpoint":"http://gw","appKey":"k","payAccount":"p","country":"ID","currency":"IDR","payType":"ONLINE","payChannel":"QRIS","methods":[{"payChannelCode":"QRIS"}]},{"name":"b","error":"no answer"}]}`),
		"GET /qlink/orphans":       says(200, `{"orphans":[{"id":"t-1","at":"2026-11-22T10:00:00Z","orderCode":"X","billCode":"BC"}]}`),
		"GET /qlink/notifications": says(200, `{"notifications":[{"id":"msg_1","url":"http://shop/n","type":"bill.paid","state":"pending","bill":"b-2","orderCode":"O2","createdAt":"2026-11-22T10:00:00Z","tries":3}]}`),
	})
	a.run("stats").has(t, 0, "Bills                   12\n", "  WAIT                  2\n", "  dead                  3\n", "Store                   2.0 MiB\n",
		"Checkouts closed since  2026-11-22 11:00:00Z\n", "Account a               live, its gateway does not answer\n")
	a.run("account").has(t, 1, "a        live  http://gw  k        p            ID       IDR       ONLINE / QRIS  answers\n", "no answer")
	a.run("account", "a").has(t, 0, "App key      k\n", `  lists      {"payChannelCode":"QRIS"}`)
	a.run("account", "c").complains(t, 3, `no account is named "c"`)
	a.run("orphans", "--resolved").has(t, 0, "2026-11-22 10:00:00Z  t-1     X      BC\n")
	a.run("notifications", "--state", "pending", "--since", "2026-11-01").has(t, 0, "bill.paid  pending      3            O2     b-2   http://shop/n\n")
	a.wantAsked("GET /qlink/stats", "GET /qlink/accounts", "GET /qlink/accounts", "GET /qlink/accounts", "GET /qlink/orphans?limit=100&resolved=true",
		"GET /qlink/notifications?limit=100&since=2026-11-01&state=pending")
}
