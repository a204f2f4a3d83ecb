//go:build linux

package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// patience bounds each wait: generous, since a loaded machine is slow, and
	// a test that waits so long has failed anyway.
	patience = time.Minute
	// glance is how long a wait lasts before it looks again.
	glance = 5 * time.Millisecond
)

// await returns when it is so; what ends first, patience or the process, is an
// error. A nil channel never ends.
func await(what string, ended <-chan struct{}, so func() (bool, error)) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(glance)
	defer again.Stop()
	for {
		is, err := so()
		if is {
			return nil
		}
		select {
		case <-again.C:
		case <-ended:
			return fmt.Errorf("%s: the process has ended", what)
		case <-late.C:
			return errors.Join(fmt.Errorf("%s: not within %v", what, patience), err)
		}
	}
}

// process is a program of PostgreSQL that was started.
type process struct {
	*os.Process
	ended chan struct{}
	err   error // how it ended
}

// launch starts the program as the given user. Where this process ends before
// it does, even by SIGKILL, the kernel sends it the signal. Its process group is
// its own: a stopped one that is orphaned is continued, and so hears the signal.
func launch(cmd *exec.Cmd, as *syscall.Credential, orphaned syscall.Signal) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: orphaned, Setpgid: true}
	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the thread that started it for this
		// process's, so the thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		p.Process = cmd.Process
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	return p, <-started
}

// running tells whether it has not ended yet.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// endsAfter sends the signal and waits for the end.
func (p *process) endsAfter(s syscall.Signal) error {
	if err := p.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end PostgreSQL: %w", err)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.ended:
		return nil
	case <-late.C:
		return fmt.Errorf("PostgreSQL goes on %v after %v", patience, s)
	}
}

// status is what /proc tells of a process.
type status struct {
	pid, parent int
	state       string
	began       string // with pid: who it is, for pids are used again
}

func statusOf(pid int) (status, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return status{}, err
	}
	// pid (name) state parent …, and began as the 22nd; a name may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return status{}, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	parent, err := strconv.Atoi(fields[1])
	return status{pid: pid, parent: parent, state: fields[0], began: fields[19]}, err
}

// gone tells whether the process has ended: a zombie that nobody has waited for
// holds nothing any more.
func (s status) gone() bool {
	now, err := statusOf(s.pid)
	return err != nil || now.began != s.began || now.state == "Z" || now.state == "X"
}

func (s status) stopped() bool {
	now, err := statusOf(s.pid)
	return err == nil && now.began == s.began && now.state == "T"
}

// descendants returns the children of a process, theirs, and so on.
func descendants(pid int) ([]status, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	children := make(map[int][]status)
	for _, entry := range entries {
		n, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s, err := statusOf(n); err == nil { // else it has just ended
			children[s.parent] = append(children[s.parent], s)
		}
	}
	found := children[pid]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found, nil
}

// hold stops the process and returns its descendants, which from here on
// neither become more nor are waited for: their pids stay theirs.
func (p *process) hold() ([]status, error) {
	self, err := statusOf(p.Pid)
	if err == nil {
		err = p.Signal(syscall.SIGSTOP)
	}
	if err == nil {
		err = await("stop PostgreSQL's first process", p.ended, func() (bool, error) { return self.stopped(), nil })
	}
	if err != nil {
		return nil, fmt.Errorf("hold PostgreSQL: %w", err)
	}
	return descendants(p.Pid)
}

// signal sends the signal to each that has not ended.
func signal(to []status, s syscall.Signal) error {
	for _, one := range to {
		if err := syscall.Kill(one.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("send %v: %w", s, err)
		}
	}
	return nil
}
