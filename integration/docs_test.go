package integration

import (
	"fmt"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pageBlock is a block of a page: of a kind ("sh", "caddyfile", or none), with
// its text.
type pageBlock struct{ page, kind, text string }

var fencedBlock = regexp.MustCompile("(?ms)^( *)```([a-z]*)\n(.*?)^ *```$")

// pages are the files of the documentation.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(all, "../README.md", "../CONTRIBUTING.md", "../SECURITY.md")
}

// pageBlocks are all their blocks.
func pageBlocks(t *testing.T) []pageBlock {
	t.Helper()
	var blocks []pageBlock
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range fencedBlock.FindAllStringSubmatch(string(text), -1) {
			blocks = append(blocks, pageBlock{
				strings.TrimPrefix(page, "../"), found[2], strings.TrimPrefix(strings.ReplaceAll("\n"+found[3], "\n"+found[1], "\n"), "\n"),
			})
		}
	}
	return blocks
}

const accountOfParts = "\t\taccount {\n\t\t\tenvironment test\n\t\t\tapp_key k\n\t\t\tapp_secret s\n\t\t\tpay_account a\n\t\t}\n"

// What a Caddyfile of the documentation that is a part stands in, by its first
// word.
var around = map[string]string{
	"notify": "{\n\tqlink {\n" + accountOfParts + "\t}\n}\n\n:8080 {\n\tqlink {\n\t\tcheckout /checkout\n%s\t}\n}\n",
	"store":  "{\n\tqlink {\n" + accountOfParts + "%s\t}\n}\n",
}

// Every Caddyfile of the documentation has to be taken as it stands.
func TestTheCaddyfilesOfTheDocumentationAreTaken(t *testing.T) {
	found := 0
	for _, block := range pageBlocks(t) {
		if block.kind != "caddyfile" {
			continue
		}
		found++
		text := block.text
		first, _, _ := strings.Cut(text, " ")
		part := around[first]
		if part != "" {
			text = fmt.Sprintf(part, text)
		}
		c := newCaddy(t, text, nil)
		c.env = append(c.env, "QLINK_APP_KEY=k", "QLINK_APP_SECRET=s", "QLINK_PAY_ACCOUNT=a", "QLINK_DSN=host=db user=qlink", "NOTIFY_SECRET="+notifyKey)
		if out, err := c.run("validate", "--config", c.config, "--adapter", "caddyfile"); err != nil {
			t.Errorf("%s: %v\n%s\n%s", block.page, err, text, out)
		}
		if part != "" {
			c.write(block.text, nil)
		}
		c.wantFormatted(block.page, c.config)
	}
	if found == 0 {
		t.Error("no page has a Caddyfile")
	}
}

// Commands of the documentation whose work another test does, at other addresses or
// in other folders; of a script the first line.
var playedElsewhere = map[string]func(*testing.T){
	"go run ./cmd/caddy run --config examples/quickstart/Caddyfile":                                                   TestAQuickstartOrderIsBoughtInABrowser,
	"go run ./cmd/caddy run --config examples/observability/Caddyfile":                                                TestEveryExpressionOfTheDashboardShowsSomethingAndEveryAlertLooksAtWhatThereIs,
	`prometheus --config.file examples/observability/prometheus.yml --storage.tsdb.path "$(mktemp -d)"`:               TestEveryExpressionOfTheDashboardShowsSomethingAndEveryAlertLooksAtWhatThereIs,
	"go run ./cmd/caddy run --config examples/shops/Caddyfile":                                                        TestEveryExampleShopIsPaidAndKnowsIt,
	"python3 examples/shops/python/shop.py &":                                                                         TestEveryExampleShopIsPaidAndKnowsIt,
	"xcaddy build --with github.com/caddy-qlink/caddy-qlink":                                                          TestXcaddyBuildsTheModule,
	"xcaddy build --with github.com/caddy-qlink/caddy-qlink --with github.com/caddy-qlink/caddy-qlink/store/postgres": TestXcaddyBuildsTheModule,
	"scripts/release v0.1.0": TestAReleaseIsTheSameWhereverItIsBuiltAndSaysWhatItIs,
	"npm ci --prefix examples/shops/vendure && npm start --prefix examples/shops/vendure &":                                 TestVendureIsPaidAndKnowsIt,
	"go run ./cmd/caddy run --config examples/shops/vendure/Caddyfile":                                                      TestVendureIsPaidAndKnowsIt,
	`shop() { curl -s -b cookies -c cookies "http://localhost:8095$1" -H 'Content-Type: application/json' -d "$2"; echo; }`: TestVendureIsPaidAndKnowsIt,
	"examples/cluster/run": TestAShopOnThreeCaddysSellsOnWhenOneIsKilled,
	"sudo -u caddy --preserve-env=QLINK_DSN caddy qlink migrate-store --from /etc/caddy/Caddyfile --to /etc/caddy/Caddyfile.new --dry-run": TestAStoreIsCarriedIntoAnotherOneAndNoPaymentIsLost,
	"sudo -u caddy --preserve-env=QLINK_DSN caddy qlink migrate-store --from /etc/caddy/Caddyfile --to /etc/caddy/Caddyfile.new":           TestAStoreIsCarriedIntoAnotherOneAndNoPaymentIsLost,
	"caddy qlink migrate-store --from Caddyfile --to Caddyfile.new --dry-run":                                                              TestAStoreIsCarriedIntoAnotherOneAndNoPaymentIsLost,
	"caddy qlink migrate-store --from /etc/caddy/Caddyfile --to /etc/caddy/Caddyfile.new":                                                  TestAStoreIsCarriedIntoAnotherOneAndNoPaymentIsLost,
	"caddy qlink migrate-store --from Caddyfile --to Caddyfile.new --give-up":                                                              TestAMigrationIsGivenUpAndAStoreTakenBack,
	"caddy qlink migrate-store --from /etc/caddy/Caddyfile --to /etc/caddy/Caddyfile.new --give-up":                                        TestAMigrationIsGivenUpAndAStoreTakenBack,
	"caddy qlink migrate-store --from Caddyfile --take-back --force":                                                                       TestAMigrationIsGivenUpAndAStoreTakenBack,
	"caddy qlink migrate-store --from /etc/caddy/Caddyfile --take-back --force":                                                            TestAMigrationIsGivenUpAndAStoreTakenBack,
}

