//go:build privileged

package scenarios_test

import (
	"encoding/json"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// eachDataPath runs a benchmark on three hosts with the data path of builds that
// knew no access bridges, and on three others with today's.
func eachDataPath(b *testing.B, name string, run func(b *testing.B, w *world)) {
	b.Run("older", func(b *testing.B) { run(b, boot(b, "three-hosts", name+"-older").older()) })
	b.Run("today", func(b *testing.B) { run(b, boot(b, "three-hosts", name+"-today")) })
}

// BenchmarkFirstApply is from hosts without a fabric to containers on two of
// them that reach each other, with RSTP.
func BenchmarkFirstApply(b *testing.B) { eachDataPath(b, "bench-first", timeFirstApply) }

func timeFirstApply(b *testing.B, w *world) {
	for _, h := range []string{"h1", "h3"} {
		w.importImage(h)
	}
	var applied, reached time.Duration
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		w.must("apply", "--yes")
		applied += time.Since(start)
		w.container("h1", "c1")
		address := w.container("h3", "c3")
		w.eventually("the container on h3 answers", time.Minute, func() bool { return w.reaches("h1", "c1", address, 1450) })
		reached += time.Since(start)
		b.StopTimer()
		w.must("destroy", "--yes")
		b.StartTimer()
	}
	b.ReportMetric(applied.Seconds()/float64(b.N), "s/apply")
	b.ReportMetric(reached.Seconds()/float64(b.N), "s/containers")
	b.ReportMetric(0, "ns/op") // the two above say more
}

// BenchmarkJustBegun is how many pings between all hosts, each every 20 ms,
// have no answer in the three seconds after a first apply: when that ends,
// nothing is to be unsettled any more.
func BenchmarkJustBegun(b *testing.B) {
	w := boot(b, "three-hosts", "bench-begun")
	const ping = `for to in 172.17.0.1 172.17.64.1 172.17.128.1; do ping -q -n -i 0.02 -c 150 $to & done; wait`
	lost, sent := 0, 0
	for range b.N {
		w.must("apply", "--yes")
		var pings []*background
		for _, h := range []string{"h1", "h2", "h3"} {
			pings = append(pings, w.background(w.lab.Sh(b.Context(), h, "sh", "-c", ping)))
		}
		for _, p := range pings {
			for _, counts := range pingCounts.FindAllStringSubmatch(p.wait().stdout, -1) {
				all, _ := strconv.Atoi(counts[1])
				answered, _ := strconv.Atoi(counts[2])
				sent, lost = sent+all, lost+all-answered
			}
		}
		w.must("destroy", "--yes")
	}
	b.ReportMetric(float64(sent)/float64(b.N), "pings")
	b.ReportMetric(float64(lost)/float64(b.N), "pings/lost")
	b.ReportMetric(0, "ns/op")
}

// pingCounts is how many ping(8) has sent, and how many had an answer.
var pingCounts = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// BenchmarkTwentyHosts is from twenty hosts without a fabric to one that has
// settled, and restarting dockerd on all of them at once, which is in it.
func BenchmarkTwentyHosts(b *testing.B) {
	const n = 20
	allowHosts(b, n)
	hosts, lines := numbered(n, "")
	w := boot(b, scenario(b, "underlay: 192.0.2.0/24\nhosts:\n"+lines,
		// Twenty switches that share two cores do not send every 100 ms.
		"version: 1\nname: demo\nnetwork: 172.17.0.0/16\nssh: {user: ops}\ntree: {bfd: 1000}\nhosts:\n"+lines), "bench-twenty")
	const restart = `for h; do ssh "ops@$h" sudo systemctl restart docker & done; wait`
	var applied, restarted time.Duration
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		w.must("apply", "--yes", "--settle=2m")
		applied += time.Since(start)
		w.must("destroy", "--yes", crowded)
		start = time.Now()
		if r := runCommand(b, w.lab.Ctl(b.Context(), append([]string{"sh", "-c", restart, "sh"}, hosts...)...)); r.exit != 0 {
			b.Fatal(r.stderr)
		}
		restarted += time.Since(start)
	}
	b.ReportMetric(applied.Seconds()/float64(b.N), "s/apply")
	b.ReportMetric(restarted.Seconds()/float64(b.N), "s/restarts")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkNoopApply is an apply with nothing to do, against logging in to
// the same hosts with bare ssh in the same run.
func BenchmarkNoopApply(b *testing.B) { eachDataPath(b, "bench-noop", timeNoopApply) }

