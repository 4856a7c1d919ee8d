package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ovsfabric/fabric/operator/verify"
)

// readRTT reads the underlay's round-trip times from a verification's report, in microseconds by
// the names of the hosts that pinged and answered, and copies the file to a writer.
func readRTT(file string, also io.Writer) (map[[2]string]int64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if _, err := also.Write(data); err != nil {
		return nil, err
	}
	var report verify.Report
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, lineOf(data, err), err)
	}
	measured := make(map[[2]string]int64, len(report.UnderlayRTTs))
	for _, rtt := range report.UnderlayRTTs {
		measured[[2]string{rtt.From, rtt.To}] = rtt.Avg.Microseconds()
	}
	if len(measured) == 0 {
		return nil, fmt.Errorf(`%s:1: there are no "underlay_rtts" in it`, file)
	}
	return measured, nil
}

// lineOf is the line, from 1, where JSON could not be read.
func lineOf(data []byte, err error) int {
	offset := int64(0)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	return 1 + bytes.Count(data[:min(max(int(offset)-1, 0), len(data))], []byte("\n"))
}
