package cli_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caddy-qlink/caddy-qlink/integration/pagetest"
)

const (
	page   = "../docs/commands.md"
	marker = "<!-- From here on it is what the commands say of themselves; a test keeps it so. -->\n"
)

// commands are all of ours, each before its own.
func commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		all = append(all, commands(child)...)
	}
	return all
}

func qlinkCommand(t *testing.T) *cobra.Command {
	t.Helper()
	cmd, _, err := tree(hostAt("http://127.0.0.1:1")).Find([]string{"qlink"})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestThePageOfCommandsIsWhatTheySayOfThemselves(t *testing.T) {
	pagetest.Keep(t, page, marker, manual(qlinkCommand(t)))
}

// manual is the part of the page that the commands write.
func manual(parent *cobra.Command) string {
	var b strings.Builder
	for _, group := range parent.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.TrimSuffix(group.Title, ":"))
		for _, cmd := range commands(parent)[1:] {
			if top := topOf(cmd, parent); top.GroupID == group.ID {
				section(&b, cmd)
			}
		}
	}
	return b.String()
}

func topOf(cmd, parent *cobra.Command) *cobra.Command {
	for cmd.Parent() != parent {
		cmd = cmd.Parent()
	}
	return cmd
}

func section(b *strings.Builder, cmd *cobra.Command) {
	usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
	fmt.Fprintf(b, "\n### `%s`\n\n%s\n\n```\n%s\n```\n", usage, strings.NewReplacer("<", `\<`, "*", `\*`).Replace(cmd.Long), unindented(cmd.Example))
	var flags []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch f.Name {
		case "help", "address", "config", "adapter", "json":
			return // the page says once what they are
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		flags = append(flags, "| "+name+" | "+strings.ReplaceAll(f.Usage, "|", `\|`)+" |\n")
	})
	if len(flags) > 0 {
		fmt.Fprintf(b, "\n| flag | |\n| --- | --- |\n%s", strings.Join(flags, ""))
	}
}

func unindented(example string) string {
	lines := strings.Split(example, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

func TestEveryCommandHasHelpAndAnExampleThatIsRightUsage(t *testing.T) {
	seen := 0
	for _, cmd := range commands(qlinkCommand(t)) {
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s lacks help or an example", cmd.CommandPath())
		}
		own := false
		for line := range strings.Lines(cmd.Example) {
			for _, words := range calls(line) {
				named := understood(t, words)
				own = own || named == cmd.CommandPath() || strings.HasPrefix(named, cmd.CommandPath()+" ")
				seen++
			}
		}
		if !own {
			t.Errorf("no example of %s is one of it", cmd.CommandPath())
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "caddy ") {
			for _, words := range calls(line) {
				understood(t, words)
				seen++
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d examples", seen)
	}
}

// understood fails unless a command line names a command of ours, with flags
// and a number of arguments that it has; it returns the command's path.
func understood(t *testing.T, words []string) string {
	t.Helper()
	root := tree(hostAt("http://127.0.0.1:1"))
	root.SetErr(new(strings.Builder))
	cmd, rest, err := root.Find(words[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil || cmd.HasSubCommands() && len(cmd.Flags().Args()) > 0 {
		t.Errorf("%q: %v", strings.Join(words, " "), err)
	}
	return cmd.CommandPath()
}

func TestAnExampleThatIsNotUnderstoodWouldBeFound(t *testing.T) {
	for _, line := range []string{"caddy qlink nonsense", "caddy qlink bills --nonsense", "caddy qlink show", "true | caddy qlink check 'a b' c"} {
		probe := new(testing.T)
		for _, words := range calls(line) {
			understood(probe, words)
		}
		if !probe.Failed() {
			t.Errorf("%s passed", line)
		}
	}
}

// calls splits a line of shell into its commands' words, and returns those of
// caddy.
func calls(line string) (all [][]string) {
	var words []string
	var word strings.Builder
	quote, depth, inWord := rune(0), 0, false
	endWord := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	endCall := func() {
		endWord()
		if len(words) > 0 && words[0] == "caddy" {
			all = append(all, words)
		}
		words = nil
	}
	for _, r := range strings.TrimSpace(line) {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == '(' || r == ')': // $(…) is one word
			depth += map[rune]int{'(': 1, ')': -1}[r]
			word.WriteRune(r)
		case depth == 0 && r == '|':
			endCall()
		case depth == 0 && (r == '<' || r == '>'):
			endCall()
			return all
		case depth == 0 && unicode.IsSpace(r):
			endWord()
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	endCall()
	return all
}
