//go:build privileged && (faults || soak)

package scenarios_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A fault strikes at a moment, and may last.
type fault struct {
	strike func(l *lane, s *strike)
	lasts  time.Duration // at most; it ends before with the command
	args   []string      // for the command
}

// The faults.
const (
	killNode               = "kill -9 of the host's side"
	killNodeAndReboot      = "kill -9 of the host's side and a reboot"
	killController         = "kill -9 of the operator's side"
	powerCut               = "power cut"
	powerCutWhileGoingBack = "kill -9, and a power cut while it goes back"
	powerCutAtBoot         = "power cut, and again in the boot after it"
	reboot                 = "reboot"
	killWatch              = "kill -9, and again of what goes back"
	cut                    = "cut session"
	shortCut               = "session cut for a moment"
	stopSwitch             = "stopped ovs-vswitchd"
	killSwitch             = "kill -9 of ovs-vswitchd"
	hangDatabase           = "hanging ovsdb-server"
	hangDocker             = "hanging dockerd"
	dockerRefuses          = "dockerd that refuses its configuration"
	diskFull               = "full disk"
	noRoomForGuard         = "no room for the guard"
	readOnlyEtc            = "read-only /etc"
	readOnlyEtcGoingBack   = "kill -9, and a read-only /etc while it goes back"
	foreignBridge          = "somebody else's br0"
	foreignPort            = "somebody else's port on br0"
	foreignPortAndKill     = "somebody else's port on br0, and kill -9"
	secondApply            = "second apply"
	lostWatch              = "watch that runs without its file"
)

// long is a fault that lasts until the command has ended.
const long = 90 * time.Second

var faults = map[string]fault{
	killNode:               {strike: func(_ *lane, s *strike) { s.kill() }},
	killNodeAndReboot:      {strike: func(l *lane, s *strike) { s.kill(); l.reboot() }},
	killController:         {strike: func(l *lane, s *strike) { l.check(s.cmd.Process.Kill()) }},
	powerCut:               {strike: func(l *lane, _ *strike) { l.powerCut(); l.powerOn() }},
	powerCutWhileGoingBack: {strike: func(l *lane, s *strike) { s.goBack(); l.powerCut(); l.powerOn() }},
	powerCutAtBoot:         {strike: func(l *lane, _ *strike) { l.powerCut(); l.powerCutAtBoot(); l.powerOn() }},
	reboot: {strike: func(l *lane, s *strike) {
		if !s.operator { // systemd would wait for what does not end
			s.goOn()
		}
		l.reboot()
	}},
	killWatch:    {strike: func(_ *lane, s *strike) { s.end(s.goBack(), "fabric-watch") }},
	cut:          {lasts: long, args: []string{"--confirm-within", "20s"}, strike: func(l *lane, _ *strike) { l.cut() }},
	shortCut:     {lasts: 3 * time.Second, strike: func(l *lane, _ *strike) { l.cut() }},
	stopSwitch:   {lasts: 6 * time.Second, strike: func(l *lane, _ *strike) { l.script("systemctl stop ovs-vswitchd", "systemctl start ovs-vswitchd") }},
	killSwitch:   {strike: func(l *lane, _ *strike) { l.on(l.hosts[0], "kill -KILL $(pidof ovs-vswitchd)") }},
	hangDatabase: {lasts: 8 * time.Second, strike: func(l *lane, _ *strike) { l.hang("ovsdb-server") }},
	hangDocker:   {lasts: 15 * time.Second, strike: func(l *lane, _ *strike) { l.hang("dockerd") }},
	dockerRefuses: {lasts: long, strike: func(l *lane, _ *strike) {
		// dockerd does not take a key beside a flag of the same meaning.
		l.script(`cp -p /etc/default/docker /run/docker.default && echo 'DOCKER_OPTS="--mtu=1500"' >> /etc/default/docker`,
			`cat /run/docker.default > /etc/default/docker && rm /run/docker.default
			if grep -q mtu=1500 /proc/$(systemctl show -p MainPID --value docker)/cmdline; then `+restartDocker+`; fi`)
	}},
	diskFull: {lasts: long, strike: func(l *lane, _ *strike) {
		l.script(`mkdir -p /etc/docker && cp -a /etc/docker /run/docker.keep && mount -t tmpfs -o size=16k,mode=0755 full /etc/docker &&
			cp -a /run/docker.keep/. /etc/docker && rm -r /run/docker.keep && ! dd if=/dev/zero of=/etc/docker/fill 2>/dev/null`,
			`rm /etc/docker/fill`)
		// What is beneath it is as it was before, and becomes what it is now.
		l.remains.afters = append(l.remains.afters, func() {
			l.on(l.hosts[0], "cp -a /etc/docker /run/docker.now")
			l.unmount("/etc/docker")
			l.on(l.hosts[0], "find /etc/docker -mindepth 1 -delete && cp -a /run/docker.now/. /etc/docker && rm -r /run/docker.now")
		})
	}},
	noRoomForGuard: {lasts: long, strike: func(l *lane, _ *strike) {
		l.mount("-t tmpfs -o size=16k,mode=0755 full /usr/local/lib", "/usr/local/lib")
	}},
	readOnlyEtc: {lasts: long, strike: func(l *lane, _ *strike) {
		l.mount("--bind /etc /etc && mount -o remount,bind,ro /etc", "/etc")
	}},
	readOnlyEtcGoingBack: {strike: func(l *lane, s *strike) {
		l.mount("--bind /etc /etc && mount -o remount,bind,ro /etc", "/etc")
		before := l.inVain()
		s.kill()
		l.eventually("fabric-watch has tried in vain", time.Minute, func() bool { return l.inVain() > before })
	}},
	foreignBridge: {lasts: long, strike: func(l *lane, _ *strike) {
		l.script(`ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev`, `ovs-vsctl del-br br0`)
	}},
	foreignPort: {lasts: long, strike: func(l *lane, _ *strike) { l.addPort() }},
	foreignPortAndKill: {lasts: 8 * time.Second, strike: func(l *lane, s *strike) {
		l.addPort()
		s.kill()
		s.goOn()
		s.wait(long) // without it the fault would end with the command
	}},
	secondApply: {strike: func(l *lane, _ *strike) { l.second() }},
	lostWatch:   {strike: func(l *lane, _ *strike) { l.loseWatch() }},
}

