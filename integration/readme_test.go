package integration

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every Caddyfile in README.md and docs/ is a whole one, and has to be taken
// as it stands.
func TestTheCaddyfilesOfTheDocumentationAreTaken(t *testing.T) {
	pages := []string{"../README.md"}
	docs, err := os.ReadDir("../docs")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		if strings.HasSuffix(d.Name(), ".md") {
			pages = append(pages, "../docs/"+d.Name())
		}
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range caddyfileBlock.FindAllStringSubmatch(string(text), -1) {
			found++
			c := newCaddy(t, block[1], nil)
			c.env = append(c.env, "QLINK_APP_KEY=k", "QLINK_APP_SECRET=s", "QLINK_PAY_ACCOUNT=a", "QLINK_DSN=host=db user=qlink")
			if out, err := c.run("validate", "--config", c.config, "--adapter", "caddyfile"); err != nil {
				t.Errorf("%s: %v\n%s\n%s", page, err, block[1], out)
			}
			if out, err := c.run("fmt", "--diff", c.config); err != nil || strings.Contains("\n"+out, "\n+") || strings.Contains("\n"+out, "\n-") {
				t.Errorf("%s is not as caddy fmt has it (%v):\n%s", page, err, out)
			}
		}
	}
	if found == 0 {
		t.Error("no page has a Caddyfile")
	}
}

var caddyfileBlock = regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
