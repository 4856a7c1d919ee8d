package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/ovsfabric/fabric/internal/printable"
)

// A LockedError means that another fabric process is changing this host.
type LockedError struct {
	Holder string    // what it is, for people; "" where it did not say
	Since  time.Time // when it began
}

const lockedCure = "try again when it has ended"

func (e *LockedError) Error() string { return e.what() + ": " + lockedCure }

func (e *LockedError) what() string {
	if e.Holder == "" {
		return "another fabric apply is at work on this host"
	}
	return fmt.Sprintf("%s has been at work on this host since %s", e.Holder, e.Since.UTC().Format("15:04:05 UTC"))
}

// applyBy is the holder of a lock that an operator has.
func applyBy(operator string) string {
	if operator == "" {
		return "another fabric apply"
	}
	return "another fabric apply by " + operator
}

// maxOperator bounds what is taken of an operator's name, in bytes.
const maxOperator = 64

// operatorName keeps what an operator says of itself on one line of a file, a
// log or a terminal.
func operatorName(said string) string {
	return printable.Line(said[:min(len(said), maxOperator)])
}

// note is the content of the lock file, for those who find it locked.
type note struct {
	Holder string    `json:"holder"`
	Since  time.Time `json:"since"`
	PID    int       `json:"pid"`
}

// maxNote bounds what is read of the lock file, in bytes.
const maxNote = 1 << 10

// lock keeps other applies away until release is called or the process
// ends: the kernel drops the lock of a dead holder. Where another one has it,
// the error is a *LockedError.
func lock(path, holder string) (release func(), err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		locked := lockedBy(f)
		f.Close()
		return nil, locked
	}
	return held(f, holder, err)
}

// await is lock that waits until nobody else has the lock, or ctx ends.
func await(ctx context.Context, path, holder string) (release func(), err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() { // ends with the process where ctx ends first
		locked <- syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}()
	select {
	case err := <-locked:
		return held(f, holder, err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}

// held notes who holds the lock. A disk that is full keeps nobody from it.
func held(f *os.File, holder string, err error) (release func(), _ error) {
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if data, err := json.Marshal(note{Holder: holder, Since: time.Now(), PID: os.Getpid()}); err == nil {
		_ = f.Truncate(0)
		_, _ = f.WriteAt(data, 0)
	}
	return func() {
		_ = f.Truncate(0) // whoever holds it next may say nothing of itself
		f.Close()
	}, nil
}

// lockedBy reads who holds the lock.
func lockedBy(f *os.File) *LockedError {
	var n note
	data, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil || json.Unmarshal(data, &n) != nil {
		return &LockedError{}
	}
	return &LockedError{Holder: n.Holder, Since: n.Since}
}
