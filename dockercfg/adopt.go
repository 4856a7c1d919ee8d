package dockercfg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/ovsfabric/fabric/plan"
)

// adoptFlag adds a flag of dockerd's to what the observation says that
// somebody has set by hand.
func adoptFlag(o *plan.Observation, key, value string) bool {
	if o.State.Docker == nil {
		o.State.Docker = &plan.Docker{Foreign: true}
	}
	config := &o.State.Docker.Config
	switch key {
	case "bip":
		config.BIP = value
	case "bridge":
		config.Bridge = value
	case "fixed-cidr":
		config.FixedCIDR = value
	case "mtu":
		var err error
		config.MTU, err = strconv.Atoi(value)
		return err == nil
	}
	return true
}

// comesAgain says where dockerd will have a flag from when it is started
// next, "" for nowhere: from docker.service with its drop-ins as systemd has
// loaded them, or from a file of variables that they name.
func (r *Resource) comesAgain(ctx context.Context, flag string) (string, error) {
	out, err := r.run(ctx, "systemctl", "show", "--property=ExecStart,Environment,EnvironmentFiles", serviceUnit)
	if err != nil {
		return "", fmt.Errorf("ask systemd how %s starts: %w", serviceUnit, err)
	}
	has := regexp.MustCompile(`(^|[\s"'=])` + regexp.QuoteMeta(flag) + `($|[\s"'=])`)
	for line := range strings.Lines(string(out)) {
		property, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if property != "EnvironmentFiles" {
			if has.MatchString(value) {
				return serviceUnit + " or a drop-in of it", nil
			}
			continue
		}
		path, _, _ := strings.Cut(value, " (") // (ignore_errors=yes)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		number := 0
		for line := range strings.Lines(string(data)) {
			number++
			if trimmed := strings.TrimSpace(line); !strings.HasPrefix(trimmed, "#") && has.MatchString(trimmed) {
				return fmt.Sprintf("%s:%d", path, number), nil
			}
		}
	}
	return "", nil
}
