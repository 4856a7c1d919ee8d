package remote

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestWhatSSHSaysBecomesOneLineWithACure(t *testing.T) {
	target := Target{Name: "h1", Address: "192.0.2.11", User: "ops"}
	tests := []struct {
		name, said, want string
	}{
		{
			"an unknown host key", "No ED25519 host key is known for 192.0.2.11 and you have requested strict checking.\nHost key verification failed.",
			"h1: its host key is not known: connect once by hand and compare the fingerprint: ssh ops@192.0.2.11",
		},
		{
			"a changed host key", "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nIT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\nHost key verification failed.",
			"h1: its host key has changed: find out why; if that is right, forget the old one with ssh-keygen -R 192.0.2.11 and connect once by hand: ssh ops@192.0.2.11",
		},
		{
			"a refused key", "ops@192.0.2.11: Permission denied (publickey).",
			"h1: it refuses the login: see that this works without a password: ssh ops@192.0.2.11 (user and key are hosts.h1.ssh.user and ssh.identity in the file, or ssh's own)",
		},
		{
			"a user without sudo", "sudo: a password is required",
			"h1: sudo asks for a password there: let ops use it without: a line \"ops ALL=(root) NOPASSWD: ALL\" in /etc/sudoers.d on the host, or log in as root (ssh.user: root)",
		},
		{
			"something never seen before", "first\nkex_exchange_identification: read: Connection reset by peer",
			"h1: ssh failed (kex_exchange_identification: read: Connection reset by peer): try by hand: ssh ops@192.0.2.11",
		},
		{"silence", "", "h1: ssh failed (the connection ended without a word): try by hand: ssh ops@192.0.2.11"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &Session{stderr: &tail{buf: []byte(tt.said)}}
			if got := s.explain(target, io.EOF).Error(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAHostThatRefusesHasAnswered(t *testing.T) {
	for said, unanswered := range map[string]bool{
		"ssh: connect to host h1 port 22: No route to host":             true,
		"ssh: connect to host h1 port 22: Connection refused":           true,
		"Connection timed out during banner exchange":                   true,
		"ops@h1: Permission denied (publickey).":                        false,
		"Host key verification failed.":                                 false,
		"sudo: a password is required":                                  false,
		"ssh: Could not resolve hostname h1: Name or service not known": false,
	} {
		s := &Session{stderr: &tail{buf: []byte(said)}}
		if got := Unanswered(s.explain(Target{Name: "h1"}, io.EOF)); got != unanswered {
			t.Errorf("%s: %t", said, got)
		}
	}
	if !Unanswered(fmt.Errorf("h1: %w", ErrLost)) {
		t.Error("a session that was lost counts as answered")
	}
}

func TestTheCommandToTryIsTheOneThatFabricUses(t *testing.T) {
	target := Target{Address: "h1", User: `CORP\ops`, Port: 2222, Identity: "/keys/id", Config: "/etc/my fabric/it's"}
	if got, want := target.command(), `ssh -F '/etc/my fabric/it'\''s' -i IDENTITY -p 2222 'CORP\ops@h1'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestThePathToAKeyIsNotRepeated(t *testing.T) {
	target := Target{Name: "h1", Address: "192.0.2.11", Identity: "/home/ops/.ssh/rarely_used"}
	for _, said := range []string{
		"Warning: Identity file /home/ops/.ssh/rarely_used not accessible: No such file or directory.",
		`Load key "/home/ops/.ssh/rarely_used": invalid format`,
		"ops@192.0.2.11: Permission denied (publickey).",
		"",
	} {
		stderr := &tail{secret: target.Identity}
		fmt.Fprintln(stderr, said)
		s := &Session{stderr: stderr}
		for err := s.explain(target, io.EOF); err != nil; err = errors.Unwrap(err) {
			if strings.Contains(err.Error(), "rarely_used") {
				t.Errorf("%q becomes %q", said, err)
			}
		}
		if lost := s.lost(t.Context(), io.EOF).Error(); strings.Contains(lost, "rarely_used") {
			t.Errorf("%q becomes %q", said, lost)
		}
	}
}

func TestWhatAHostSaysOnStderrIsHarmless(t *testing.T) {
	s := &Session{stderr: &tail{buf: []byte("sudo: \x1b]0;owned\a\x9b2J")}}
	want := `h1: ssh failed (sudo: \x1b]0;owned\x07` + "\ufffd" + `2J): try by hand: ssh 192.0.2.11`
	if got := s.explain(Target{Name: "h1", Address: "192.0.2.11"}, io.EOF).Error(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
