package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// colored says whether w is a terminal that wants colours
// (https://no-color.org).
func colored(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// paint colours a line of a plan by the mark that it begins with, by the
// SGR sequences of ECMA-48 (8.3.117).
func paint(on bool, line string) string {
	const green, yellow, red, plain = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
	if !on || line == "" {
		return line
	}
	switch line[0] {
	case '+':
		return green + line + plain
	case '~', '!':
		return yellow + line + plain
	case '-', 'x':
		return red + line + plain
	}
	return line
}