func (l *lane) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lane) powerCut() {
	l.t.Helper()
	l.check(l.lab.PowerCut(l.t.Context(), l.hosts[0]))
}

func (l *lane) powerOn() {
	l.t.Helper()
	l.check(l.lab.Start(l.t.Context(), l.hosts[0]))
}

func (l *lane) reboot() {
	l.t.Helper()
	l.check(l.lab.Reboot(l.t.Context(), l.hosts[0]))
}

// powerCutAtBoot boots the host and cuts its power while it goes back before
// dockerd starts, or after it where that was over before anybody saw it.
func (l *lane) powerCutAtBoot() {
	l.t.Helper()
	booted := make(chan error, 1)
	go func() { booted <- l.lab.Start(l.t.Context(), l.hosts[0]) }()
	up := false
	l.eventually("the host goes back in its boot", 2*time.Minute, func() bool {
		select {
		case err := <-booted:
			l.check(err)
			up = true
		default:
		}
		return up || l.process(l.hosts[0], "node", "recover") != 0
	})
	l.powerCut()
	if up {
		return
	}
	if err := <-booted; err == nil {
		l.t.Log("the host was up just before its power was cut")
	}
}

// inVain is how often fabric-watch could not go back.
func (l *lane) inVain() int {
	l.t.Helper()
	return strings.Count(l.on(l.hosts[0], "journalctl -u fabric-watch -o cat"), "cannot go back")
}

// cut has all packets between the host and the others get lost without a
// word.
func (l *lane) cut() {
	l.t.Helper()
	port := func(state string) {
		underlay := fmt.Sprintf("lab-%s-ul", l.lab.Spec.Name)
		r := runCommand(l.t, exec.CommandContext(l.t.Context(), "ip", "-n", underlay, "link", "set", "p-"+l.hosts[0], state))
		if r.exit != 0 {
			l.t.Fatal(r.stderr)
		}
	}
	port("down")
	l.remains.heals = append(l.remains.heals, func() { port("up") })
}

// hang stops a process of the first host. An apply may have stopped dockerd by
// then.
func (l *lane) hang(name string) {
	l.t.Helper()
	l.script("! pid=$(pidof "+name+") || kill -STOP $pid", "! pid=$(pidof "+name+") || kill -CONT $pid")
}

func (l *lane) addPort() {
	l.t.Helper()
	l.script("ovs-vsctl add-port br0 theirs -- set interface theirs type=internal", "ovs-vsctl del-port br0 theirs")
}

// second is another apply, which must be told who is at work, by the host that
// answers first.
func (l *lane) second() {
	l.t.Helper()
	r := l.fabric("apply", "--yes")
	named := slices.ContainsFunc(l.hosts, func(host string) bool { return strings.Contains(r.stderr, host+": another fabric apply by ") })
	if r.exit != 1 || !named || !strings.Contains(r.stderr, " has been at work on this host since ") {
		l.t.Errorf("the second: exit status %d\n%s", r.exit, r.stderr)
	}
}

// loseWatch leaves systemd as a watch does that has taken itself away and has
// not ended yet: it runs, and its unit is gone.
func (l *lane) loseWatch() {
	l.t.Helper()
	l.on(l.hosts[0], `
		unit=/etc/systemd/system/fabric-watch.service
		printf '[Service]\nExecStart=/bin/sleep infinity\n' > $unit
		systemctl daemon-reload && systemctl start fabric-watch
		rm $unit && systemctl daemon-reload`)
}
