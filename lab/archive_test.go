package lab

import (
	"errors"
	"strings"
	"testing"
)

func TestAnImageThatTheArchiveCannotGiveIsAnErrorOfItsOwn(t *testing.T) {
	for name, tc := range map[string]struct{ output, said string }{
		"a package that is gone": {`Reading package lists...
E: Unable to locate package openvswitch-switch
E: setup failed: E: apt-get -o Dir::Bin::dpkg=env --yes install -oAPT::Status-Fd=<$fd> openvswitch-switch failed
I: main() received signal PIPE: waiting for setup...
E: mmdebstrap failed to run
`, "Unable to locate package openvswitch-switch"},
		"a release that is out of date": {`E: Release file for http://192.0.2.1/debian/dists/forky/InRelease is expired (invalid since 22d). Updates for this repository will not be applied.
E: apt-get update --error-on=any -oAPT::Status-Fd=<$fd> -oDpkg::Use-Pty=false failed
E: mmdebstrap failed to run
`, "Release file for http://192.0.2.1/debian/dists/forky/InRelease is expired"},
		"an archive that does not answer": {`Err:1 http://192.0.2.1/debian forky InRelease
E: Failed to fetch http://192.0.2.1/debian/dists/forky/InRelease  Could not connect to 192.0.2.1:80
E: Some index files failed to download. They have been ignored, or old ones used instead.
E: apt-get update --error-on=any -oAPT::Status-Fd=<$fd> -oDpkg::Use-Pty=false failed
`, "Failed to fetch http://192.0.2.1/debian/dists/forky/InRelease"},
	} {
		t.Run(name, func(t *testing.T) {
			err := archiveError("forky", tc.output)
			archive, ok := errors.AsType[*ArchiveError](err)
			if !ok || archive.Release != "forky" || !strings.Contains(err.Error(), tc.said) || strings.Contains(err.Error(), "apt-get") {
				t.Errorf("error %v, want one of the archive's that says %q", err, tc.said)
			}
		})
	}
	if err := archiveError("forky", "E: customize-hook failed: exit status 1\nE: mmdebstrap failed to run\n"); err != nil {
		t.Errorf("a hook that fails is told as the archive's fault: %v", err)
	}
}
