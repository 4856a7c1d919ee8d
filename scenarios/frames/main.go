// Command frames sends raw Ethernet frames, and tells which pass an interface. The
// tests of scenarios run it on lab hosts and in containers there.
package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const usage = "usage: frames send INTERFACE HEX... | frames watch INTERFACE SECONDS MARK"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "frames:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 3 && args[0] == "send":
		return send(args[1], args[2:])
	case len(args) == 4 && args[0] == "watch":
		return watch(args[1], args[2], args[3])
	}
	return errors.New(usage)
}

// socket is a packet socket (packet(7)) that sees all frames of one interface, in
// both directions.
func socket(name string) (fd int, err error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network byte order
	return fd, os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}))
}

// send sends frames as they are, without the sum at their end.
func send(name string, frames []string) error {
	fd, err := socket(name)
	if err != nil {
		return err
	}
	for _, text := range frames {
		frame, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		if _, err := unix.Write(fd, frame); err != nil {
			return os.NewSyscallError("write", err)
		}
	}
	return nil
}

// watch prints what follows each mark in a frame, up to the next zero byte, as it
// passes. It says "watching" once it does.
func watch(name, seconds, mark string) error {
	within, err := time.ParseDuration(seconds + "s")
	if err != nil {
		return err
	}
	fd, err := socket(name)
	if err != nil {
		return err
	}
	poll := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &poll); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	fmt.Println("watching")
	buffer := make([]byte, 1<<16)
	for end := time.Now().Add(within); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if _, after, marked := bytes.Cut(buffer[:n], []byte(mark)); marked {
			name, _, _ := bytes.Cut(after, []byte{0})
			fmt.Println(string(name))
		}
	}
	return nil
}
