package cli_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// oneBill answers for b-1, which waits, by any of its names.
func oneBill(answers map[string]http.HandlerFunc) map[string]http.HandlerFunc {
	answers["GET /qlink/bills/{id}"] = func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("id") {
		case "b-1", "O1":
			says(200, `{"bill":`+waiting+`,"notifications":[
				{"id":"msg_1","url":"http://a","type":"bill.created","createdAt":"2026-11-22T09:00:00Z"},
				{"id":"msg_2","url":"http://a","type":"bill.paid","createdAt":"2026-11-22T09:01:00Z"},
				{"id":"msg_3","url":"http://b","type":"bill.paid","createdAt":"2026-11-22T09:01:00Z"}]}`)(w, r)
		case "b-2", "O2":
			says(200, `{"bill":`+paid+`,"notifications":[]}`)(w, r)
		default:
			says(404, `{"error":"no bill has this name"}`)(w, r)
		}
	}
	return answers
}

func TestRefreshAsksTheGatewayAboutEach(t *testing.T) {
	a := newAdmin(t, oneBill(map[string]http.HandlerFunc{"POST /qlink/bills/{id}/refresh": says(200, `{"bill":`+paid+`}`)}))
	a.run("refresh", "O1", "b-2").has(t, 0, "SUCCESS")
	a.wantAsked("GET /qlink/bills/O1", "POST /qlink/bills/b-1/refresh", "GET /qlink/bills/b-2", "POST /qlink/bills/b-2/refresh")
	a.run("refresh", "O1", "--json").want(t, 0, paid+"\n")
}

func TestOneThatFailsDoesNotKeepTheOthersFromBeingRefreshed(t *testing.T) {
	a := newAdmin(t, oneBill(map[string]http.HandlerFunc{"POST /qlink/bills/{id}/refresh": func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "b-1" {
			says(503, `{"error":"the gateway does not answer"}`)(w, r)
			return
		}
		says(200, `{"bill":`+paid+`}`)(w, r)
	}}))
	r := a.run("refresh", "unknown", "O1", "O2", "--json").want(t, 1, paid+"\n")
	if r.err != "Error: unknown: no bill has this name\nError: O1: the gateway does not answer\n" {
		t.Errorf("stderr %q", r.err)
	}
	a.run("refresh", "unknown", "O2", "--json").want(t, 3, paid+"\n")
}

func TestRefreshByStatusAndAge(t *testing.T) {
	a := newAdmin(t, oneBill(map[string]http.HandlerFunc{
		"GET /qlink/bills":               says(200, `{"bills":[`+waiting+`]}`),
		"POST /qlink/bills/{id}/refresh": says(200, `{"bill":`+paid+`}`),
	}))
	begun := time.Now()
	a.run("refresh", "--status", "wait", "--older-than", "2d", "--json").want(t, 0, paid+"\n")
	ended := time.Now()
	query := strings.TrimPrefix(a.asked[0], "GET /qlink/bills?limit=1000&status=WAIT&to=")
	to, err := time.Parse(time.RFC3339, strings.ReplaceAll(query, "%3A", ":"))
	// To the instant: a bill of this second is older than a millisecond.
	if err != nil || to.Before(begun.Add(-48*time.Hour).Round(0)) || to.After(ended.Add(-48*time.Hour)) {
		t.Errorf("%s: %v", query, err)
	}
	none := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills": says(200, `{"bills":[]}`)})
	none.run("refresh", "--status", "WAIT", "--older-than", "1h").want(t, 0, "")
}

func TestADryRunWritesNothing(t *testing.T) {
	answers := oneBill(map[string]http.HandlerFunc{
		"GET /qlink/bills": says(200, `{"bills":[`+waiting+`]}`),
		"GET /qlink/stats": says(200, `{"bills":{"total":3},"store":{"sizeBytes":1024,"checkoutsClosedSince":"2026-11-22T11:00:00Z"}}`),
	})
	for args, says := range map[string]string{
		"refresh O1":                            "Would refresh bill b-1 of order O1: WAIT, 1.10 IDR.\n",
		"refresh --status WAIT --older-than 1h": "Would refresh bill b-1 of order O1: WAIT, 1.10 IDR.\n",
		"cancel O1":                             "Would ask the gateway to cancel bill b-1 of order O1: WAIT, 1.10 IDR.\n",
		"cancel O1 --force --reason R":          "Would end by force bill b-1 of order O1: WAIT, 1.10 IDR.\n",
		"cancel O1 --json":                      `{"dryRun":true,"would":"ask the gateway to cancel","bill":"b-1","orderCode":"O1","status":"WAIT"}` + "\n",
		"resolve O1 --note n":                   "Would resolve the bill b-1.\n",
		"redeliver O1":                          "Would send bill.paid again to http://a about bill b-1 of order O1: WAIT, 1.10 IDR.\nWould send bill.paid again to http://b about bill b-1 of order O1: WAIT, 1.10 IDR.\n",
		"reopen":                                "Would open checkouts, which are closed since 2026-11-22 11:00:00Z.\n",
		"backup /nowhere/qlink.backup":          "Would write a backup of 3 bills to /nowhere/qlink.backup; the store has 1.0 KiB.\n",
	} {
		a := newAdmin(t, answers)
		a.run(append(strings.Fields(args), "--dry-run")...).want(t, 0, says)
		for _, call := range a.asked {
			if !strings.HasPrefix(call, "GET ") {
				t.Errorf("%s: %s", args, call)
			}
		}
	}
	a := newAdmin(t, answers)
	a.run("cancel", "O2", "--dry-run").complains(t, 3, "b-2 is paid")
	a.run("redeliver", "O2", "--dry-run").complains(t, 3, "nobody was to be told")
}

