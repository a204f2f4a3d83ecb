package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-qlink/caddy-qlink/integration/processtest"
)

// The tutorial, from the clone to the end, with its own files and commands, on
// free ports.
func TestTheTutorial(t *testing.T) {
	page := openTranscript(t, "../docs/tutorial.md")
	c := newCaddy(t, "", nil)
	c.env = append(c.env, toolEnv(t)...)
	public := onLocalhost(t)
	page.places = []string{"localhost:8080", public, "localhost:8081", onLocalhost(t)}
	shop := port(t, processtest.FreeAddress(t))
	page.places = append(page.places, "localhost:3000", "localhost:"+shop, `("127.0.0.1", 3000)`, `("127.0.0.1", `+shop+`)`)
	page.files(c.home)

	buyer := newBuyer(t, habits{device: phone})
	page.play("1. A Caddy that can", c, nil)
	page.play("2. Your shop hands over the order", c, nil)
	page.play("3. Caddy before the shop", c, nil)
	page.play("4. Buy something", c, map[string]func(){
		`the buyer presses "Buy", and sees the code`: func() {
			buyer.open("http://" + public)
			buyer.press(control{"button", "^Buy$"})
			buyer.sees(saysWaiting)
			buyer.finds(theCode)
		},
		"the buyer's page says that it is paid": func() { buyer.sees(saysPaid) },
		"the shop has been told": func() {
			c.await("the shop to be told", func() bool {
				log, err := os.ReadFile(filepath.Join(c.home, "shop.log"))
				return err == nil && strings.Contains(string(log), "KOPI-1")
			})
		},
	})
	page.play("5. Look at it from the office", c, nil)
}

// toolEnv has Go, in another home, keep what it built and loaded where it does
// otherwise, and git clone the sources at hand for the public ones.
func toolEnv(t *testing.T) []string {
	t.Helper()
	env := []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url." + sources(t) + ".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/caddy-qlink/caddy-qlink"}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOENV"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(out)))
	}
	return env
}
