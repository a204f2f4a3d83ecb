package integration

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A page of docs/ that shows commands with what they print is run: in its
// blocks of the kind console, a line `$ …` is a command for the shell, a line
// `# …` something that happens in between, which the test makes happen, and
// the rest is what was printed.
var writeTranscripts = flag.Bool("docs.write", false, "write what commands print into the pages of docs/ that show it")

// transcript is a page that is run, section after section.
type transcript struct {
	t      *testing.T
	path   string
	text   string
	places []string // addresses of the page, each followed by the one that stands for it in a run
}

func openTranscript(t *testing.T, path string) *transcript {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := &transcript{t: t, path: path, text: string(text)}
	t.Cleanup(func() {
		if *writeTranscripts {
			if err := os.WriteFile(path, []byte(page.text), 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	return page
}

var consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")

var fileBlock = regexp.MustCompile("(?s)`([\\w.]+)`:\n\n```[a-z]+\n(.*?)```")

// files writes what the page has as the content of files: each block behind a
// name and a colon.
func (p *transcript) files(dir string) {
	p.t.Helper()
	blocks := fileBlock.FindAllStringSubmatch(p.text, -1)
	if len(blocks) == 0 {
		p.t.Fatalf("%s has no file", p.path)
	}
	for _, block := range blocks {
		text := strings.NewReplacer(p.places...).Replace(block[2])
		if err := os.WriteFile(filepath.Join(dir, block[1]), []byte(text), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
}

// play runs the blocks of the section under a heading. What happens in between
// is told by name.
func (p *transcript) play(heading string, c *caddy, happens map[string]func()) {
	p.t.Helper()
	start := strings.Index(p.text, "\n## "+heading+"\n")
	if start < 0 {
		p.t.Fatalf("%s has no section %q", p.path, heading)
	}
	end := len(p.text)
	if next := strings.Index(p.text[start+4:], "\n## "); next >= 0 {
		end = start + 4 + next
	}
	section := p.text[start:end]
	blocks := consoleBlock.FindAllStringSubmatch(section, -1)
	if len(blocks) == 0 {
		p.t.Fatalf("%q shows no command", heading)
	}
	samples := newSamples(c, p.places)
	for _, block := range blocks {
		got := p.playBlock(block[1], c, happens, samples)
		if *writeTranscripts {
			section = strings.Replace(section, block[0], "```console\n"+got+"```", 1)
		} else if alike(got) != alike(block[1]) {
			p.t.Errorf("%s, %q: printed was\n%s\nwhere the page has\n%s", p.path, heading, got, block[1])
		}
	}
	p.text = p.text[:start] + section + p.text[end:]
}

// playBlock returns the block with what is printed now.
func (p *transcript) playBlock(block string, c *caddy, happens map[string]func(), samples *samples) string {
	p.t.Helper()
	var out strings.Builder
	for line := range strings.Lines(block) {
		switch {
		case strings.HasPrefix(line, "# "):
			what := strings.TrimSpace(line[2:])
			deed := happens[what]
			if deed == nil {
				p.t.Fatalf("nobody makes it happen that %q", what)
			}
			deed()
			out.WriteString(line)
		case strings.HasPrefix(line, "$ "):
			out.WriteString(line)
			out.WriteString(samples.shown(c.shell(samples.meant(strings.TrimSpace(line[2:])))))
		}
	}
	return out.String()
}

// shell runs a line in a shell that finds the Caddy under test as caddy, and
// its admin endpoint by the environment. What it exits with is printed, unless
// that is 0.
func (c *caddy) shell(line string) string {
	c.t.Helper()
	return c.shellOf(line, "sh", "-c")
}

// shellOf is shell for another one, with its arguments before the line.
func (c *caddy) shellOf(line, program string, args ...string) string {
	c.t.Helper()
	bin := filepath.Join(c.home, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Symlink(c.binary, filepath.Join(bin, "caddy")); err != nil && !os.IsExist(err) {
		c.t.Fatal(err)
	}
	cmd := exec.CommandContext(c.t.Context(), program, append(args, line)...)
	cmd.Dir = c.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }) // what it left in the background
	cmd.Env = append(c.env, "PATH="+bin+":"+os.Getenv("PATH"), "CADDY_ADMIN="+c.admin, "USER=siti", "LOGNAME=siti", "COLUMNS=160")
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		text += fmt.Sprintf("(exit code %d)\n", cmd.ProcessState.ExitCode())
	}
	return text
}

// What differs from run to run.
var (
	anyID      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyTime    = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?Z?`)
	anyClock   = regexp.MustCompile(`\d\d:\d\d now`)
	anyPort    = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	anyHash    = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	anyBill    = regexp.MustCompile(`\bSB[A-Z2-7]{18}\b`) // the gateway's names
	anyRequest = regexp.MustCompile(`\bpr-[A-Z2-7]{26}\b`)
	anySpan    = regexp.MustCompile(`\b\d+(\.\d+)? ?(ms|µs|s|m|h)\b`)
	anySize    = regexp.MustCompile(`\b\d+(\.\d+)? ?([KMGT]i?)?B\b`)
	aligned    = regexp.MustCompile(`[ \t]{2,}|[-─━=]{2,}`)
)

// samples stand on a page for what differs from run to run: the first bill of a
// section has the same id at each run, and so on.
type samples struct {
	ids  map[string]string // real by sample
	by   map[string]string // sample by real
	real *strings.Replacer // of what has one sample on every page
	ours *strings.Replacer // back
}

func newSamples(c *caddy, places []string) *samples {
	places = append(slices.Clone(places), "/srv/shop", c.home)
	back := slices.Clone(places)
	slices.Reverse(back)
	return &samples{
		ids: make(map[string]string), by: make(map[string]string),
		real: strings.NewReplacer(places...), ours: strings.NewReplacer(back...),
	}
}

// shown puts samples into what was printed.
func (s *samples) shown(text string) string {
	text = s.ours.Replace(text)
	text = anyID.ReplaceAllStringFunc(text, func(id string) string {
		if s.by[id] == "" {
			n := len(s.by) + 1
			sample := fmt.Sprintf("%d%d%d%d0000-0000-4000-8000-%012d", n/1000%10, n/100%10, n/10%10, n%10, n)
			s.by[id], s.ids[sample] = sample, id
		}
		return s.by[id]
	})
	text = anyBill.ReplaceAllString(text, "SBK7M2Q4ZWX3N5R6TLA2")
	text = anyRequest.ReplaceAllString(text, "pr-V2YBD7FGHK7M2Q4ZWX3N5R6TLA")
	text = anyClock.ReplaceAllString(text, "12:00 now")
	text = anyPort.ReplaceAllString(text, "127.0.0.1:2019")
	return anyTime.ReplaceAllStringFunc(text, func(at string) string {
		const noon = "2026-11-26T12:00:00.000000000Z"
		sample := noon[:min(len(at), len(noon))]
		if strings.HasSuffix(at, "Z") {
			sample = sample[:len(sample)-1] + "Z"
		}
		return sample[:10] + at[10:11] + sample[11:]
	})
}

// meant takes the samples out of a command.
func (s *samples) meant(line string) string {
	return anyID.ReplaceAllStringFunc(s.real.Replace(line), func(id string) string {
		if meant := s.ids[id]; meant != "" {
			return meant
		}
		return id
	})
}

// alike is a text without what differs from run to run.
func alike(text string) string {
	for _, with := range []struct {
		any    *regexp.Regexp
		sample string
	}{{anyHash, "<hash>"}, {anyTime, "<time>"}, {anySize, "<size>"}, {anySpan, ""}, {aligned, "  "}} {
		text = with.any.ReplaceAllString(text, with.sample)
	}
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}