func TestCancelSaysHowFarItCame(t *testing.T) {
	canceled := strings.NewReplacer(`"WAIT"`, `"CANCELED"`, `"final":false`, `"final":true`).Replace(waiting)
	a := newAdmin(t, oneBill(map[string]http.HandlerFunc{"POST /qlink/bills/{id}/cancel": says(200, `{"bill":`+canceled+`}`)}))
	a.run("cancel", "O1").want(t, 0, "Bill b-1 of order O1 has ended: CANCELED.\n")
	a.run("cancel", "O1", "--json").want(t, 0, canceled+"\n")
	a.run("cancel", "O1", "--force", "--reason", "by phone").has(t, 0)
	a.wantAsked("GET /qlink/bills/O1", "POST /qlink/bills/b-1/cancel", "GET /qlink/bills/O1", "POST /qlink/bills/b-1/cancel",
		"GET /qlink/bills/O1", `POST /qlink/bills/b-1/cancel {"force":true,"reason":"by phone"}`)

	a = newAdmin(t, oneBill(map[string]http.HandlerFunc{"POST /qlink/bills/{id}/cancel": says(202, `{"bill":`+waiting+`}`)}))
	a.run("cancel", "O1").want(t, 0, "Asked for: the cancel of bill b-1 of order O1 is not certain yet.\n")

	a = newAdmin(t, oneBill(map[string]http.HandlerFunc{"POST /qlink/bills/{id}/cancel": says(409, `{"error":"it is paid","code":"already_paid","bill":`+paid+`}`)}))
	a.run("cancel", "O2").complains(t, 3, "Error: it is paid")
	a.run("cancel", "O2", "--json").want(t, 3, paid+"\n")
	a.run("cancel", "unknown").complains(t, 3, "no bill has this name")
}

func TestABillOrAnOrphanIsResolved(t *testing.T) {
	a := newAdmin(t, oneBill(map[string]http.HandlerFunc{
		"GET /qlink/orphans": says(200, `{"orphans":[{"id":"t-1"}]}`),
		"POST /qlink/bills/{id}/resolve": func(w http.ResponseWriter, r *http.Request) {
			if r.PathValue("id") == "t-1" {
				says(200, `{"orphan":{"id":"t-1","note":"n"}}`)(w, r)
				return
			}
			says(200, `{"bill":`+waiting+`}`)(w, r)
		},
	}))
	a.run("resolve", "O1", "--note", "looked into").want(t, 0, "Resolved: b-1.\n")
	a.run("resolve", "t-1", "--note", "not ours", "--json").want(t, 0, `{"id":"t-1","note":"n"}`+"\n")
	a.run("resolve", "t-2", "--note", "?").complains(t, 3, "no bill has this name")
	a.wantAsked("GET /qlink/bills/O1", `POST /qlink/bills/b-1/resolve {"note":"looked into"}`,
		"GET /qlink/bills/t-1", "GET /qlink/orphans?limit=1000", `POST /qlink/bills/t-1/resolve {"note":"not ours"}`,
		"GET /qlink/bills/t-2", "GET /qlink/orphans?limit=1000")
}

func TestRedeliverNamesWhatGoesOutAndWhatIsOvertaken(t *testing.T) {
	answer := `{"notifications":[{"id":"msg_2","url":"http://a","type":"bill.paid","bill":"b-1"}],"overtaken":[]}`
	a := newAdmin(t, oneBill(map[string]http.HandlerFunc{"POST /qlink/bills/b-1/redeliver": func(w http.ResponseWriter, r *http.Request) { says(200, answer)(w, r) }}))
	a.run("redeliver", "O1").want(t, 0, "ORDER  BILL  TYPE       URL       NOTIFICATION\nO1     b-1   bill.paid  http://a  msg_2\n")
	a.run("redeliver", "O1", "--json").want(t, 0, `{"id":"msg_2","url":"http://a","type":"bill.paid","bill":"b-1"}`+"\n")
	answer = `{"notifications":[],"overtaken":[{"notification":"msg_1","bill":"b-3"}]}`
	a.run("redeliver", "O1").complains(t, 3, "Error: O1: notification msg_1 is overtaken by a newer one: redeliver bill b-3")
	answer = `{"notifications":[],"overtaken":[]}`
	a.run("redeliver", "O1").complains(t, 3, "nobody was to be told")
}

