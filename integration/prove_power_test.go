package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-qlink/caddy-qlink/store/badger"
)

// A power cut: a process writes bills into a store on a filesystem of its own.
// It is stopped, and what the disk beneath has at that moment is copied; what
// was in memory alone, the page cache included, is not in the copy. That one is
// repaired and mounted as after a power cut, and the store in it opens, is not
// refused by its witness, and has every bill that was acknowledged.
//
// The control is the same program without the sync. It has to lose bills, or
// the cut is none, and the trial void.
func TestProvePowerCutsLoseNothing(t *testing.T) {
	disks := newDisks(t)
	if err := disks.try(); err != nil {
		if *proveCuts > 1 {
			t.Fatalf("this system lets nobody cut the power: %v", err)
		}
		prove(t, "power cut", "not run: it takes the right to mount a loop device", err.Error())
		return
	}
	synced, unsynced := buildWriter(t), buildWriter(t, "-overlay", overlayWithoutSync(t))
	chance := rand.New(rand.NewPCG(*proveSeed, 1))
	acks, lost, controls, controlLost := 0, 0, 0, 0
	for round := range *proveCuts {
		wanted := 200 + chance.IntN(600)
		if round%10 == 9 {
			wanted *= 10 // enough to fill a table
		}
		acknowledged, missing := disks.cut(synced, wanted, false)
		acks += acknowledged
		lost += missing
		if round%10 == 0 {
			_, missing := disks.cut(unsynced, wanted, true)
			controls++
			controlLost += missing
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	prove(t, "power cut",
		fmt.Sprintf("%d cuts, %d acknowledged; %d cuts of the control without sync", *proveCuts, acks, controls),
		fmt.Sprintf("%d lost; the control lost %d", lost, controlLost))
	if lost > 0 {
		t.Errorf("%d of %d acknowledged bills are lost", lost, acks)
	}
	if controlLost == 0 {
		t.Error("the trial is void: the control without sync has lost nothing")
	}
}

// buildWriter builds the process that is cut off.
func buildWriter(t *testing.T, flags ...string) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "writer")
	args := append(append([]string{"build"}, flags...), "-o", binary, "./writer")
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build the writer: %v\n%s", err, out)
	}
	return binary
}