// Commands that no test of this package can run: they run these tests, or are for
// who publishes.
var notPlayed = []string{
	"scripts/keep-store v0.1.0", "git add --all && git commit --message 'Version 0.1.0' && git tag v0.1.0",
	"scripts/test", "scripts/prove", "scripts/bench", "scripts/bench --write",
}

// before some commands something has to have happened, with the bill that they
// name among others.
var before = []struct {
	command string // a part of it
	happens func(d *office, b billJSON)
}{
	{"control/payments/O17/pay", func(d *office, _ billJSON) { d.checkout(order("O17", "15000"), http.StatusAccepted) }},
	{"qlink redeliver " + itsOrder, func(d *office, b billJSON) {
		d.control("POST", "/payments/"+b.ID+"/pay", "{}")
		d.awaitStatus(b.ID, "SUCCESS")
	}},
	{"qlink restore", func(d *office, _ billJSON) {
		for _, folder := range d.restored {
			if err := os.RemoveAll(folder); err != nil {
				d.t.Fatal(err)
			}
		}
	}},
}

var remark = regexp.MustCompile(`\s+# .*$`)

// Every command of the documentation is run beside a shop, as it stands but for
// where folders and sites are. That of pages which show what is printed, and the
// tutorial's, are run by their own tests.
func TestTheCommandsOfTheDocumentation(t *testing.T) {
	d := newOffice(t)
	last, played := "", make(map[string]bool)
	for _, block := range pageBlocks(t) {
		if block.kind != "sh" && (block.kind != "" || !strings.HasPrefix(block.text, "caddy ")) {
			continue
		}
		if block.page != last {
			t.Logf("of %s", block.page)
			last = block.page
		}
		for _, command := range commandsOf(block.text) {
			name, _, _ := strings.Cut(command, "\n")
			played[name] = true
			if playedElsewhere[name] == nil && !slices.Contains(notPlayed, name) {
				d.play(block.page, command)
			}
		}
	}
	for _, listed := range []iter.Seq[string]{maps.Keys(playedElsewhere), slices.Values(notPlayed)} {
		for command := range listed {
			if !played[command] {
				t.Errorf("no page has the command %q", command)
			}
		}
	}
}

// office is where an operator sits who has read the documentation: beside a shop
// that is sold from, with the files and folders that its commands name.
type office struct {
	*operated

	places   *strings.Replacer
	orders   int
	restored []string // folders that a backup was restored into
}

