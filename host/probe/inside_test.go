package probe

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

func TestIdleEndsWithItsInput(t *testing.T) {
	if err := Idle(t.Context(), strings.NewReader("ignored")); err != nil {
		t.Error(err)
	}
}

func TestIdleEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		defer out.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Idle(ctx, in); err != nil {
			t.Error(err)
		}
	})
}

func TestServePingRefusesWhatIsNoRequest(t *testing.T) {
	for _, in := range []string{"", "ping", `{"size": "large"}`, `{"size": 1}`} {
		var out bytes.Buffer
		if err := ServePing(t.Context(), strings.NewReader(in), &out); err == nil || out.Len() > 0 {
			t.Errorf("%q: error %v, output %q", in, err, out.String())
		}
	}
}
