package lab

import (
	"os/exec"
	"slices"
	"testing"
)

func TestShellQuoteKeepsAnArgumentOneWord(t *testing.T) {
	args := []string{"", "a b", "it's", `$HOME "x" \n`, "a\nb", "*;&"}
	script := "printf '%s|'"
	want := ""
	for _, arg := range args {
		script += " " + shellQuote(arg)
		want += arg + "|"
	}
	got, err := exec.Command("sh", "-c", script).Output()
	if err != nil || string(got) != want {
		t.Errorf("the shell has %q (%v), want %q", got, err, want)
	}
}

func TestEachHostHasAPortOfItsOwnForSh(t *testing.T) {
	d := qemu{&Lab{Spec: Spec{Hosts: []Host{{Name: "h1"}, {Name: "h2"}}}}}
	ports := []int{d.shPort("h1"), d.shPort("h2")}
	if !slices.Equal(ports, []int{2200, 2201}) {
		t.Errorf("ports %v", ports)
	}
}

func TestDriversOfALabAreThoseOfItsHosts(t *testing.T) {
	s := Spec{Hosts: []Host{{Name: "h1", Driver: QEMU}, {Name: "h2", Driver: Nspawn}, {Name: "h3", Driver: QEMU}}}
	if got := s.drivers(); !slices.Equal(got, []string{Nspawn, QEMU}) {
		t.Errorf("drivers %v", got)
	}
	if err := s.SetDriver(QEMU); err != nil {
		t.Fatal(err)
	}
	if got := s.drivers(); !slices.Equal(got, []string{QEMU}) {
		t.Errorf("drivers %v after all are set to %s", got, QEMU)
	}
}
