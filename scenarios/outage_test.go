//go:build privileged

package scenarios_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pinging is a ping that goes on until it is ended.
type pinging struct {
	*background
	host, command string
	every         time.Duration
}

// ping has a host ping an address, and returns once there are answers. enter,
// where given, is a command that leads to another network of the host's first.
func (w *world) ping(host, address string, every time.Duration, enter ...string) *pinging {
	w.t.Helper()
	argv := []string{"ping", "-D", "-n", "-i", strconv.FormatFloat(every.Seconds(), 'f', -1, 64), address}
	p := &pinging{w.background(w.lab.Sh(w.t.Context(), host, append(enter, argv...)...)), host, strings.Join(argv, " "), every}
	p.answersAgain(time.Minute)
	return p
}

// pingFrom has a container on a host ping an address.
func (w *world) pingFrom(host, container, address string, every time.Duration) *pinging {
	w.t.Helper()
	pid := w.on(host, "docker inspect -f '{{.State.Pid}}' "+container)
	return w.ping(host, address, every, "nsenter", "--net", "--target", pid)
}

// answersAgain waits for an answer that has not come yet.
func (p *pinging) answersAgain(within time.Duration) {
	p.w.t.Helper()
	before := len(answers(p.said(p.stdout)))
	p.w.eventually("an answer on "+p.host+" to "+p.command, within, func() bool { return len(answers(p.said(p.stdout))) > before })
}

// end ends it, and returns the longest outage.
func (p *pinging) end() time.Duration {
	p.w.t.Helper()
	p.w.try(p.host, "pkill -INT -x -f '"+p.command+"'")
	return longestOutage(answers(p.wait().stdout), p.every)
}

// answer is an answer to the ping with this number, and when it came.
type answer struct {
	seq int
	at  float64 // Unix time, seconds
}

// answers are those that ping -D tells of, line by line. Its other lines are
// of errors: that a host cannot be reached comes with a number too.
func answers(said string) []answer {
	var all []answer
	for line := range strings.Lines(said) {
		at, rest, _ := strings.Cut(line, " ")
		_, seq, found := strings.Cut(rest, ": icmp_seq=")
		var a answer
		if !found || !strings.HasSuffix(line, "\n") {
			continue
		}
		if _, err := fmt.Sscanf(at+" "+seq, "[%f] %d", &a.at, &a.seq); err == nil {
			all = append(all, a)
		}
	}
	return all
}

// longestOutage is the longest time between two answers, beyond the one
// interval, where pings between them have none: a ping that is sent late is
// no outage. What follows the last answer may be under way.
func longestOutage(all []answer, every time.Duration) time.Duration {
	var longest time.Duration
	for i, a := range all[:max(0, len(all)-1)] {
		if next := all[i+1]; next.seq > a.seq+1 {
			longest = max(longest, time.Duration((next.at-a.at)*float64(time.Second))-every)
		}
	}
	return longest.Round(time.Millisecond)
}

func TestAnOutageIsFromTheLastAnswerToTheNext(t *testing.T) {
	const said = `PING 172.17.128.0 (172.17.128.0) 56(84) bytes of data.
[1700000000.000000] 64 bytes from 172.17.128.0: icmp_seq=1 ttl=64 time=0.5 ms
[1700000000.700000] 64 bytes from 172.17.128.0: icmp_seq=2 ttl=64 time=0.5 ms
[1700000000.800000] From 172.17.64.0 icmp_seq=3 Destination Host Unreachable
[1700000001.200000] 64 bytes from 172.17.128.0: icmp_seq=7 ttl=64 time=0.5 ms
`
	if got, want := longestOutage(answers(said), 100*time.Millisecond), 400*time.Millisecond; got != want {
		t.Errorf("%s, want %s: a ping sent late is none, and news that a host is unreachable no answer", got, want)
	}
}