func newOffice(t *testing.T) *office {
	d := &office{operated: operatedShop(t)}
	d.env = append(d.env, "API_SECRET="+apiSecret, "QLINK_API_SECRET="+apiSecret, "APP_SECRET="+appSecret, "SECRET="+notifyKey, "S="+apiSecret)
	in := func(name string) string { return filepath.Join(d.home, name) }
	for _, folder := range []string{"bin", "etc/caddy", "run/caddy", "var/backups"} {
		if err := os.MkdirAll(in(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	config, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"etc/caddy/Caddyfile": string(config),
		".curlrc":             "fail\nsilent\nshow-error\n",
		"order.json":          order("O-1", "15000"), "body.json": order("O-1", "15000"), "webhook.json": "{}", "notification.json": "{}",
		"n.json":     `{"type":"bill.paid"}`,
		"api.secret": apiSecret, "app.secret": appSecret, "notify.secret": notifyKey,
		"bin/age": "#!/bin/sh\nif [ \"$1\" = -d ]; then exec cat \"$2\"; fi\ncat\n", "bin/mail": "#!/bin/sh\ncat\nexit 1\n",
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.relayAdmin(in("run/caddy/admin.sock"))
	d.places = strings.NewReplacer(
		"https://shop.example.com", "http://"+d.public, "http://localhost:3000/notifications", d.bell,
		"http://localhost:8081", "http://"+d.world.gateway, "/etc/caddy", in("etc/caddy"), "/var/", in("var")+"/", "unix//run/", "unix/"+in("run")+"/",
	)
	d.checkout(order(itsOrder, "15000"), http.StatusCreated)
	d.restored = []string{in("restored"), in("var/lib/caddy/.local/share/caddy/qlink")}
	for _, command := range []string{"backup qlink.backup", "restore qlink.backup " + d.restored[0], "restore qlink.backup " + d.restored[1]} {
		if out := d.shell("caddy qlink " + command); strings.Contains(out, "exit code") {
			t.Fatal(out)
		}
	}
	return d
}

// relayAdmin has the admin endpoint answer at a socket, too.
func (d *office) relayAdmin(socket string) {
	d.t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		d.t.Fatal(err)
	}
	relay := &http.Server{
		Handler:           &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: d.admin}) }},
		ReadHeaderTimeout: startWithin,
	}
	go func() { _ = relay.Serve(listener) }() // it ends with the test
	d.t.Cleanup(func() { _ = relay.Close() })
}

// commandsOf are those of a block: a line each, or lines that belong together.
func commandsOf(block string) []string {
	block = regexp.MustCompile(`\s*\\\n\s*`).ReplaceAllString(block, " ")
	if regexp.MustCompile(`^\w+(=|\(\))`).MatchString(block) {
		return []string{block}
	}
	var all []string
	for line := range strings.Lines(block) {
		all = append(all, remark.ReplaceAllString(strings.TrimSpace(line), ""))
	}
	return all
}

const (
	itsOrder = "O20250804001"
	itsBill  = "7b0e1e0c-9d0c-4d65-9c39-5d1e64c6a3f5"
)

// play runs a command. The order and the bill that it names are new.
func (d *office) play(page, command string) {
	d.t.Helper()
	d.orders++
	code := fmt.Sprintf("%s-%d", itsOrder, d.orders)
	b := d.checkout(order(code, "15000"), http.StatusCreated)
	line := d.places.Replace(command)
	if !strings.Contains(line, "--store") { // which is of before
		line = strings.NewReplacer(itsOrder, code, itsBill, b.ID).Replace(line)
	}
	if schedule := regexp.MustCompile(`^[0-9*]+ [0-9*]+ \* \* \* +`); schedule.MatchString(line) { // as cron runs it
		line = strings.ReplaceAll(schedule.ReplaceAllString(line, ""), `\%`, "%")
	}
	if !strings.Contains(line, "--limit") {
		line = strings.Replace(line, "qlink watch", "qlink watch --limit 1", 1) // which ends with what it waits for
	}
	for _, first := range before {
		if strings.Contains(command, first.command) {
			first.happens(d, b)
		}
	}
	said := make(chan string, 1)
	go func() { said <- d.shellOf(line, "bash", "-o", "pipefail", "-c") }()
	if strings.Contains(line, "qlink watch") {
		d.scriptWatched(nil, false, nil)
		d.control("POST", "/payments/"+b.ID+"/pay", "{}")
	}
	out := <-said
	want, ended := 0, 0
	if strings.Contains(command, "qlink verify") {
		want = 3 // v1=… is no signature
	}
	if found := regexp.MustCompile(`\(exit code (-?\d+)\)\n$`).FindStringSubmatch(out); found != nil {
		ended, _ = strconv.Atoi(found[1])
	}
	if ended != want {
		d.t.Errorf("%s: %s\nended with %d:\n%s", page, command, ended, out)
	}
}

var (
	inlineCommand = regexp.MustCompile("`caddy qlink (?:help )?([a-z][^`]*)`")
	anOption      = regexp.MustCompile(`--[a-z-]+`)
)

// A command within a sentence is one that there is, with options that it has.
// docs/commands.md is not looked at: it is made from the commands.
func TestTheCommandsInSentencesOfTheDocumentationExist(t *testing.T) {
	c := newCaddy(t, "", nil)
	help := make(map[string]string)
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(page, "commands.md") {
			continue
		}
		for _, found := range inlineCommand.FindAllStringSubmatch(string(text), -1) {
			name := strings.Fields(found[1])[0]
			if help[name] == "" {
				if help[name], err = c.run("qlink", name, "--help"); err != nil || !strings.Contains(help[name], "caddy qlink "+name) {
					t.Errorf("%s: %s: %v\n%s", page, found[0], err, help[name])
				}
			}
			for _, option := range anOption.FindAllString(found[1], -1) {
				if !strings.Contains(help[name], option) {
					t.Errorf("%s: %s has no %s", page, found[0], option)
				}
			}
		}
	}
	if len(help) == 0 {
		t.Error("no sentence has a command")
	}
}
