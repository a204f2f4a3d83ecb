package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The store that is damaged: the last bills are younger than what its witness
// had seen when it was copied while open.
var damagedStore = numberedStore{bills: 400, young: 15}

// damagedBase tells a copy of the test binary to damage copies of the store in
// that folder.
const damagedBase = "QLINK_TEST_DAMAGED_BASE"

// What a damage can come to.
const (
	outcomeDetected = "detected" // the store does not open
	outcomeRefused  = "refused"  // reads are, instead of answering wrongly
	outcomeHarmless = "harmless" // everything is there
	outcomeYounger  = "younger"  // what the witness had not seen is missing, nothing else
	outcomeWrong    = "WRONG"
	outcomeDied     = "DIED" // the process
)

// A byte flipped, a file cut, a file deleted, in every file of the store: it
// must never open and say that a paid bill is not, or never was.
func TestProveDamageIsNoticedOrHarmless(t *testing.T) {
	if *proveDamage < 1 {
		t.Fatal("-prove.damage: at least one place in each file")
	}
	total := make(map[string]int)
	cases := 0
	done := make(map[string]bool) // tables, which both copies share
	for _, base := range buildDamageable(t) {
		damages, err := damagesTo(base, *proveDamage)
		if err != nil {
			t.Fatal(err)
		}
		damages = slices.DeleteFunc(damages, func(d damage) bool { return done[d.file] })
		for _, d := range damages {
			done[d.file] = filepath.Ext(d.file) == ".sst"
		}
		cases += len(damages)
		judgeInOtherProcess(t, base, damages, total)
	}
	prove(t, "a byte flipped, a file cut or deleted",
		fmt.Sprintf("%d damages: %d places in each file, store closed and running", cases, *proveDamage),
		fmt.Sprintf("%d detected, %d refused, %d harmless, %d lost what was younger than the witness; %d unnoticed, %d ended the process",
			total[outcomeDetected], total[outcomeRefused], total[outcomeHarmless], total[outcomeYounger], total[outcomeWrong], total[outcomeDied]))
}

// buildDamageable builds a store and returns two copies of it: as it was while
// open, and after it was closed. Some of it is in tables, some in a log alone.
func buildDamageable(t *testing.T) (bases []string) {
	t.Helper()
	dir, running := t.TempDir(), t.TempDir()
	old := damagedStore.old()
	split := len(old) - 60
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := openStore(dir)
	must(err)
	must(errors.Join(commitNumbered(store, old[:split], numberedBill), store.Close()))
	store, err = openStore(dir)
	must(err)
	must(commitNumbered(store, old[split:], numberedBill))
	must(commitNumbered(store, slices.DeleteFunc(old, func(n int) bool { return !damagedStore.paid(n) }), numberedPayment))
	<-time.After(300 * time.Millisecond) // so that the witness has seen it
	must(copyFiles(dir, running, isWitness))
	must(commitNumbered(store, upTo(damagedStore.bills)[damagedStore.bills-damagedStore.young:], numberedBill))
	must(copyFiles(dir, running, func(name string) bool { return !isWitness(name) }))
	must(store.Close())
	return []string{running, dir}
}

func isWitness(name string) bool { return strings.HasPrefix(name, "witness") }

// copyFiles copies the files with the names that are selected. Tables are
// linked: nothing ever writes into one.
func copyFiles(from, to string, selects func(name string) bool) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !selects(entry.Name()) {
			continue
		}
		source, target := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
		if filepath.Ext(source) == ".sst" {
			err = os.Link(source, target)
		} else {
			err = copySparse(source, target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copySparse copies a file and leaves the zeros at its end to the filesystem.
func copySparse(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, content[:used(content)], 0o600); err != nil {
		return err
	}
	return os.Truncate(to, int64(len(content)))
}

// damage is one change of one file.
type damage struct {
	file string
	how  string // "flip", "cut", "delete"
	at   int    // the byte that is flipped, the length that is left
}

func (d damage) String() string { return fmt.Sprintf("%s %s %d", d.how, d.file, d.at) }

// damagesTo returns the damages for every file in dir, at so many places.
// They are spread over what the file holds, and the last is in the zeros
// behind it, if there are any; over all of it, if it holds zeros alone.
func damagesTo(dir string, places int) (damages []damage, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		held := used(content)
		if held == 0 {
			held = len(content)
		}
		for i := range places {
			at := held * (2*i + 1) / (2 * places)
			if i == places-1 && held < len(content) {
				at = (held + len(content)) / 2
			}
			if len(content) > 0 {
				damages = append(damages, damage{entry.Name(), "flip", at})
			}
			damages = append(damages, damage{entry.Name(), "cut", at})
		}
		damages = append(damages, damage{entry.Name(), "delete", 0})
	}
	return damages, nil
}

// inflict damages the copy of the store in dir.
func (d damage) inflict(dir string) error {
	path := filepath.Join(dir, d.file)
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil || d.how == "delete" { // it may be a link
		return err
	}
	if d.how == "cut" {
		content = content[:d.at]
	} else {
		content[d.at] ^= 1 << (d.at % 8)
	}
	return os.WriteFile(path, content, 0o600)
}

// judgeInOtherProcess has a copy of the test binary judge the damages, and
// counts the outcomes. Where one ends that process, another goes on behind it.
func judgeInOtherProcess(t *testing.T, base string, damages []damage, total map[string]int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for len(damages) > 0 {
		var stderr strings.Builder
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), damagedBase+"="+base, "TMPDIR="+t.TempDir())
		cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Trim(fmt.Sprintln(damages), "[]\n")), &stderr
		out, err := cmd.Output()
		for line := range strings.Lines(string(out)) {
			outcome, words, _ := strings.Cut(strings.TrimSpace(line), " ")
			if total[outcome]++; outcome == outcomeWrong {
				t.Errorf("%s: %s", damages[0], words)
			}
			damages = damages[1:]
		}
		if len(damages) > 0 {
			total[outcomeDied]++
			t.Errorf("%s: the process ended: %v\n%.2000s", damages[0], err, stderr.String())
			damages = damages[1:]
		}
	}
}

// judgeDamages is what the copy of the test binary does: a line for each of
// the damages that it reads, to copies of the store in base.
func judgeDamages(base string) int {
	for {
		var d damage
		if _, err := fmt.Scan(&d.how, &d.file, &d.at); err != nil {
			return 0
		}
		outcome, words, err := d.judge(base)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(outcome, strings.ReplaceAll(words, "\n", " "))
	}
}

// judge damages a copy of the store in base, and reads all of it.
func (d damage) judge(base string) (outcome, words string, err error) {
	dir, err := os.MkdirTemp("", "damaged")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(dir)
	err = copyFiles(base, dir, func(string) bool { return true })
	if err = errors.Join(err, d.inflict(dir)); err != nil {
		return "", "", err
	}
	store, err := openStore(dir)
	if err != nil {
		return outcomeDetected, err.Error(), nil
	}
	f := damagedStore.readAll(store)
	closed := store.Close()
	switch {
	case len(f.wrong) > 0:
		return outcomeWrong, fmt.Sprintf("%d wrong, first %s", len(f.wrong), f.wrong[0]), nil
	case closed != nil:
		return outcomeRefused, closed.Error(), nil
	case len(f.refused) > 0:
		return outcomeRefused, f.refused[0], nil
	case len(f.lost) > 0:
		return outcomeYounger, f.lost[0], nil
	}
	return outcomeHarmless, "", nil
}
