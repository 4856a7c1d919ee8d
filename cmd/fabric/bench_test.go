package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sizes are the numbers of hosts that the planner is measured with.
var sizes = []int{10, 100, 1000, 10000}

// fabricOf writes a fabric file of n hosts that says nothing but their addresses.
func fabricOf(b *testing.B, n int) string {
	b.Helper()
	var text bytes.Buffer
	text.WriteString("version: 1\nname: demo\nnetwork: 10.0.0.0/8\nhosts:\n")
	for i := range n {
		fmt.Fprintf(&text, "  h%d: {address: 192.168.%d.%d}\n", i+1, i/250, i%250+1)
	}
	path := filepath.Join(b.TempDir(), "fabric.yaml")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// measure runs a command at the given sizes: in this process, over and over, and once as a process of its own for what it takes
// from start to end. The exponent is the power of the number of hosts with which the time has grown from the smallest size on.
func measure(b *testing.B, sizes []int, args ...string) {
	var smallest float64
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			args := append(slices.Clone(args), "-f", fabricOf(b, n))
			var stderr strings.Builder
			for b.Loop() {
				if err := run(b.Context(), args, strings.NewReader(""), io.Discard, &stderr, anyBuild); err != nil {
					b.Fatalf("%v: %s", err, &stderr)
				}
			}
			each := b.Elapsed().Seconds() / float64(b.N)
			if n == sizes[0] {
				smallest = each
			} else {
				b.ReportMetric(math.Log(each/smallest)/math.Log(float64(n)/float64(sizes[0])), "exponent")
			}
			wall, peak := process(b, args)
			b.ReportMetric(wall.Seconds()*1000, "process-ms")
			b.ReportMetric(float64(peak)/1e6, "peak-MB")
		})
	}
}

// process runs this program, which is fabric by that name, and returns how long it took and the most bytes that it had resident.
func process(b *testing.B, args []string) (wall time.Duration, resident int64) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(b.Context(), self, append([]string{self}, args...)...)
	cmd.Args[0] = "peak"
	cmd.Stdout, cmd.Stderr = printed(b), &stderr
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %s", err, &stderr)
	}
	var kilobytes int64
	if _, err := fmt.Sscan(stderr.String(), &wall, &kilobytes); err != nil {
		b.Fatalf("%v: %s", err, &stderr)
	}
	return wall, kilobytes * 1024
}

// peak runs fabric, and prints how long it took and its peak resident set in kilobytes (getrusage(2)) on stderr. It is a process
// of its own because a child's peak is never below what its parent had resident when it was made.
func peak() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Args[0] = "fabric"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, time.Since(start).Nanoseconds(), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
}

// printed is where a process prints to, as in "fabric plan >plan.txt".
func printed(b *testing.B) *os.File {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "stdout"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return f
}

func BenchmarkPlanOffline(b *testing.B) { measure(b, sizes, "plan", "--offline") }

func BenchmarkPlanFailAny(b *testing.B) { measure(b, sizes, "plan", "--fail", "any") }

func BenchmarkValidate(b *testing.B) { measure(b, sizes, "validate") }

func BenchmarkGraph(b *testing.B) {
	for _, f := range graphFormats() {
		b.Run(f.name, func(b *testing.B) { measure(b, sizes[len(sizes)-1:], "graph", "--format", f.name) })
	}
}
