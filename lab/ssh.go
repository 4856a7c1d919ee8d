package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sshConfig keeps the client from everything but the lab's one key: an agent's
// keys would use up the attempts that sshd grants. Nobody listens on the lab's
// underlay, so a key exchange that withstands quantum computers would only cost
// 50 ms of CPU in every login.
const sshConfig = `Host *
    IdentitiesOnly yes
    StrictHostKeyChecking yes
    GSSAPIAuthentication no
    KexAlgorithms curve25519-sha256
`

// newKey generates a key pair without a passphrase, and returns the public key.
func newKey(ctx context.Context, path, comment string) (string, error) {
	if _, err := run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path); err != nil {
		return "", err
	}
	public, err := os.ReadFile(path + ".pub")
	return string(public), err
}

// writeSSH fills the folder that stands in for ~/.ssh in the controller.
// hostKeys holds the public key of each host, in the order of the spec.
func (l *Lab) writeSSH(hostKeys []string) error {
	var known strings.Builder
	for i, h := range l.Spec.Hosts {
		fmt.Fprintf(&known, "%s,%s %s", h.Name, h.Address, hostKeys[i])
	}
	if err := writeFile(filepath.Join(l.names.ssh(), "known_hosts"), known.String(), 0o600); err != nil {
		return err
	}
	return writeFile(filepath.Join(l.names.ssh(), "config"), sshConfig, 0o600)
}

// hostsFile is the part of hosts(5) that names the lab's machines.
func (s Spec) hostsFile() string {
	var b strings.Builder
	for _, h := range s.Hosts {
		fmt.Fprintf(&b, "%s %s\n", h.Address, h.Name)
	}
	return b.String()
}

// writeHosts makes the controller's /etc/hosts: the machine's, with the lab's
// names before all others.
func (l *Lab) writeHosts() error {
	machine, err := os.ReadFile("/etc/hosts")
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return writeFile(l.names.hostsFile(), l.Spec.hostsFile()+string(machine), 0o644)
}
