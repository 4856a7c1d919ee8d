package build

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
)

// Portable returns an error that says how to build the program at path if it is
// linked dynamically, as go build does where it finds a C compiler. Such a program
// needs a loader and a C library at least as new as here. A container that holds
// nothing but the program has neither, and a host may lack them. What is no ELF
// program is left to whoever runs it.
func Portable(path string) error {
	program, err := elf.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = program.Close() }() // it was only read
	for _, segment := range program.Progs {
		if segment.Type != elf.PT_INTERP { // elf(5): the interpreter that a dynamic program asks for
			continue
		}
		loader, err := io.ReadAll(io.LimitReader(segment.Open(), 256))
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		return fmt.Errorf("%s is linked dynamically (its loader is %s), so it may not run on the hosts, nor in the empty container of fabric verify: "+
			"build it with make, or with CGO_ENABLED=0 go build ./cmd/fabric", path, bytes.TrimRight(loader, "\x00"))
	}
	return nil
}
