// Package command runs other programs and keeps what they said when they
// fail.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Error is a program that ran and did not succeed.
type Error struct {
	Argv   []string
	Exit   int // exit status; -1 if a signal ended it
	Stderr string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: exit status %d: %s", strings.Join(e.Argv, " "), e.Exit, strings.TrimSpace(e.Stderr))
}

// Run runs a program to its end and returns its standard output. If it exits
// with another status than 0 the error is an *Error.
func Run(ctx context.Context, name string, args ...string) (stdout []byte, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = &Error{Argv: cmd.Args, Exit: cmd.ProcessState.ExitCode(), Stderr: errOut.String()}
		if ctx.Err() != nil {
			err = errors.Join(err, ctx.Err())
		}
	}
	return out.Bytes(), err
}
