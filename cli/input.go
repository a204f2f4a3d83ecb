package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxInput bounds what is read of a file or of standard input, in bytes.
const maxInput = 4 << 20

// given is what a command signs, verifies or checks, and the secrets it does so
// with: a file and standard input, never arguments, which every user of the
// machine can see.
type given struct {
	secretFile string
	secretEnv  string
	stdin      string // what has read standard input
}

func (g *given) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&g.secretFile, "secret-file", "", "File with the secret, or several, one a line (-: standard input)")
	cmd.Flags().StringVar(&g.secretEnv, "secret-env", "", "Name of the environment variable that holds the secret")
}

// read returns the secrets and the body. Whichever of them has no file of its
// own comes from standard input, but not both.
func (g *given) read(s *session, args []string) (secrets []string, body []byte, err error) {
	if secrets, err = g.secrets(s); err != nil {
		return nil, nil, err
	}
	body, err = g.body(s, args)
	return secrets, body, err
}

// body reads the file that is named, or standard input, byte by byte as it is.
func (g *given) body(s *session, args []string) ([]byte, error) {
	name := "-"
	if len(args) > 0 {
		name = args[0]
	}
	return g.file(s, name, "the body")
}

func (g *given) file(s *session, name, what string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return bounded(f, name)
	}
	if g.stdin != "" {
		return nil, misuse("%s and %s cannot both come from standard input: name a file", g.stdin, what)
	}
	g.stdin = what
	if isTerminal(s.cmd.InOrStdin()) {
		s.out.note("Reading %s from the terminal until Ctrl-D.", what)
	}
	return bounded(s.cmd.InOrStdin(), "standard input")
}

func bounded(r io.Reader, name string) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxInput:
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxInput)
	}
	return body, nil
}

// secrets returns what is there, at least one: lines of a file, so that a
// rotated secret stands beside the current one.
func (g *given) secrets(s *session) ([]string, error) {
	switch {
	case g.secretFile != "" && g.secretEnv != "":
		return nil, misuse("--secret-file or --secret-env, not both")
	case g.secretEnv != "":
		value, ok := os.LookupEnv(g.secretEnv)
		if !ok {
			return nil, misuse("the environment has no variable %s", g.secretEnv)
		}
		return lines([]byte(value))
	case g.secretFile == "" && isTerminal(s.cmd.InOrStdin()):
		return g.askSecret(s)
	}
	name := g.secretFile
	if name == "" {
		name = "-"
	}
	text, err := g.file(s, name, "the secret")
	if err != nil {
		return nil, err
	}
	return lines(text)
}

// askSecret takes a secret from who sits there, without showing it.
func (g *given) askSecret(s *session) ([]string, error) {
	f, ok := s.cmd.InOrStdin().(*os.File)
	if !ok {
		return nil, errors.New("standard input is no terminal")
	}
	g.stdin = "the secret"
	fmt.Fprint(s.out.err, "Secret: ")
	secret, err := term.ReadPassword(int(f.Fd()))
	s.out.note("")
	if err != nil {
		return nil, err
	}
	return lines(secret)
}

func lines(text []byte) (secrets []string, err error) {
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			secrets = append(secrets, line)
		}
	}
	if len(secrets) == 0 {
		return nil, misuse("the secret is empty")
	}
	return secrets, nil
}
