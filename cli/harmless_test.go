package cli_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode"
)

// hostile is a JSON string with what a terminal obeys: an escape sequence that
// sets its title, one in a single byte, a reversal of direction, a line end, a
// bell, an invisible tag.
const hostile = `O\u001b]0;owned\u0007\u009b31m\u202e\r\n\u2028\u0000\ud83d\udc7b\udb40\udc41`

func TestNothingFromOutsideReachesTheTerminalAsAControlCharacter(t *testing.T) {
	b := strings.NewReplacer(`"O2"`, `"`+hostile+`"`, `"stuck":""`, `"stuck":"`+hostile+`"`, `"QRIS"`, `"`+hostile+`"`).Replace(paid)
	detail := `{"bill":` + b + `,"order":{"bills":["` + hostile + `"]},"details":{"description":"` + hostile + `","items":[{"` + hostile + `":1}],"metadata":"` + hostile + `"},
		"history":[{"at":"` + hostile + `","kind":"` + hostile + `","source":"` + hostile + `","actor":"` + hostile + `","note":"` + hostile + `","report":{"status":"` + hostile + `"}}],
		"notifications":[{"url":"` + hostile + `","type":"` + hostile + `","state":"` + hostile + `","lastError":"` + hostile + `","attempts":[{"at":"x","error":"` + hostile + `"}]}]}`
	raw := "O\x1b]0;owned\x07\u009b31m\u202e\r\n"
	a := newAdmin(t, map[string]http.HandlerFunc{
		"GET /qlink/bills":              says(200, `{"bills":[`+b+`]}`),
		"GET /qlink/bills/{id}":         says(200, detail),
		"POST /qlink/bills/{id}/cancel": says(409, `{"error":"`+hostile+`","code":"already_paid","bill":`+b+`}`),
		"GET /qlink/watch":              says(200, b+"\n"),
		"GET /qlink/orphans":            says(200, `{"orphans":[{"id":"`+hostile+`","note":"`+hostile+`"}]}`),
		"GET /qlink/notifications":      says(200, `{"notifications":[{"url":"`+hostile+`","state":"`+hostile+`"}]}`),
		"GET /qlink/accounts":           says(200, `{"accounts":[{"name":"`+hostile+`","error":"`+hostile+`"},{"name":"x","methods":["`+hostile+`"],"offer":["`+hostile+`"]}]}`),
		"POST /qlink/doctor":            says(200, `{"check":"`+hostile+`","account":"`+hostile+`","status":"`+hostile+`","finding":"`+hostile+`","remedy":"`+hostile+`"}`),
		"GET /qlink/report":             says(200, `{"verdict":"`+hostile+`","account":"`+hostile+`","totals":[{"currency":"`+hostile+`"}],"mismatches":[{"finding":"`+hostile+`","remedy":"`+hostile+`","wrong":{"count":1,"listed":[{"orderCode":"`+hostile+`","gatewayWord":"`+hostile+`"}]}}]}`),
		"POST /qlink/redeliver":         says(200, `{"bill":"`+hostile+`","orderCode":"`+hostile+`","error":"`+hostile+`"}`+"\n"+`{"done":true}`),
		"GET /qlink/stats":              says(200, `{"accounts":[{"name":"`+hostile+`"}],"notifications":{"oldestPendingAt":"`+hostile+`"}}`),
	})
	for _, args := range []string{
		"bills", "show x", "watch --limit 1", "cancel x", "cancel x --dry-run", "orphans", "notifications", "account", "account x", "doctor", "report --from 2h --to 1h",
		"redeliver --all --since 1h", "redeliver x --dry-run", "refresh x --dry-run", "stats",
	} {
		for _, form := range []string{"", " --json"} {
			r := a.run(strings.Fields(args + form)...)
			if strings.TrimSpace(r.out+r.err) == "" {
				t.Errorf("%s%s printed nothing", args, form)
			}
			wantHarmless(t, args+form, r.out+r.err)
			if form == "" {
				continue
			}
			for line := range strings.Lines(r.out) {
				if !json.Valid([]byte(line)) {
					t.Errorf("%s%s: no JSON: %q", args, form, line)
				}
			}
		}
	}
	r := a.run("bills", "--status", raw)
	wantHarmless(t, "a flag", r.err)
	r = offline(t, `{"orderCode":"`+hostile+`","amount":"`+hostile+`","currency":"`+hostile+`"}`, "check-order")
	wantHarmless(t, "check-order", r.out+r.err)
}

func wantHarmless(t *testing.T, what, printed string) {
	t.Helper()
	for _, r := range printed {
		if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
			t.Errorf("%s: %U in %q", what, r, printed)
			return
		}
	}
}

func TestJSONMadeHarmlessMeansTheSame(t *testing.T) {
	b := strings.Replace(paid, `"O2"`, "\"a\u009b\u202e\u2028\U000e0041\"", 1)
	a := newAdmin(t, map[string]http.HandlerFunc{"GET /qlink/bills": says(200, `{"bills":[`+b+`]}`)})
	r := a.run("bills", "--json")
	wantHarmless(t, "bills", r.out)
	var printed struct{ OrderCode string }
	if err := json.Unmarshal([]byte(r.out), &printed); err != nil || printed.OrderCode != "a\u009b\u202e\u2028\U000e0041" {
		t.Errorf("%q, %v", printed.OrderCode, err)
	}
}
