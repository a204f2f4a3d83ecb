package caddyqlink

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// validate does what `caddy validate` does.
func validate(t *testing.T, config []byte) error {
	t.Helper()
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&c)
}

// sound is a configuration in JSON that loads, for tests to spoil.
const sound = `{"apps":{
	"qlink":{"store":{"module":"memory"},"accounts":{"default":{"endpoint":"http://localhost:9","app_key":"k","app_secret":["s"],"pay_account":"p"}}},
	"http":{"servers":{"srv0":{"listen":[":0"],"routes":[{"handle":[{"handler":"qlink"}]}]}}}}}`

// aKey is a secret for notifications, aTarget a URL that gets them.
const (
	aKey    = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
	aTarget = `{"url":"https://a.example/n","secret":["` + aKey + `"]}`
)

func notifyOf(entries string) string { return `"notify":[` + entries + `]` }

func TestWhatCannotBeLoadedIsToldByAccountAndField(t *testing.T) {
	t.Setenv("QLINK_TEST_EMPTY", "")
	const (
		accountOf = `"pay_account":"p"`
		handlerOf = `{"handler":"qlink"`
		appOf     = `"store":{"module":"memory"}`
	)
	tests := []struct{ at, instead, want string }{
		{accountOf, `"pay_account":""`, `account "default": pay_account is missing`},
		{accountOf, `"pay_account":"{env.QLINK_TEST_EMPTY}"`, `account "default": pay_account: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty`},
		{accountOf, `"pay_account":"{nobody.knows}"`, `account "default": pay_account: unrecognized placeholder`},
		{`"app_key":"k"`, `"app_key":""`, `account "default": app_key is missing`},
		{`"app_secret":["s"]`, `"app_secret":[]`, `account "default": app_secret is missing`},
		{`"app_secret":["s"]`, `"app_secret":["{env.QLINK_TEST_EMPTY}"]`, `account "default": app_secret: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty`},
		{`"app_secret":["s"]`, `"app_secret":["s","s"]`, `account "default": app_secret: the same secret is there twice`},
		{`"app_secret":["s"]`, `"app_secret":[" s"]`, `account "default": app_secret: begins or ends with white space`},
		{`"endpoint":"http://localhost:9"`, `"mode":"test"`, `account "default": environment or endpoint is missing`},
		{`"endpoint":"http://localhost:9"`, `"endpoint":"localhost"`, `account "default": endpoint: is not an http or https URL`},
		{accountOf, accountOf + `,"edition":"global"`, `account "default": service_provider is missing`},
		{accountOf, accountOf + `,"service_provider":"x"`, `account "default": service_provider: is for edition global only`},
		{accountOf, accountOf + `,"country":"XX"`, `account "default": country: "XX" is no`},
		{accountOf, accountOf + `,"time_zone":"Moon/Base"`, `account "default": time_zone: "Moon/Base" is no`},
		{accountOf, accountOf + `,"expire_after":[{"after":"1h"},{"after":"2h"}]`, `account "default": expire_after: there are two for all pay channels`},
		{accountOf, accountOf + `,"expire_after":[{"after":"1h","channels":["A"]},{"after":"2h","channels":["B","A"]}]`, `account "default": expire_after: there are two for pay channel "A"`},
		{accountOf, accountOf + `,"expire_after":[{"after":"x"}]`, `account "default": expire_after: "x" is no duration`},
		{accountOf, accountOf + `,"apply_params":{"status":"x"}`, `account "default": qlink config: `},
		{accountOf, accountOf + `,"header":{"sign":["x"]}`, `account "default": qlink config: `},
		{accountOf, accountOf + `,"transport":{"protocol":"http","tls":{}}`, `account "default": transport: it is set up for TLS, but the endpoint is plain http`},
		{accountOf, accountOf + `,"transport":{"protocol":"nosuch"}`, `account "default": transport: `},
		{accountOf, accountOf + `,"app_kye":"x"`, `unknown field "app_kye"`},
		{`{"default":`, `{"no/name":`, `"no/name" is no name`},
		{appOf, `"store":{"module":"nosuch"}`, `store: `},
		{appOf, `"reconcile":{"min_interval":"0"}`, `reconcile: min_interval: must be above zero`},
		{appOf, `"limits":{"open_total":"x"}`, `limits: open_total: "x" is no whole number`},
		{appOf, `"limits":{"open_per_client":"-1"}`, `limits: open_per_client: "-1" is no whole number of at least 0`},
		{handlerOf, handlerOf + `,"account":"other"`, `account: the app qlink has no account "other"`},
		{handlerOf, handlerOf + `,"prefix":"/"`, `prefix: "/" is no path of its own`},
		{handlerOf, handlerOf + `,"checkout":["cart"]`, `checkout: "cart" is no path`},
		{handlerOf, handlerOf + `,"api":{}`, `api: secret is missing`},
		{handlerOf, handlerOf + `,"return_url":"{env.QLINK_TEST_EMPTY}"`, `return_url: evaluated placeholder`},
		{handlerOf, handlerOf + `,"public_url":"shop"`, `public_url: is not an http or https URL`},
		{handlerOf, handlerOf + `,"allowed_origins":["*"]`, `allowed_origins: "*" is not`},

		{appOf, notifyOf(`{}`), `qlink: notify 1: url: is missing`},
		{appOf, notifyOf(`null`), `notify 1: url: is missing`},
		{appOf, notifyOf(`{"url":"https://a.example/n"}`), `notify 1: secret: is missing`},
		{appOf, notifyOf(`{"url":"https://a.example/n","secret":["{env.QLINK_TEST_EMPTY}"]}`), `notify 1: secret: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty`},
		{appOf, notifyOf(`{"url":"https://a.example/n","secret":["whsec_c2hvcnQ="]}`), `notify 1: secret: is not whsec_ and the base64 of 24 to 64 bytes`},
		{appOf, notifyOf(`{"url":"https://a.example/n","secret":["` + aKey + `","` + aKey + `"]}`), `notify 1: secret: the same secret is there twice`},
		{appOf, notifyOf(`{"url":"{env.QLINK_TEST_EMPTY}","secret":["` + aKey + `"]}`), `notify 1: url: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty`},
		{appOf, notifyOf(`{"url":"shop/n","secret":["` + aKey + `"]}`), `notify 1: url: is not an http or https URL`},
		{appOf, notifyOf(`{"url":"https://u:p@a.example/n","secret":["` + aKey + `"]}`), `notify 1: url: must not hold a user`},
		{appOf, notifyOf(`{"url":"https://a.example/n","secret":["` + aKey + `"],"events":["bill.lost"]}`), `notify 1: events: "bill.lost" is none of`},
		{appOf, notifyOf(`{"url":"https://a.example/n","secret":["` + aKey + `"],"event":["bill.paid"]}`), `unknown field "event"`},
		{appOf, notifyOf(aTarget + `,` + aTarget), `notify 2: url: another notify here has the same`},
		{accountOf, accountOf + `,` + notifyOf(aTarget+`,{}`), `account "default": notify 2: url: is missing`},
		{handlerOf, handlerOf + `,` + notifyOf(aTarget+`,{"url":"https://b.example/"}`), `notify 2: secret: is missing`},

		{appOf, `"retention":"3d"`, `retention: "3d" is less than 4d: until then ended bills are asked after for late payments`},
		{appOf, `"retention":"{env.QLINK_TEST_EMPTY}"`, `retention: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty`},
		{appOf, `"retention":"for ever"`, `retention: "for ever" is no duration such as 30s, 10m or 1d`},
		{appOf, `"reconcile":{"min_interval":"10s","max_interval":"5s"}`, `reconcile: max_interval (5s) is less than min_interval (10s)`},
		{accountOf, accountOf + `,"offer":["ONLINE/QRIS"]`, `cannot unmarshal array`},
		{accountOf, accountOf + `,"offer":{"ways":["QRIS"]}`, `account "default": offer: "QRIS" is no type and channel such as ONLINE/QRIS`},
		{accountOf, accountOf + `,"offer":{"ways":["ONLINE/QRIS","ONLINE/QRIS"]}`, `account "default": offer: "ONLINE/QRIS" is there twice`},
		{accountOf, accountOf + `,"offer":{"ways":["{env.QLINK_TEST_EMPTY}"]}`, `account "default": offer: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty`},
		{accountOf, accountOf + `,"offer":{},"edition":"global","service_provider":"xendit"`, `account "default": offer: edition global lists no types: pay_type is missing, or the ways to offer`},
		{accountOf, accountOf + `,"confirm_success":"yes"`, `account "default": confirm_success: "yes" is none of ["on" "off"]`},
		{handlerOf, handlerOf + `,"retry":"0"`, `retry: must be above zero`},
		{handlerOf, handlerOf + `,"retry":"{env.QLINK_TEST_EMPTY}"`, `retry: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty`},
		{handlerOf, handlerOf + `,"page":{"language":"fr"}`, `page: there are no texts in language "fr"`},
		{handlerOf, handlerOf + `,"page":{"logo":"/nowhere/logo.png"}`, `page: logo: open /nowhere/logo.png`},
		{handlerOf, handlerOf + `,"page":{"accent":["ffcc00"]}`, `page: accent: #ffcc00 cannot be read`},
		{handlerOf, handlerOf + `,"page":{"support":"{env.QLINK_TEST_EMPTY}"}`, `page: support: evaluated placeholder {env.QLINK_TEST_EMPTY} is empty`},
	}
	if err := validate(t, []byte(sound)); err != nil {
		t.Fatalf("what the tests spoil does not load itself: %v", err)
	}
	for _, test := range tests {
		t.Run(test.instead, func(t *testing.T) {
			spoiled := strings.Replace(sound, test.at, test.instead, 1)
			err := validate(t, []byte(spoiled))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestAHandlerWithoutTheAppIsToldWhatIsMissing(t *testing.T) {
	config, err := adapt(t, "http://:0 {\n\tqlink\n}")
	if err != nil {
		t.Fatal(err)
	}
	err = validate(t, config)
	if err == nil || !strings.Contains(err.Error(), "put a qlink block with an account into the global options") {
		t.Errorf("the error is %v", err)
	}
}

func TestEveryOptionOfTheFixturesLoads(t *testing.T) {
	for _, name := range []string{
		"QLINK_KEY", "QLINK_SECRET_BEFORE", "HINT", "SECRET2", "K", "S", "API", "API_BEFORE", "FROM",
	} {
		t.Setenv(name, "value-of-"+name)
	}
	t.Setenv("CHECKOUT", "/other/checkout")
	t.Setenv("NOTIFY", aKey)
	t.Setenv("NOTIFY_BEFORE", keyOf("the secret of before, still good"))
	t.Setenv("EVENT", "bill.paid")
	t.Setenv("WAY", "BANK/VA")
	t.Setenv("WHICH", "test")
	t.Setenv("T", "3s")
	t.Setenv("N", "7")
	t.Setenv("I", "9s")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, fixture := range []string{"app_every_option", "app_least"} {
		content, err := os.ReadFile("testdata/caddyfile_adapt/" + fixture + ".caddyfiletest")
		if err != nil {
			t.Fatal(err)
		}
		for c := range strings.SplitSeq(string(content), betweenCases) {
			_, config, _ := strings.Cut(c, betweenParts)
			config = strings.ReplaceAll(config, "/run/secrets/qlink", secret)
			if err := validate(t, []byte(config)); err != nil {
				t.Errorf("%s: %v", fixture, err)
			}
		}
	}
}

// canaries are resolved values that must be seen nowhere.
var canaries = []string{
	"canary-in-a-variable", "canary-in-a-file", "canary-of-before", "canary-of-the-api", "canary-in-a-header",
	canaryKey, strings.TrimPrefix(canaryKey, "whsec_"), "canary-of-a-password", "canary-of-another-kind",
}

// canaryKey signs notifications.
var canaryKey = keyOf("canary-in-a-key-of-notifications")

func keyOf(key string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(key)) }

func TestSecretsBehindPlaceholdersAreToldNowhere(t *testing.T) {
	dir := t.TempDir()
	file, logs := filepath.Join(dir, "secret"), filepath.Join(dir, "log")
	if err := os.WriteFile(file, []byte("canary-in-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("QLINK_TEST_SECRET", "canary-in-a-variable")
	t.Setenv("QLINK_TEST_BEFORE", "canary-of-before")
	t.Setenv("QLINK_TEST_API", "canary-of-the-api")
	t.Setenv("QLINK_TEST_HEADER", "canary-in-a-header")
	t.Setenv("QLINK_TEST_NOTIFY", canaryKey)
	text := caddyfileOf(`store memory
		account {
			endpoint http://127.0.0.1:9/pay
			mode live
			app_key key
			app_secret {env.QLINK_TEST_SECRET} {file.`+file+`} {env.QLINK_TEST_BEFORE}
			pay_account acc
			header X-Token {env.QLINK_TEST_HEADER}
			notify https://a.example/n {
				secret {env.QLINK_TEST_NOTIFY}
			}
		}`, `qlink {
		notify https://b.example/n {
			secret {env.QLINK_TEST_NOTIFY}
		}
		api {
			secret {env.QLINK_TEST_API}
		}
	}`)
	text = strings.Replace(text, "persist_config off", "persist_config off\n\tlog {\n\t\tlevel DEBUG\n\t\toutput file "+logs+"\n\t}", 1)
	base := run(t, text)
	ask(t, "POST", base+"/qlink/bills")
	ask(t, "POST", base+"/qlink/payNotification")

	told := map[string]string{"the adapted configuration": string(mustAdapt(t, text))}
	app, err := caddy.ActiveContext().App("qlink")
	if err != nil {
		t.Fatal(err)
	}
	marshaled, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	told["the app as JSON"] = string(marshaled)
	for _, spoil := range [][2]string{
		{"header X-Token ", "header sign "},
		{"pay_account acc", "pay_account acc\n\t\t\tcountry {env.QLINK_TEST_UNSET}"},
		{"{env.QLINK_TEST_BEFORE}", "{env.QLINK_TEST_SECRET}"},
		{"{env.QLINK_TEST_BEFORE}", "canary-of-before{nobody}"},
		{"{env.QLINK_TEST_NOTIFY}", "{env.QLINK_TEST_NOTIFY} {env.QLINK_TEST_NOTIFY}{env.HOME}"},
		{"{env.QLINK_TEST_NOTIFY}", "{env.QLINK_TEST_API}"},
	} {
		err := validate(t, mustAdapt(t, strings.Replace(text, spoil[0], spoil[1], 1)))
		if err == nil {
			t.Fatalf("it loads with %q", spoil[1])
		}
		told["the error about "+spoil[1]] = err.Error()
	}
	for _, spoil := range [][2]string{
		{"{env.QLINK_TEST_NOTIFY}", "whsec_canary-of-another-kind"},
		{"{env.QLINK_TEST_NOTIFY}", canaryKey + " " + canaryKey},
		{"https://a.example/n", "https://shop:canary-of-a-password@a.example/n"},
		{"https://a.example/n", "ftp://shop:canary-of-a-password@a.example/n"},
	} {
		_, err := adapt(t, strings.Replace(text, spoil[0], spoil[1], 1))
		if err == nil {
			t.Fatalf("it adapts with %q", spoil[1])
		}
		told["the error about "+spoil[1]] = err.Error()
	}
	content, err := os.ReadFile(logs)
	if err != nil {
		t.Fatal(err)
	}
	told["the log"] = string(content)
	if !strings.Contains(told["the log"], "plain http") {
		t.Error("the log does not warn of a live account over plain http")
	}
	for what, text := range told {
		for _, canary := range canaries {
			if strings.Contains(text, canary) {
				t.Errorf("%s holds %s:\n%s", what, canary, text)
			}
		}
	}
}

func mustAdapt(t *testing.T, text string) []byte {
	t.Helper()
	config, err := adapt(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// story 38
func TestValidatingBesideALiveStoreSucceedsAndLeavesNoFile(t *testing.T) {
	live, fresh := filepath.Join(t.TempDir(), "live"), filepath.Join(t.TempDir(), "fresh")
	of := func(dir string) string {
		return caddyfileOf("store badger {\n\t\t\tpath "+dir+"\n\t\t}\n\t\t"+account, "qlink")
	}
	base := run(t, of(live))
	for _, dir := range []string{live, fresh} {
		if err := validate(t, mustAdapt(t, of(dir))); err != nil {
			t.Errorf("validate fails: %v", err)
		}
	}
	if _, err := os.Lstat(fresh); !os.IsNotExist(err) {
		t.Errorf("validate has made %s: %v", fresh, err)
	}
	if got := ask(t, "GET", base+"/qlink/bills/x"); got.status != 404 || !got.ours() {
		t.Errorf("the live site answers %+v", got)
	}
}
