package host

import (
	"context"
	"errors"
	"time"
)

// How long Watch waits after it could not go back: longer from time to time.
const (
	firstPause = 10 * time.Second
	lastPause  = 10 * time.Minute
)

// Who holds the lock where no operator does.
const (
	watchHolder = "fabric-watch, which takes back an apply that was cut off,"
	bootHolder  = "fabric-recover, which takes back an apply that was cut off,"
)

// Watch waits until nobody holds the host's lock. If there is a journal then,
// whoever wrote it is gone, and Watch goes back, trying again until that has
// succeeded or ctx ends. open returns the host for the name of a fabric.
func Watch(ctx context.Context, open func(fabric string) *Host) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := goBackWhenFree(ctx, open)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		open("").Log.Error("cannot go back", "error", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

func goBackWhenFree(ctx context.Context, open func(fabric string) *Host) error {
	h := open("")
	release, err := await(ctx, h.Lock, watchHolder)
	if err != nil {
		return err
	}
	defer release()
	j, err := h.readJournal()
	if err != nil {
		return err
	}
	if j == nil {
		return h.Guard.Disarm(ctx)
	}
	h = open(j.Query.Fabric)
	h.Log.Warn("an apply was cut off: going back", "fabric", j.Query.Fabric)
	ctx, cancel := j.deadline(ctx)
	defer cancel()
	if err := h.Rollback(ctx, func(text string) { h.Log.Info(text) }); err != nil {
		return err
	}
	h.Log.Info("the host is as it was before the apply")
	return nil
}

// BeforeDocker goes back, at boot, from an apply that the last boot cut off,
// as far as can be before dockerd starts. Watch does the rest.
func BeforeDocker(ctx context.Context, open func(fabric string) *Host) error {
	h := open("")
	release, err := lock(h.Lock, bootHolder)
	if _, locked := errors.AsType[*LockedError](err); locked {
		return nil // somebody is at work already
	}
	if err != nil {
		return err
	}
	defer release()
	j, err := h.readJournal()
	if err != nil || j == nil {
		return err
	}
	h = open(j.Query.Fabric)
	ctx, cancel := j.deadline(ctx)
	defer cancel()
	return h.RollbackAtBoot(ctx, func(text string) { h.Log.Warn(text, "fabric", j.Query.Fabric) })
}