func timeNoopApply(b *testing.B, w *world) {
	const rounds = 20
	w.must("apply", "--yes")
	var apply, bare time.Duration
	b.ResetTimer()
	for range b.N {
		for range rounds {
			start := time.Now()
			w.must("apply", "--yes")
			apply += time.Since(start)
			start = time.Now()
			w.bareSSH("h1", "h2", "h3")
			bare += time.Since(start)
		}
	}
	n := float64(b.N * rounds)
	b.ReportMetric(float64(apply.Milliseconds())/n, "ms/apply")
	b.ReportMetric(float64(bare.Milliseconds())/n, "ms/ssh")
	b.ReportMetric(float64(apply)/float64(bare), "apply/ssh")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFailover is how long two hosts do not reach each other after the
// root, over which they did, has lost power. A ping every 20 ms tells.
func BenchmarkFailover(b *testing.B) { eachDataPath(b, "bench-failover", timeFailover) }

func timeFailover(b *testing.B, w *world) {
	w.must("apply", "--yes")
	w.must("verify", "--containers=false")
	h3 := w.on("h3", "ip -4 -o addr show docker0 | awk '{print $4}' | cut -d/ -f1")
	var out time.Duration
	b.ResetTimer()
	for range b.N {
		pings := w.ping("h2", h3, 20*time.Millisecond)
		if err := w.lab.PowerOff(b.Context(), "h1"); err != nil {
			b.Fatal(err)
		}
		pings.answersAgain(time.Minute)
		out += pings.end()
		b.StopTimer()
		if err := w.lab.Start(b.Context(), "h1"); err != nil {
			b.Fatal(err)
		}
		w.must("verify", "--containers=false")
		b.StartTimer()
	}
	b.ReportMetric(float64(out.Milliseconds())/float64(b.N), "ms/outage")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkThroughput is one TCP stream between two hosts, through the
// fabric and beside it.
func BenchmarkThroughput(b *testing.B) { eachDataPath(b, "bench-throughput", measureThroughput) }

func measureThroughput(b *testing.B, w *world) {
	w.must("apply", "--yes")
	stream := func(address string) float64 {
		server := w.lab.Sh(b.Context(), "h3", "iperf3", "-s", "-1")
		if err := server.Start(); err != nil {
			b.Fatal(err)
		}
		w.eventually("iperf3 listens", time.Minute, func() bool { return w.try("h3", "ss -ltn | grep -q :5201").exit == 0 })
		var report struct {
			End struct {
				SumReceived struct {
					BitsPerSecond float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		if err := json.Unmarshal([]byte(w.on("h1", "iperf3 -J -t 3 -c "+address)), &report); err != nil {
			b.Fatal(err)
		}
		if err := server.Wait(); err != nil {
			b.Fatal(err)
		}
		return report.End.SumReceived.BitsPerSecond / 1e6
	}
	var through, beside float64
	b.ResetTimer()
	for range b.N {
		through += stream(w.on("h3", "ip -4 -o addr show docker0 | awk '{print $4}' | cut -d/ -f1"))
		beside += stream("192.0.2.13")
	}
	b.ReportMetric(through/float64(b.N), "Mbit/s/fabric")
	b.ReportMetric(beside/float64(b.N), "Mbit/s/underlay")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMigration is how long containers of two hosts do not reach each other
// while the fabric of an older build gets its access bridges, at the most and on
// average over the pairs. A ping every 10 ms tells.
func BenchmarkMigration(b *testing.B) {
	hosts := []string{"h1", "h2", "h3"}
	for _, protocol := range []string{"rstp", "stp"} {
		b.Run(protocol, func(b *testing.B) {
			w := boot(b, "three-hosts", "bench-migration-"+protocol)
			w.write(w.read() + "tree: {protocol: " + protocol + "}\n")
			var worst, sum, took time.Duration
			pairs := 0
			for range b.N {
				w.older().must("apply", "--yes")
				addresses := make(map[string]string)
				for _, h := range hosts {
					addresses[h] = w.container(h, "steady")
				}
				var pings []*pinging
				for _, from := range hosts {
					for _, to := range hosts {
						if from != to {
							pings = append(pings, w.pingFrom(from, "steady", addresses[to], 10*time.Millisecond))
						}
					}
				}
				start := time.Now()
				w.must("apply", "--yes")
				took += time.Since(start)
				for _, p := range pings {
					out := p.end()
					worst, sum, pairs = max(worst, out), sum+out, pairs+1
				}
				w.must("destroy", "--yes")
			}
			b.ReportMetric(float64(worst.Milliseconds()), "ms/worst")
			b.ReportMetric(float64(sum.Milliseconds())/float64(pairs), "ms/pair")
			b.ReportMetric(took.Seconds()/float64(b.N), "s/apply")
			b.ReportMetric(0, "ns/op")
		})
	}
}
