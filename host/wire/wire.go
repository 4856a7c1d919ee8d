// Package wire is what the two sides of fabric say to each other: versioned
// JSON values.
//
// The host's side starts with a Hello, the operator's side answers with a
// Start. Then the operator's side sends Requests, one at a time, and the
// host's side answers each with any number of Replies that carry progress and
// one that ends it.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ovsfabric/fabric/plan"
)

// Version is the version of the protocol. Both sides are always the same
// build; the version guards against a mistake in that.
const Version = 1

// What bounds one message: twice what an apply has to say to a host with the
// most ports that a spanning tree can number. A value of two bytes can become
// one of two hundred in memory, so the values are counted too.
const (
	MaxMessage = 8 << 20 // bytes
	MaxValues  = 1 << 19 // members of objects and elements of arrays
)

// Hello is the first thing that the host's side says.
type Hello struct {
	Version int    `json:"version"`
	Program string `json:"program"` // build of the running binary
}

// Start is the first thing that the operator's side says, in answer to the
// Hello.
type Start struct {
	Fabric   string `json:"fabric"`             // the name that marks what the session may touch
	Operator string `json:"operator,omitempty"` // who is at work, USER@MACHINE, for others who want to be
	// Patience is what the host's deadlines are multiplied by; 0 is 1.
	Patience float64 `json:"patience,omitempty"`
}

// Request asks the host's side for one thing: exactly one member is set.
type Request struct {
	Observe *plan.Query   `json:"observe,omitempty"`
	Apply   *ApplyRequest `json:"apply,omitempty"`
	Hold    *Empty        `json:"hold,omitempty"`    // wait on for the confirmation: the operator is there
	Forget  *Empty        `json:"forget,omitempty"`  // where the fabric's addresses were seen: frames find their way anew
	Confirm *Empty        `json:"confirm,omitempty"` // keep what was applied
	Abort   *Empty        `json:"abort,omitempty"`   // go back to what was before
	Recover *Empty        `json:"recover,omitempty"` // finish what an interrupted apply left
	Probe   *ProbeRequest `json:"probe,omitempty"`
}

// Validate says whether exactly one member is set.
func (r Request) Validate() error { return oneMember("a request", r) }

// Empty is a request without arguments.
type Empty struct{}

// ApplyRequest brings the host from one state to another. One that comes
// before the last was confirmed goes on from there. It goes back to before
// the first of them
// unless a Confirm follows: at once when the session ends, and when nothing
// was asked of it for ConfirmWithin.
type ApplyRequest struct {
	Query         plan.Query     `json:"query"`
	From          plan.HostState `json:"from"` // what the plan was made from
	Want          plan.HostState `json:"want"`
	ConfirmWithin time.Duration  `json:"confirm_within"`
}

// Reply answers a Request. One without Progress ends it.
type Reply struct {
	Progress    string            `json:"progress,omitempty"`
	Error       *Error            `json:"error,omitempty"`
	Observation *plan.Observation `json:"observation,omitempty"`
	Probe       *ProbeResult      `json:"probe,omitempty"`
}

// Error is a failure on the host's side.
type Error struct {
	Message    string `json:"message"`
	RolledBack bool   `json:"rolled_back,omitempty"` // of an apply: the host is as it was before
	Untouched  bool   `json:"untouched,omitempty"`   // of an apply: nothing had been written
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// ErrTooLong means that the other side sent a message over MaxMessage or
// MaxValues.
var ErrTooLong = errors.New("a message is longer than the protocol allows")

// Conn reads and writes messages, one JSON value a line. It is for one
// reader and one writer at a time.
type Conn struct {
	enc *json.Encoder
	in  *bounded
	dec *json.Decoder
}

// NewConn makes a Conn of a byte stream in each direction.
func NewConn(r io.Reader, w io.Writer) *Conn {
	in := &bounded{r: r}
	return &Conn{enc: json.NewEncoder(w), in: in, dec: json.NewDecoder(in)}
}

// Send writes one message.
func (c *Conn) Send(message any) error {
	if err := c.enc.Encode(message); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// Receive reads one message. It returns io.EOF where the other side has
// ended the stream between two messages.
func (c *Conn) Receive(message any) error {
	// The decoder reads ahead, so the bound counts from where it has
	// decoded to, not from what it has read.
	c.in.end = c.dec.InputOffset() + MaxMessage
	var data json.RawMessage
	if err := c.dec.Decode(&data); err != nil {
		if err == io.EOF {
			return err
		}
		return fmt.Errorf("receive: %w", err)
	}
	if values(data) > MaxValues {
		return fmt.Errorf("receive: %w", ErrTooLong)
	}
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if err := strict.Decode(message); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

// values is at least how many values a JSON text has: one before each comma,
// and one more in each object and array. Those within strings are counted too.
func values(data []byte) int {
	return 1 + bytes.Count(data, []byte{','}) + bytes.Count(data, []byte{'{'}) + bytes.Count(data, []byte{'['})
}

// bounded fails to read past an offset in the stream.
type bounded struct {
	r   io.Reader
	at  int64
	end int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.at >= b.end {
		return 0, ErrTooLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.end-b.at)])
	b.at += int64(n)
	return n, err
}
