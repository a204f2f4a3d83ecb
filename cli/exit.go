package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes, which scripts rely upon.
const (
	exitFailed = 1 // the command could not be done
	exitUsage  = 2
	exitNo     = 3 // not found, or an answer of "no"
	exitFault  = 4 // the books do not agree, a fault or damage was found
)

// failure is an error that has an exit code of its own. Its text is "" where
// all has been said on standard output.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func misuse(format string, args ...any) error {
	return &failure{exitUsage, fmt.Errorf(format, args...)}
}

func no(format string, args ...any) error {
	return &failure{exitNo, fmt.Errorf(format, args...)}
}

// errSaid is the text of what standard output has told already.
var errSaid = errors.New("")

func said(code int) error { return &failure{code, errSaid} }

// codeOf returns the exit code of an error. Of several the gravest counts:
// what could not be done, before an answer of "no".
func codeOf(err error) int {
	var f *failure
	if !errors.As(err, &f) {
		return exitFailed
	}
	return f.code
}

// session is one run of a command.
type session struct {
	context.Context

	cmd  *cobra.Command
	host Host
	out  *printer
}

// run makes an action the work of a command. An interrupt ends its context, so
// that what is half done is cleared away.
func (h Host) run(action func(s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		s := &session{Context: ctx, cmd: cmd, host: h, out: newPrinter(cmd)}
		return h.end(cmd, action(s, args))
	}
}

// end says what went wrong on standard error and turns it into what makes the
// process exit with the code.
func (h Host) end(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	code := codeOf(err)
	text := strings.TrimSpace(err.Error())
	if errors.Is(err, context.Canceled) {
		text = "interrupted"
	}
	if text != "" {
		cmd.PrintErrln("Error: " + harmlessLines(text))
	}
	if code == exitUsage {
		cmd.PrintErrf("See '%s --help'.\n", cmd.CommandPath())
	}
	if code == exitFailed {
		return err
	}
	return h.Exit(cmd, code)
}
