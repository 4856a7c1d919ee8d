package remote

import (
	"cmp"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// causes maps what ssh, sudo and shells print to what it means. The first
// that fits is taken. In a cure {ssh} is the command that a user would type,
// {host} the host's name in the file, {address} where ssh connects to, and
// {user} who logs in.
var causes = []struct{ said, reason, cure string }{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key has changed", "find out why; if that is right, forget the old one with ssh-keygen -R {known} and connect once by hand: {ssh}"},
	{"Host key verification failed", "its host key is not known", "connect once by hand and compare the fingerprint: {ssh}"},
	{"not accessible: No such file", "the key to log in with is not there", "correct hosts.{host}.ssh.identity in the file"},
	{"Too many authentication failures", "it refuses the login", "name the key: hosts.{host}.ssh.identity in the file, and IdentitiesOnly in ssh's configuration"},
	{"Permission denied (", "it refuses the login", "see that this works without a password: {ssh} (user and key are hosts.{host}.ssh.user and ssh.identity in the file, or ssh's own)"},
	{"Could not resolve hostname", "the name {address} cannot be resolved", "correct it, or write an IP address: hosts.{host}.ssh.address in the file"},
	{"a password is required", sudoAsks, sudoCure},
	{"a terminal is required", sudoAsks, sudoCure},
	{"may not run sudo", sudoRefuses, sudoCure},
	{"is not in the sudoers file", sudoRefuses, sudoCure},
	{"is not allowed to execute", sudoRefuses, sudoCure},
	{"sudo: not found", "it has no sudo", "install sudo there, or log in as root (ssh.user: root)"},
	{"Connection refused", closed, "start sshd there, or say which port: hosts.{host}.ssh.port in the file"},
	{"Connection timed out", silent, silentCure},
	{"Operation timed out", silent, silentCure},
	{"No route to host", silent, silentCure},
	{"Network is unreachable", unreachable, "see that this machine can reach it: {ssh}"},
	{"no folder on this host", "no folder on it can hold a program", "make room in /var/tmp, or mount one of /var/tmp, /tmp, /usr/local/lib without noexec"},
}

const (
	silent      = "it does not answer"
	closed      = "nothing listens on its ssh port"
	unreachable = "no route leads to it"
	silentCure  = "see that it runs and can be reached: {ssh}"
	sudoAsks    = "sudo asks for a password there"
	sudoRefuses = "the user may not use sudo there"
	sudoCure    = `let {user} use it without: a line "{user} ALL=(root) NOPASSWD: ALL" in /etc/sudoers.d on the host, or log in as root (ssh.user: root)`
)

// explain turns what went wrong while connecting into one clear line.
func (s *Session) explain(t Target, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	said := s.stderr.String()
	fill := strings.NewReplacer("{ssh}", t.command(), "{host}", t.Name, "{address}", t.Address, "{user}", cmp.Or(t.User, "USER"), "{known}", t.known())
	for _, c := range causes {
		if strings.Contains(said, c.said) {
			return &Error{
				Host: t.Name, Reason: fill.Replace(c.reason), Cure: fill.Replace(c.cure), Err: errors.New(said),
				Silent: c.reason == silent || c.reason == closed || c.reason == unreachable,
			}
		}
	}
	if said == "" {
		said = err.Error()
		if errors.Is(err, io.EOF) {
			said = "the connection ended without a word"
		}
	}
	return &Error{Host: t.Name, Reason: "ssh failed (" + lastLine(said) + ")", Cure: "try by hand: " + t.command(), Err: err}
}

// command is what a user would type to log in where fabric does, but for the
// path to the key, which is nobody else's business.
func (t Target) command() string {
	words := []string{"ssh"}
	if t.Config != "" {
		words = append(words, "-F", quote(t.Config))
	}
	if t.Identity != "" {
		words = append(words, "-i", "IDENTITY")
	}
	if t.Port != 0 {
		words = append(words, "-p", strconv.Itoa(t.Port))
	}
	login := t.Address
	if t.User != "" {
		login = t.User + "@" + t.Address
	}
	return strings.Join(append(words, quote(login)), " ")
}

// quote has a shell take a word as it is.
func quote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("@%_+=:,./-", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// known is the host's name in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE
// FORMAT).
func (t Target) known() string {
	if t.Port == 0 || t.Port == 22 {
		return t.Address
	}
	return "'[" + t.Address + "]:" + strconv.Itoa(t.Port) + "'"
}

func lastLine(s string) string {
	return s[strings.LastIndexByte(s, '\n')+1:]
}
