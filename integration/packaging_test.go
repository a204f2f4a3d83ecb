package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// installed is packaging/caddy.service with the Caddy under test for its program,
// in a folder of its own.
func installed(t *testing.T) string {
	t.Helper()
	unit, err := os.ReadFile("../packaging/caddy.service")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "caddy.service")
	text := strings.ReplaceAll(string(unit), "/usr/bin/caddy ", binary+" ")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheSystemdUnitIsRightAndHardened(t *testing.T) {
	unit := installed(t)
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("verify: %v\n%s", err, out)
	}
	const most = "16" // tenths of what systemd calls exposure, from 0 to 10: what is left wants the network
	if out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold="+most, unit).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

// What the packages configure is taken by the Caddy that they run, once secrets
// are where they say.
func TestTheConfigurationsOfThePackagesAreValid(t *testing.T) {
	site, err := os.ReadFile("../packaging/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.Open("../packaging/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer manifest.Close()
	var first struct {
		Kind string
		Data struct {
			Caddyfile string `yaml:"Caddyfile"`
		}
	}
	documents := yaml.NewDecoder(manifest)
	if err := documents.Decode(&first); err != nil || first.Kind != "ConfigMap" {
		t.Fatalf("%+v, %v", first, err)
	}
	for kind := range map[string]bool{"Deployment": true, "PodDisruptionBudget": true, "Service": true} {
		var next struct{ Kind string }
		if err := documents.Decode(&next); err != nil || next.Kind == "" {
			t.Errorf("%s: %+v, %v", kind, next, err)
		}
	}
	secrets := t.TempDir()
	for name, secret := range map[string]string{
		"app-key": "key", "app-secret": "s3cr3t", "pay-account": "account",
		"notify-secret": "whsec_c2hvcC1ub3RpZmljYXRpb25zLW9mLXRoZS1leGFtcGxlIQ==", "dsn": "postgres://qlink@127.0.0.1/qlink",
	} {
		for _, name := range []string{name, "qlink-" + name} {
			if err := os.WriteFile(filepath.Join(secrets, name), []byte(secret), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	moved := strings.NewReplacer("/run/credentials/caddy.service", secrets, "/run/secrets/qlink", secrets)
	for name, text := range map[string]string{"systemd": string(site), "kubernetes": first.Data.Caddyfile} {
		c := newCaddy(t, moved.Replace(text), nil)
		if out, err := c.run("validate", "--config", c.config, "--adapter", "caddyfile"); err != nil || !strings.Contains(out, "Valid configuration") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		c.wantFormatted(name, c.config)
	}
}
