// Package sshword says what ssh may be given of a fabric's file and lock.
//
// ssh takes a word that begins with a dash for an option, and puts the host
// and the user into shell commands where the user's configuration has a
// ProxyCommand or a Match exec (CVE-2023-51385).
package sshword

import (
	"strings"
	"unicode"
)

// Host says whether s is an IP address or a name that cannot be anything
// else. A user before it, a port after it and an ssh:// are not part of it.
func Host(s string) bool { return consists(s, "._-:%+") }

// User says whether s is the name of a user, also of one in a domain
// (DOMAIN\user, user@domain).
func User(s string) bool { return consists(s, `._-+@\`) && !strings.HasSuffix(s, `\`) }

// Path says whether s is a path that ssh takes as it is. It would replace
// what follows a % or a ${ (ssh_config(5), TOKENS).
func Path(s string) bool {
	return s != "" && s[0] != '-' && !strings.ContainsAny(s, "%$") && !strings.ContainsFunc(s, unicode.IsControl)
}

func consists(s, marks string) bool {
	return s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(marks, r)
	})
}
