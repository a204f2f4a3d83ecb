package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestThePageOfUpgradesIsDone(t *testing.T) {
	page := openTranscript(t, "../docs/upgrades.md")
	o := operatedShop(t)
	o.sell("O-1001", "pay")
	open := o.sell("O-1002", "")
	page.play("Upgrade one Caddy", o.caddy, map[string]func(){
		"the new release is fetched into this folder: the program for this machine, and SHA256SUMS": func() { o.fetch("caddy-qlink_v0.2.0_linux_amd64") },
		"the program is put in the old one's place, and Caddy started anew": func() {
			o.stop(syscall.SIGTERM)
			o.start()
		},
	})
	o.control("POST", "/payments/"+open.ID+"/pay", "{}") // since the backup
	o.awaitStatus(open.ID, "SUCCESS")
	page.play("Go back", o.caddy, map[string]func(){
		"Caddy is stopped, and the old program put in the new one's place": func() { o.stop(syscall.SIGTERM) },
		"the Caddyfile names the restored store, and Caddy is started": func() {
			o.values["store"] = "old-store"
			o.configure()
			o.start()
			o.wantNoOrders("O-1003")
			o.awaitStatus(open.ID, "SUCCESS") // by asking
		},
	})
	o.sell("O-1003", "pay")
}

// fetch puts a release into the folder.
func (o *operated) fetch(name string) {
	o.t.Helper()
	program, err := os.ReadFile(o.binary)
	if err == nil {
		err = os.WriteFile(filepath.Join(o.home, name), program, 0o600)
	}
	if err == nil {
		sums := fmt.Sprintf("%x  %s\n%064d  caddy-qlink_v0.2.0_linux_arm64\n", sha256.Sum256(program), name, 0)
		err = os.WriteFile(filepath.Join(o.home, "SHA256SUMS"), []byte(sums), 0o600)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}
