package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sources is a copy of the sources that are at hand, in a repository of its own.
// Where they are no work tree of Git's, all is copied that is not made from them.
func sources(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "here")
	must(t, "..", "bash", "-ec", `
		files() {
			if [[ $(git rev-parse --show-toplevel 2>/dev/null) == "$(pwd -P)" ]]; then
				git ls-files -z --cached --others --exclude-standard
			else
				find . \( -name node_modules -o -name .git -o -name .cache -o -path ./dist -o -path ./examples/shops/vendure/dist \) -prune -o -type f -print0
			fi
		}
		mkdir "$1"
		files | while IFS= read -r -d '' name; do [[ ! -e $name ]] || printf '%s\0' "$name"; done | xargs -0 cp --parents -t "$1"`, "bash", dir)
	must(t, dir, "git", "init", "--quiet")
	must(t, dir, "git", "add", "--all")
	must(t, dir, "git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message", "All")
	return dir
}

// must returns what a command prints that has to succeed.
func must(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out, complaints.Bytes())
	}
	return string(out)
}

func TestAReleaseIsTheSameWhereverItIsBuiltAndSaysWhatItIs(t *testing.T) {
	const version, name = "v0.1.0", "caddy-qlink_v0.1.0_linux_amd64"
	here := sources(t)
	elsewhere := filepath.Join(t.TempDir(), "quite", "another", "folder")
	must(t, here, "git", "clone", "--quiet", here, elsewhere)
	made := filepath.Join(t.TempDir(), "dist")
	must(t, here, "scripts/release", version, made, "linux/amd64")
	again := filepath.Join(t.TempDir(), name)
	must(t, elsewhere, "env", "GOOS=linux", "GOARCH=amd64", "scripts/build", version, again)
	must(t, made, "cmp", name, again)
	must(t, made, "sha256sum", "--check", "--strict", "SHA256SUMS")

	program := filepath.Join(made, name)
	if got := must(t, made, program, "version"); !strings.HasPrefix(got, "caddy-qlink v0.1.0, Caddy v2.") {
		t.Errorf("it calls itself %s", got)
	}
	commit := strings.TrimSpace(must(t, here, "git", "rev-parse", "HEAD"))
	if info := must(t, made, program, "build-info"); !strings.Contains(info, "vcs.revision="+commit) || !strings.Contains(info, "vcs.modified=false") ||
		!strings.Contains(info, "CGO_ENABLED=0") {
		t.Errorf("it was built\n%s", info)
	}
	if modules := must(t, made, program, "list-modules"); strings.Contains(modules, "sandbox") || !strings.Contains(modules, "qlink.stores.postgres") {
		t.Errorf("it has the modules\n%s", modules)
	}
	wantDescribed(t, program, version)
}

// wantDescribed compares what is said of a program with what is in it.
func wantDescribed(t *testing.T, program, version string) {
	t.Helper()
	text, err := os.ReadFile(program + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		BOMFormat    string
		SerialNumber string
		Metadata     struct {
			Timestamp string
			Component struct{ Name, Version string }
		}
		Components []struct {
			Name, Version string
			Evidence      struct{ Licenses []any }
		}
	}
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatal(err)
	}
	if said.BOMFormat != "CycloneDX" || said.SerialNumber != "" || said.Metadata.Timestamp != "" ||
		said.Metadata.Component.Name != module || said.Metadata.Component.Version != version {
		t.Errorf("said of it: %s, %+v", said.BOMFormat, said.Metadata)
	}
	licensed, named := 0, make(map[string]bool)
	for _, c := range said.Components {
		named[c.Name+"@"+c.Version] = true
		if len(c.Evidence.Licenses) > 0 {
			licensed++
		}
	}
	modules := 0
	for line := range strings.Lines(must(t, ".", "go", "version", "-m", program)) {
		if fields := strings.Fields(line); len(fields) >= 3 && fields[0] == "dep" {
			modules++
			if !named[fields[1]+"@"+fields[2]] {
				t.Errorf("%s %s is in it, and nobody says so", fields[1], fields[2])
			}
		}
	}
	for _, kind := range []string{"GPL", "AGPL", "LGPL", "SSPL", "BUSL"} { // which would bind whoever passes the program on
		if strings.Contains(string(text), `"id": "`+kind+`-`) {
			t.Errorf("something in it is under the %s", kind)
		}
	}
	if modules < 100 || licensed < modules*9/10 {
		t.Errorf("%d modules, licences of %d", modules, licensed)
	}
}