func TestRedeliveryInBulkFollowsTheServer(t *testing.T) {
	lines := `{"bill":"b-1","orderCode":"O1","redelivered":2,"error":""}` + "\n" + `{"bill":"b-2","orderCode":"O2","redelivered":0,"error":"overtaken"}` + "\n"
	done := `{"done":true,"bills":2,"notifications":2,"failed":1}` + "\n"
	a := newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/redeliver": says(200, lines+done)})
	a.run("redeliver", "--failed", "--since", "2026-11-01").want(t, 1,
		"ORDER  BILL  NOTIFICATIONS  OVERTAKEN  ERROR\nO1     b-1               2          0\nO2     b-2               0          0  overtaken\n2 notifications about 2 bills go out again; 1 failed.\n")
	a.run("redeliver", "--all", "--since", "2026-11-01", "--dry-run", "--json").want(t, 1, lines+done)
	a.wantAsked("POST /qlink/redeliver?failed=true&since=2026-11-01", "POST /qlink/redeliver?all=true&dry_run=true&since=2026-11-01")
	none := newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/redeliver": says(200, `{"done":true,"bills":0,"notifications":0,"failed":0}`)})
	none.run("redeliver", "--failed", "--since", "1h").want(t, 0, "0 notifications about 0 bills go out again; 0 failed.\n")
	short := newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/redeliver": says(200, lines)})
	if r := short.run("redeliver", "--failed", "--since", "1h"); r.code != 1 || !strings.Contains(r.err, "breaks off") {
		t.Errorf("without its last line: %+v", r)
	}
}

func TestReopenOpensCheckouts(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/reopen": says(200, `{"reopened":true}`)})
	a.run("reopen").want(t, 0, "Checkouts are open.\n")
	a.run("reopen", "--json").want(t, 0, "{\"reopened\":true}\n")
	a.wantAsked("POST /qlink/reopen", "POST /qlink/reopen")
}

func TestDoctorExitsWithAFaultWhereSomethingIsWrong(t *testing.T) {
	good := `{"check":"clock","account":"","status":"ok","finding":"right to the second","remedy":""}` + "\n" +
		`{"check":"zone","account":"default","status":"warning","finding":"another","remedy":"set time_zone"}` + "\n"
	a := newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/doctor": says(200, good)})
	a.run("doctor", "--account", "default", "--site", "https://shop").has(t, 0, "ok       clock                         right to the second\n", "→ set time_zone")
	a.wantAsked(`POST /qlink/doctor {"account":"default","site":"https://shop"}`)
	a = newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/doctor": says(200, good+`{"check":"secret","status":"failed","finding":"wrong","remedy":"ask"}`)})
	a.run("doctor", "--json").has(t, 4, `"status":"failed"`)
	a = newAdmin(t, map[string]http.HandlerFunc{"POST /qlink/doctor": says(200, "")})
	a.run("doctor").complains(t, 1, "nothing to say")
}

func TestAReportsExitCodeSaysWhetherTheBooksAgree(t *testing.T) {
	report := `{"from":"2026-11-01T00:00:00Z","to":"2026-11-02T00:00:00Z","verdict":"VERDICT","wrong":1,"bills":3,"compared":3,
		"totals":[{"livemode":true,"currency":"IDR","status":"SUCCESS","count":2,"amount":"30000.00"}],
		"mismatches":[{"kind":"paid_there_only","finding":"paid at the gateway, not here","remedy":"refresh it","wrong":{"count":2,"listed":[` + waiting + `]},"inFlight":{"count":0}}],
		"untold":{"count":1,"listed":[{"id":"b-2","orderCode":"O2","url":"http://a","state":"dead","lastError":"answered 500"}]}}`
	for verdict, code := range map[string]int{"agree": 0, "disagree": 4, "not_proven": 4, "": 4} {
		a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/report": says(200, strings.Replace(report, "VERDICT", verdict, 1))})
		a.run("report", "--from", "2026-11-01", "--to", "2026-11-02", "--account", "default").has(t, code,
			"Paid at the gateway, not here: 2\n  → refresh it\n", "  2026-11-22 09:00:00Z  WAIT      1.10  IDR  O1     b-1", "… and 1 more",
			"  IDR       SUCCESS      2  30000.00  live\n", "dead; http://a; answered 500")
		a.run("report", "--from", "2026-11-01", "--to", "2026-11-02", "--json").has(t, code, `"verdict":"`+verdict+`"`)
		a.wantAsked("GET /qlink/report?account=default&from=2026-11-01&to=2026-11-02", "GET /qlink/report?from=2026-11-01&to=2026-11-02")
	}
}
