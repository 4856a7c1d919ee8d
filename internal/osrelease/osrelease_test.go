package osrelease_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/internal/osrelease"
)

func TestFieldsMayBeQuoted(t *testing.T) {
	got := osrelease.Parse("PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_CODENAME=trixie\nID='debian'\n")
	want := map[string]string{"PRETTY_NAME": "Debian GNU/Linux 13 (trixie)", "VERSION_CODENAME": "trixie", "ID": "debian"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
