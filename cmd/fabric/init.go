package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

//go:embed starter.yaml
var starter []byte

func newInitCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a commented starter file",
		Long:  "Writes a starter file with a comment on every setting. A file that exists is left alone.",
		Example: `  fabric init
  fabric init -f paris.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := os.OpenFile(o.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s exists already and was left alone: name another with -f FILE", o.file)
			}
			if err != nil {
				return err
			}
			_, err = f.Write(starter)
			if err := errors.Join(err, f.Close()); err != nil {
				return errors.Join(err, os.Remove(o.file))
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s: put your hosts in it, then run fabric plan\n", o.file)
			return nil
		},
	}
}