// overlayWithoutSync returns a file that has the compiler read the store's
// options with the sync switched off.
func overlayWithoutSync(t *testing.T) string {
	t.Helper()
	source, err := filepath.Abs("../store/badger/options.go")
	if err != nil {
		t.Fatal(err)
	}
	options, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(string(options), "WithSyncWrites(true)", "WithSyncWrites(false)", 1)
	if without == string(options) {
		t.Fatal("the options do not switch the sync on")
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "options.go"), filepath.Join(dir, "overlay.json")
	err = errors.Join(os.WriteFile(changed, []byte(without), 0o600),
		os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace":{%q:%q}}`, source, changed), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return overlay
}

// disks makes filesystems in files.
type disks struct {
	t     *testing.T
	dir   string
	blank string // a formatted image
}

func newDisks(t *testing.T) *disks {
	t.Helper()
	dir := t.TempDir()
	return &disks{t: t, dir: dir, blank: filepath.Join(dir, "blank")}
}

// run runs a system's tool.
func run(name string, args ...string) error {
	out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// try makes the blank image, and reports why it cannot be mounted.
func (d *disks) try() error {
	file, err := os.Create(d.blank)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Truncate(512*mib), file.Close(), run("mkfs.ext4", "-q", "-F", d.blank)); err != nil {
		return err
	}
	unmount, err := d.mount(d.blank)
	if err != nil {
		return err
	}
	return unmount()
}

// mount mounts an image beside it. The journal is committed when somebody
// syncs, and not by itself meanwhile: the image is to stand still while it is
// copied.
func (d *disks) mount(image string) (unmount func() error, err error) {
	if err := os.MkdirAll(image+".d", 0o700); err != nil {
		return nil, err
	}
	if err := run("mount", "-t", "ext4", "-o", "loop,commit=300,nosuid,nodev", image, image+".d"); err != nil {
		return nil, err
	}
	mounted := true
	unmount = func() error {
		if !mounted {
			return nil
		}
		mounted = false
		return run("umount", image+".d")
	}
	d.t.Cleanup(func() { _ = unmount() }) // a round that got so far has looked at the error
	return unmount, nil
}

// cut has the writer write until so many bills are acknowledged, cuts it off,
// and returns how many were by then, and how many of them are lost. Without
// its witness a store opens that has lost something.
func (d *disks) cut(writer string, wanted int, withoutWitness bool) (acknowledged, lost int) {
	d.t.Helper()
	image, left := filepath.Join(d.dir, "disk"), filepath.Join(d.dir, "left")
	must := func(err error) {
		d.t.Helper()
		if err != nil {
			d.t.Fatal(err)
		}
	}
	must(run("cp", "--sparse=always", d.blank, image))
	unmount, err := d.mount(image)
	must(err)
	cmd := exec.CommandContext(d.t.Context(), writer, filepath.Join(image+".d", "store"))
	stdout, err := cmd.StdoutPipe()
	must(err)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(cmd.Start())
	acks := bufio.NewScanner(stdout)
	numbers := readAcks(acks, wanted)
	must(cmd.Process.Signal(syscall.SIGSTOP))
	d.awaitStop(cmd.Process.Pid)
	must(run("cp", "--sparse=always", image, left))
	must(cmd.Process.Kill())
	numbers = append(numbers, readAcks(acks, -1)...) // written before the stop
	_, _ = io.Copy(io.Discard, stdout)
	_ = cmd.Wait() // killed
	must(unmount())
	if len(numbers) < wanted {
		d.t.Fatalf("the writer ended after %d bills", len(numbers))
	}
	return len(numbers), d.missing(left, numbers, withoutWitness)
}

// awaitStop returns when every thread has stopped: one that was in a sync ends
// it first, and the disk must stand still while it is copied.
func (d *disks) awaitStop(pid int) {
	d.t.Helper()
	deadline := time.After(startWithin)
	for !stopped(pid) {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			d.t.Fatal("the writer does not stop")
		}
	}
}

// stopped reports whether every thread of the process has stopped.
func stopped(pid int) bool {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(stat, []byte(") T ")) {
			return false
		}
	}
	return err == nil && len(paths) > 0
}

// readAcks reads so many acknowledgements, or all there are.
func readAcks(acks *bufio.Scanner, wanted int) (numbers []string) {
	for len(numbers) != wanted && acks.Scan() {
		numbers = append(numbers, acks.Text())
	}
	return numbers
}

// missing repairs and mounts what a cut has left, and counts the acknowledged
// bills that are not in the store.
func (d *disks) missing(left string, acknowledged []string, withoutWitness bool) (missing int) {
	d.t.Helper()
	if err := run("e2fsck", "-p", left); err != nil && !repaired(err) {
		d.t.Fatal(err)
	}
	unmount, err := d.mount(left)
	if err != nil {
		d.t.Fatal(err)
	}
	dir := filepath.Join(left+".d", "store")
	if withoutWitness {
		_ = os.Remove(filepath.Join(dir, "witness")) // it may not have come so far
	}
	store, err := openStore(dir)
	switch {
	case err == nil:
	case withoutWitness && errors.Is(err, badger.ErrDamaged):
		missing = len(acknowledged)
	default:
		d.t.Errorf("after %d acknowledged bills: %v", len(acknowledged), err)
	}
	if err == nil {
		for _, n := range acknowledged {
			if events, err := store.History(d.t.Context(), n); err != nil || len(events) != 1 {
				missing++
			} else if _, err := store.Bill(d.t.Context(), n); err != nil {
				missing++
			}
		}
		if err := store.Close(); err != nil {
			d.t.Error(err)
		}
	}
	if err := unmount(); err != nil {
		d.t.Fatal(err)
	}
	return missing
}

// repaired reports whether e2fsck says that it has mended what it found.
func repaired(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 1
}
