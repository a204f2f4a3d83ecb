package cli_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestBillsAreATableForPeople(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills": says(200, `{"bills":[`+paid+`,`+waiting+`],"next":""}`)})
	a.run("bills").want(t, 0, `CREATED               STATUS   AMOUNT       ORDER  CHANNEL  BILL  NOTE
2026-11-22 10:00:00Z  SUCCESS   15000  IDR  O2     QRIS     b-2
2026-11-22 09:00:00Z  WAIT       1.10  IDR  O1     QRIS     b-1   stuck: the gateway has not answered, cancel asked for
`)
	a.wantAsked("GET /qlink/bills?limit=100")
}

func TestWithJSONABillIsALineAsTheServerSentIt(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills": says(200, "{\"bills\":[\n"+strings.ReplaceAll(paid, ",", ",\n\t")+",\n"+waiting+"]}")})
	a.run("bills", "--json").want(t, 0, paid+"\n"+waiting+"\n")
}

func TestFiltersReachTheServer(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills": says(200, `{"bills":[],"next":""}`)})
	r := a.run("bills", "--status", "wait", "--account", "a b", "--shop", "s", "--order", "O&", "--amount", "10.00",
		"--from", "2026-11-01", "--to", "2026-11-02T10:00:00Z", "--late", "--stuck", "--untold", "--limit", "5").want(t, 0, "")
	if r.err != "No bills.\n" {
		t.Errorf("stderr %q", r.err)
	}
	a.wantAsked("GET /qlink/bills?account=a+b&amount=10.00&from=2026-11-01&late=true&limit=5&order=O%26&shop=s&status=WAIT&stuck=true&to=2026-11-02T10%3A00%3A00Z&untold=true")
}

func TestAListingFollowsItsPagesUpToTheLimit(t *testing.T) {
	pages := map[string]string{
		"":   `{"bills":[` + paid + `],"next":"p2"}`,
		"p2": `{"bills":[],"next":"p3"}`, // a page may be short before the last
		"p3": `{"bills":[` + waiting + `,` + waiting + `],"next":"p4"}`,
		"p4": `{"bills":[` + paid + `],"next":""}`,
	}
	answers := map[string]http.HandlerFunc{"GET /qlink/bills": func(w http.ResponseWriter, r *http.Request) {
		says(200, pages[r.URL.Query().Get("cursor")])(w, r)
	}}
	a := newAdmin(t, answers)
	r := a.run("bills", "--json", "--limit", "3").want(t, 0, paid+"\n"+waiting+"\n"+waiting+"\n")
	if !strings.Contains(r.err, "There are more") {
		t.Errorf("stderr %q", r.err)
	}
	a.wantAsked("GET /qlink/bills?limit=3", "GET /qlink/bills?cursor=p2&limit=2", "GET /qlink/bills?cursor=p3&limit=2")

	b := newAdmin(t, answers)
	if r := b.run("bills", "--json", "--limit", "0"); strings.Count(r.out, "\n") != 4 || r.err != "" {
		t.Errorf("%+v", r)
	}
}

func TestAnAnswerThatLeadsBackToItselfEnds(t *testing.T) {
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills": says(200, `{"bills":[],"next":"again"}`)})
	a.run("bills", "--limit", "0").complains(t, 1, "leads back to itself")
}

func TestWrongUsageAsksNobody(t *testing.T) {
	a := newAdmin(t, nil)
	for _, args := range []string{
		"bills --status PAID", "bills --from yesterday", "bills --to -3h", "bills --limit -1", "bills extra", "bills --nonsense", "bills --limit x",
		"show", "show a b", "watch --limit -1", "watch x", "stats x", "notifications --state lost", "notifications --since x", "orphans x", "account a b",
		"refresh", "refresh b-1 --status WAIT --older-than 1h", "refresh --status WAIT", "refresh --older-than 1h", "refresh --status WAIT --older-than soon",
		"refresh --status PAID --older-than 1h",
		"cancel", "cancel a b", "cancel b-1 --force", "cancel b-1 --reason R", "resolve b-1", "resolve --note n",
		"redeliver", "redeliver b-1 --all --since 1h", "redeliver --failed", "redeliver --all --failed --since 1h", "redeliver --since 1h b-1", "redeliver --all --since soon",
		"reopen x", "doctor x", "report", "report --from 1h --to soon", "report --from soon --to 1h", "export --format xml", "export x", "export --status PAID",
		"backup", "backup a b", "restore a", "check", "sign", "sign parcel", "verify", "nonsense", "secret x",
		"sign gateway --secret-file s", "sign order --secret-file s", "verify gateway", "verify order --path /x", "verify notification", "check-order a b",
	} {
		r := a.run(strings.Fields(args)...)
		if r.code != 2 || !strings.HasPrefix(r.err, "Error: ") && args != "sign" && args != "verify" || !strings.Contains(r.err, "--help'") {
			t.Errorf("%s: exit code %d, stderr %q", args, r.code, r.err)
		}
	}
	a.wantAsked()
}