func TestWhatIsNotCommittedIsNotReleased(t *testing.T) {
	here := sources(t)
	if err := os.WriteFile(filepath.Join(here, "more.go"), []byte("package caddyqlink\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "scripts/release", "v0.1.0", filepath.Join(t.TempDir(), "dist"))
	cmd.Dir = here
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not committed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// No image is built here, but what its first stage runs is: in the folder that
// it copies, without Git's, as a shell runs it.
func TestTheImageIsBuiltByTheSameScript(t *testing.T) {
	text, err := os.ReadFile("../packaging/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	const build = "RUN scripts/build "
	_, rest, found := strings.Cut(string(text), "\n"+build)
	line, _, _ := strings.Cut(rest, "\n")
	if !found {
		t.Fatalf("packaging/Dockerfile has no %q", build)
	}
	here, root := sources(t), t.TempDir()
	if err := os.RemoveAll(filepath.Join(here, ".git")); err != nil {
		t.Fatal(err)
	}
	run := strings.NewReplacer("/caddy", root+"/caddy", "/data", root+"/data").Replace(line)
	must(t, here, "env", "VERSION=v0.1.0", "sh", "-ec", "scripts/build "+run)
	if got := must(t, root, "./caddy", "version"); !strings.HasPrefix(got, "caddy-qlink v0.1.0, Caddy v2.") {
		t.Errorf("it calls itself %s", got)
	}
	if info, err := os.Stat(root + "/data"); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
}

const xcaddy = "github.com/caddyserver/xcaddy/cmd/xcaddy@v0.4.5"

// The documentation's lines of xcaddy build what they promise; with the sources
// at hand in the place of a release, on the Caddy that go.mod names, and with all
// else as it was loaded before.
func TestXcaddyBuildsTheModule(t *testing.T) {
	bin := t.TempDir()
	must(t, ".", "env", "GOBIN="+bin, "go", "install", xcaddy)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	version := strings.TrimSpace(must(t, ".", "go", "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2"))
	must(t, t.TempDir(), "sh", "-ec", `go mod init plain; go get "github.com/caddyserver/caddy/v2@$1"
		go list -mod=mod -deps github.com/caddyserver/caddy/v2/modules/standard`, "sh", version) // xcaddy begins with a Caddy without the module
	loaded := strings.TrimSpace(must(t, ".", "go", "env", "GOMODCACHE")) + "/cache/download"
	lines := make(map[string]bool)
	for _, block := range pageBlocks(t) {
		for _, line := range commandsOf(block.text) {
			if block.kind == "sh" && strings.HasPrefix(line, "xcaddy ") {
				lines[line] = true
			}
		}
	}
	if len(lines) == 0 {
		t.Fatal("no page has a line of xcaddy")
	}
	for line := range lines {
		dir := t.TempDir()
		here := strings.Replace(line, "--with "+module, version+" --with "+module+"="+root, 1)
		must(t, dir, "env", "PATH="+bin+":"+os.Getenv("PATH"), "GOPROXY=file://"+loaded, "GOSUMDB=off", "GOFLAGS=-mod=mod", "sh", "-c", here)
		modules := must(t, dir, "./caddy", "list-modules")
		for _, wanted := range []string{"http.handlers.qlink", "http.handlers.qlink_console", "http.matchers.qlink_bill", "qlink.stores.badger"} {
			if !strings.Contains(modules, wanted+"\n") {
				t.Errorf("%s: no module %s", line, wanted)
			}
		}
		if has, promised := strings.Contains(modules, "qlink.stores.postgres\n"), strings.Contains(line, "store/postgres"); has != promised {
			t.Errorf("%s: the PostgreSQL store is in it: %t", line, has)
		}
		if strings.Contains(modules, "sandbox") {
			t.Errorf("%s: the simulated gateway is in it", line)
		}
	}
}
