package link

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// socket is a UDP socket that takes packets from anyone.
type socket struct {
	port  uint16
	inode string // what a process that has it open has it by
}

// sockets reads proc_net(5) of the calling thread's namespace.
func sockets() ([]socket, error) {
	var all []socket
	for _, path := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // IPv6 can be off
		}
		if err != nil {
			return nil, fmt.Errorf("list UDP sockets: %w", err)
		}
		found, err := parseSockets(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("list UDP sockets: %s: %w", path, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func parseSockets(r io.Reader) ([]socket, error) {
	var all []socket
	lines := bufio.NewScanner(r)
	lines.Scan() // headings
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...
		columns := strings.Fields(lines.Text())
		if len(columns) < 10 {
			return nil, fmt.Errorf("cannot read %q", lines.Text())
		}
		if !strings.HasSuffix(columns[2], ":0000") {
			continue // connected: it takes packets from one peer only
		}
		_, hex, _ := strings.Cut(columns[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if err != nil {
			return nil, fmt.Errorf("cannot read %q: %w", lines.Text(), err)
		}
		all = append(all, socket{port: uint16(port), inode: columns[9]})
	}
	return all, lines.Err()
}
