package integration

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var proveMutations = flag.Int("prove.mutations", 3, "guards broken on purpose, the first of the list; 0: all")

// mutation breaks one guard. The text of each edit has to stand in the file
// exactly once, so that no mutation outlives the code that it breaks.
type mutation struct {
	guard string // what protects
	how   string // what is done to it
	file  string // from the root of the repository
	test  string // the package whose tests must notice, and which of them: "./bill TestA|TestB", "./bill TestA/Part"
	edits []edit
}

type edit struct{ old, new string }

// Guards that money depends on are broken on purpose, one at a time, and the
// named tests of one package have to fail: a guard that no test misses would
// be gone one day without a word. The source is left alone: the compiler is
// shown another file in its place. What does not compile proves nothing, and
// neither does a test that fails without the mutation.
func TestProveTheSuiteMissesEveryGuardThatIsBroken(t *testing.T) {
	chosen := mutations
	if *proveMutations > 0 {
		chosen = mutations[:min(*proveMutations, len(mutations))]
	}
	sound := make(baseline)
	noticed, survived := 0, 0
	guards := make(map[string]bool)
	for _, m := range chosen {
		guards[m.guard] = true
		t.Run(m.guard+"/"+m.how, func(t *testing.T) {
			sound.mustPass(t, m)
			out, err := m.run(t)
			if err == nil || !regexp.MustCompile(`(?m)^--- FAIL: Test`).MatchString(out) {
				survived++
				t.Fatalf("nobody noticed: %s passes (%v)\n%s", m.test, err, out)
			}
			noticed++
		})
	}
	prove(t, "guards broken on purpose",
		fmt.Sprintf("%d mutations of %d guards", len(chosen), len(guards)),
		fmt.Sprintf("%d noticed by the suite, %d survived", noticed, survived))
}

// Every mutation is applied, though not all of them are tried in short.
func TestEveryMutationFindsItsGuard(t *testing.T) {
	var seen []string
	for _, m := range mutations {
		name := m.guard + "/" + m.how
		if slices.Contains(seen, name) {
			t.Errorf("%s is on the list twice", name)
		}
		seen = append(seen, name)
		m.source(t)
	}
}

// source returns the file with its guard broken.
func (m mutation) source(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	for _, e := range m.edits {
		if n := strings.Count(text, e.old); n != 1 {
			t.Errorf("%s (%s): %d places in %s instead of one:\n%s", m.guard, m.how, n, m.file, e.old)
		}
		text = strings.Replace(text, e.old, e.new, 1)
	}
	return text
}

// run builds the tests with the guard broken and returns what they print.
func (m mutation) run(t *testing.T) (output string, err error) {
	t.Helper()
	original, err := filepath.Abs(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json")
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{mutated: m.source(t), overlay: string(replaced)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Not only this build: tests over real processes build Caddy themselves.
	return runTests(t, m.test, "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)
}

// baseline remembers which tests have passed with every guard in its place, by
// mutation.test.
type baseline map[string]bool

func (b baseline) mustPass(t *testing.T, m mutation) {
	t.Helper()
	if b[m.test] {
		return
	}
	if out, err := runTests(t, m.test); err != nil || strings.Contains(out, "no tests to run") {
		t.Fatalf("%s without any mutation: %v\n%s", m.test, err, out)
	}
	b[m.test] = true
}

// runTests compiles a package's tests, which has to succeed, and runs some of
// them in the package's folder, as go test does, under a further environment.
func runTests(t *testing.T, test string, environment ...string) (output string, err error) {
	t.Helper()
	pkg, pattern, _ := strings.Cut(test, " ")
	tests := filepath.Join(t.TempDir(), "tests")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-ldflags=-s -w", "-o", tests, pkg)
	build.Dir, build.Env = "..", append(os.Environ(), environment...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s does not compile: %v\n%s", pkg, err, out)
	}
	args := []string{"-test.run", "^(" + strings.ReplaceAll(pattern, "/", ")$/^(") + ")$", "-test.timeout", "5m", "-test.failfast"}
	if testsProperties(t, tests) {
		args = append(args, "-rapid.nofailfile") // they would leave files in the source
	}
	run := exec.CommandContext(t.Context(), tests, args...)
	run.Dir, run.Env = filepath.Join("..", pkg), build.Env
	out, err := run.CombinedOutput()
	return string(out), err
}

// testsProperties reports whether a test binary has properties drawn by rapid.
func testsProperties(t *testing.T, tests string) bool {
	t.Helper()
	content, err := os.ReadFile(tests)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(content, []byte("rapid.nofailfile"))
}
