package dockercfg

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ovsfabric/fabric/plan"
)

var fabricConfig = plan.DockerConfig{BIP: "172.17.64.1/16", FixedCIDR: "172.17.64.0/18", MTU: 1450}

func TestReadTakesOwnedKeysOnly(t *testing.T) {
	tests := []struct {
		name, data string
		want       plan.DockerConfig
	}{
		{"no file", "", plan.DockerConfig{}},
		{"white space", " \n", plan.DockerConfig{}},
		{"empty object", "{}", plan.DockerConfig{}},
		{"all", `{"bip":"172.17.64.1/16","bridge":"b","fixed-cidr":"172.17.64.0/18","mtu":1450,"debug":true}`,
			plan.DockerConfig{BIP: "172.17.64.1/16", Bridge: "b", FixedCIDR: "172.17.64.0/18", MTU: 1450}},
		{"nested namesake", `{"x":{"mtu":9000},"y":["mtu",{"bip":"z"}]}`, plan.DockerConfig{}},
		{"escaped key", `{"b\u0069p":"10.0.0.1/24"}`, plan.DockerConfig{BIP: "10.0.0.1/24"}},
		{"another case is another key", `{"MTU":1400}`, plan.DockerConfig{}},
		{"the last of two counts", `{"mtu":1400,"mtu":1450}`, plan.DockerConfig{MTU: 1450}},
		{"null", `{"mtu":null,"bip":null}`, plan.DockerConfig{}},
		{"byte order mark", "\ufeff" + `{"mtu":1450}`, plan.DockerConfig{MTU: 1450}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Read([]byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadNamesThePlaceOfAnError(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"comment", "{\n  // no\n}", "line 2, column 3: invalid character '/' looking for beginning of object key string"},
		{"trailing comma", "{\"a\": 1,\n}", "line 2, column 1: invalid character '}' looking for beginning of object key string"},
		{"cut off", `{"a": 1`, "line 1, column 7: unexpected end of JSON input"},
		{"column in characters", `{"ä": x}`, "line 1, column 7: invalid character 'x' looking for beginning of value"},
		{"array", "\n [1]", "line 2, column 2: this is not an object"},
		{"null", "null", "line 1, column 1: this is not an object"},
		{"two objects", "{} {}", "line 1, column 4: invalid character '{' after top-level value"},
		{"not UTF-8", "{\"a\": \"\xff\"}", "line 1, column 8: this is not UTF-8 (RFC 8259, section 8.1)"},
		{"wrong type", `{"mtu": "1450"}`, `"mtu" is "1450", which dockerd does not take: json: cannot unmarshal string into Go value of type int`},
		{"too deep", strings.Repeat(`{"a":`, 20000), "line 1, column 50001: invalid character '{' exceeded max depth"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read([]byte(tt.data))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want+"; the file is not touched", err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, mergeErr := Merge([]byte(tt.data), fabricConfig); mergeErr == nil {
				t.Error("Merge takes what Read refuses")
			}
		})
	}
}

func TestMergeKeepsWhatIsNotOwned(t *testing.T) {
	tests := []struct {
		name, data string
		want       plan.DockerConfig
		out        string
	}{
		{"no file", "", fabricConfig,
			"{\n  \"bip\": \"172.17.64.1/16\",\n  \"fixed-cidr\": \"172.17.64.0/18\",\n  \"mtu\": 1450\n}\n"},
		{"no file and nothing to set", "", plan.DockerConfig{}, ""},
		{"empty object", "{}", plan.DockerConfig{MTU: 1450}, "{\n  \"mtu\": 1450\n}"},
		{"spaced empty object", " {\r\n\r\n} \r\n", plan.DockerConfig{MTU: 1450}, " {\r\n  \"mtu\": 1450\r\n} \r\n"},
		{"tabs and order",
			"{\n\t\"log-opts\": {\"max-size\": \"1m\"},\n\t\"debug\":   false\n}",
			plan.DockerConfig{Bridge: "fab0", MTU: 1450},
			"{\n\t\"log-opts\": {\"max-size\": \"1m\"},\n\t\"debug\":   false,\n\t\"bridge\":   \"fab0\",\n\t\"mtu\":   1450\n}"},
		{"one member on its line", "{\n    \"debug\": true\n}\n", plan.DockerConfig{MTU: 1450},
			"{\n    \"debug\": true,\n    \"mtu\": 1450\n}\n"},
		{"compact", `{"debug":true}`, fabricConfig,
			`{"debug":true,"bip":"172.17.64.1/16","fixed-cidr":"172.17.64.0/18","mtu":1450}`},
		{"one line", `{"debug": true}`, plan.DockerConfig{MTU: 1450}, `{"debug": true, "mtu": 1450}`},
		{"comma first", "{ \"a\" : 1\n, \"b\" : 2\n}", plan.DockerConfig{MTU: 1450}, "{ \"a\" : 1\n, \"b\" : 2\n, \"mtu\" : 1450\n}"},
		{"carriage returns", "{\r\n  \"a\": 1\r\n}\r\n", plan.DockerConfig{MTU: 1450}, "{\r\n  \"a\": 1,\r\n  \"mtu\": 1450\r\n}\r\n"},
		{"owned key in place", `{"mtu": 1400, "a": [1, 2]}`, plan.DockerConfig{MTU: 1450}, `{"mtu": 1450, "a": [1, 2]}`},
		{"owned key taken out first", `{ "mtu": 1400, "a": 1 }`, plan.DockerConfig{}, `{ "a": 1 }`},
		{"owned key taken out last", `{ "a": 1, "mtu": 1400 }`, plan.DockerConfig{}, `{ "a": 1 }`},
		{"owned key taken out alone", "{\n  \"mtu\": 1400\n}\n", plan.DockerConfig{}, "{}\n"},
		{"equal value keeps its spelling", `{"bip": "172\u002e17.64.1/16"}`, plan.DockerConfig{BIP: "172.17.64.1/16"}, `{"bip": "172\u002e17.64.1/16"}`},
		{"owned key once", `{"mtu":1400,"a":1,"mtu":1450}`, plan.DockerConfig{MTU: 1450}, `{"mtu":1450,"a":1}`},
		{"another's key twice", `{"a":1,"a":2}`, plan.DockerConfig{MTU: 1450}, `{"a":1,"a":2,"mtu":1450}`},
		{"byte order mark", "\ufeff{}", plan.DockerConfig{MTU: 1450}, "\ufeff{\n  \"mtu\": 1450\n}"},
		{"braces in strings", `{"a":"}\"{","b":{"c":["]"]}}`, plan.DockerConfig{MTU: 1450}, `{"a":"}\"{","b":{"c":["]"]},"mtu":1450}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Merge([]byte(tt.data), tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.out, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRestoreAfterOthersChangedTheFile(t *testing.T) {
	tests := []struct {
		name, current, original string
		existed                 bool
		out                     string
		remove                  bool
	}{
		{"no file before, nothing else now", "{\n  \"mtu\": 1450\n}\n", "", false, "", true},
		{"no file before, a key added", "{\n  \"mtu\": 1450,\n  \"debug\": true\n}\n", "", false, "{\n  \"debug\": true\n}\n", false},
		{"empty file before", "{\n  \"mtu\": 1450\n}\n", "", true, "", false},
		{"untouched otherwise", `{"a":1,"mtu":1450}`, `{"a":1}`, true, `{"a":1}`, false},
		{"key added", `{"a":1,"mtu":1450,"b":2}`, `{"a":1}`, true, `{"a":1,"b":2}`, false},
		{"key changed", `{"a":2,"mtu":1450}`, `{"a":1}`, true, `{"a":2}`, false},
		{"key deleted", `{"mtu":1450}`, `{"a":1}`, true, "{}", false},
		{"owned key was in the original", `{"b":2,"mtu":1450,"bip":"x"}`, `{"mtu":1400}`, true, `{"b":2,"mtu":1400}`, false},
		{"file deleted since, none before", "", "", false, "", true},
		{"file deleted since", "", `{"a":1}`, true, "", true},
		{"file deleted since, owned key in the original", "", `{"a":1,"mtu":1400}`, true, "{\n  \"mtu\": 1400\n}\n", false},
		{"owned key spoilt since", `{"a":1,"mtu":"many"}`, `{"a":1}`, true, `{"a":1}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, remove, err := Restore([]byte(tt.current), []byte(tt.original), tt.existed)
			if err != nil {
				t.Fatal(err)
			}
			if string(out) != tt.out || remove != tt.remove {
				t.Errorf("Restore = %q, remove %v; want %q, remove %v", out, remove, tt.out, tt.remove)
			}
		})
	}
}

func TestRestoreRefusesAnUnparsableFile(t *testing.T) {
	if _, _, err := Restore([]byte("{,}"), []byte("{}"), true); err == nil {
		t.Error("no error for a file that cannot be parsed")
	}
	if _, _, err := Restore([]byte("{}"), []byte("{,}"), true); err == nil {
		t.Error("no error for an original that cannot be parsed")
	}
}

func TestRestoreUndoesMerges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		original := drawFile(t)
		current := original
		for range rapid.IntRange(1, 3).Draw(t, "merges") {
			current = merge(t, current, drawConfig(t))
		}
		out, remove, err := Restore(current, original, true)
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != string(original) || remove {
			t.Fatalf("Restore(%q) = %q, remove %v; want %q", current, out, remove, original)
		}
	})
}

func TestMergeIsIdempotentAndRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, want := drawFile(t), drawConfig(t)
		once := merge(t, data, want)
		if twice := merge(t, once, want); string(twice) != string(once) {
			t.Fatalf("first %q, then %q", once, twice)
		}
		got, err := Read(once)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("Read(%q) = %+v, want %+v", once, got, want)
		}
	})
}

func TestMergeKeepsRawValuesAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawFile(t)
		merged := merge(t, data, drawConfig(t))
		if diff := cmp.Diff(otherValues(t, data), otherValues(t, merged)); diff != "" {
			t.Fatalf("others' values (-before +after):\n%s", diff)
		}
	})
}

// otherValues lists keys and raw values that are not the fabric's, by
// encoding/json's own reading of the file.
func otherValues(t *rapid.T, data []byte) []string {
	var values []string
	if blank(data) {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(strings.TrimPrefix(string(data), byteOrderMark)))
	token := func() json.Token {
		tok, err := d.Token()
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		return tok
	}
	token()
	for d.More() {
		key, ok := token().(string)
		if !ok {
			t.Fatalf("%q: a key is not a string", data)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if !owned(key) {
			values = append(values, fmt.Sprintf("%q: %s", key, raw))
		}
	}
	return values
}

func merge(t *rapid.T, data []byte, want plan.DockerConfig) []byte {
	out, err := Merge(data, want)
	if err != nil {
		t.Fatalf("Merge(%q): %v", data, err)
	}
	return out
}

func drawConfig(t *rapid.T) plan.DockerConfig {
	text := rapid.SampledFrom([]string{"", "172.17.64.1/16", "<&>\u2028\"\\", "fab0"})
	return plan.DockerConfig{
		BIP:       text.Draw(t, "bip"),
		Bridge:    text.Draw(t, "bridge"),
		FixedCIDR: text.Draw(t, "fixed-cidr"),
		MTU:       rapid.SampledFrom([]int{0, 1450, 1462}).Draw(t, "mtu"),
	}
}

// drawFile draws any daemon.json: an object with odd white space, nested
// values, keys that stand twice, and the fabric's keys among them.
func drawFile(t *rapid.T) []byte {
	space := func() string {
		return rapid.SampledFrom([]string{"", "", " ", "\n  ", "\r\n\t", " \n\n "}).Draw(t, "space")
	}
	var value func(depth int) string
	value = func(depth int) string {
		kinds := 4
		if depth == 0 {
			kinds = 2
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]string{"0", "-1.5e+3", "true", "false", "null", "12345678901234567890"}).Draw(t, "atom")
		case 1:
			return quote(rapid.String().Draw(t, "string"))
		case 2:
			return "[" + space() + value(depth-1) + space() + "," + value(depth-1) + space() + "]"
		default:
			return "{" + space() + `"mtu"` + space() + ":" + space() + value(depth-1) + space() + "}"
		}
	}
	var members []string
	for range rapid.IntRange(0, 5).Draw(t, "members") {
		key, val := "", ""
		switch rapid.IntRange(0, 3).Draw(t, "owner") {
		case 0:
			key = rapid.SampledFrom([]string{`"bip"`, `"bridge"`, `"fixed-cidr"`, `"b\u0069p"`}).Draw(t, "key")
			val = rapid.SampledFrom([]string{`""`, `"172.17.64.1/16"`, `"\u0061"`, "null"}).Draw(t, "text")
		case 1:
			key, val = `"mtu"`, rapid.SampledFrom([]string{"0", "1400", "1450", "null"}).Draw(t, "number")
		default:
			key, val = quote(rapid.SampledFrom([]string{"a", "debug", "", "Mtu", "ключ", "}"}).Draw(t, "key")), value(2)
		}
		members = append(members, space()+key+space()+":"+space()+val+space())
	}
	inside := strings.Join(members, ",")
	if len(members) == 0 {
		inside = space()
	}
	start := rapid.SampledFrom([]string{"", byteOrderMark}).Draw(t, "start")
	return []byte(start + space() + "{" + inside + "}" + space())
}

func FuzzMerge(f *testing.F) {
	for _, data := range []string{
		"", "{}", "null", "[]", "{\"a\": [1, {\"b\": null}]\n}\n", `{"mtu": 1400, "x": "}"}`,
		"\ufeff{ }", "{\r\n\t\"bip\" : \"\"\r\n}", `{"a":1,}`, "{//\n}", "\"\\",
	} {
		f.Add([]byte(data), "172.17.64.1/16", 1450)
	}
	f.Fuzz(func(t *testing.T, data []byte, bip string, mtu int) {
		want := plan.DockerConfig{BIP: strings.ToValidUTF8(bip, ""), MTU: mtu}
		merged, err := Merge(data, want)
		if err != nil {
			return
		}
		got, err := Read(merged)
		if err != nil || got != want {
			t.Fatalf("Read(%q) = %+v, %v; want %+v", merged, got, err, want)
		}
		out, _, err := Restore(merged, data, true)
		if err != nil || string(out) != string(data) {
			t.Fatalf("Restore(%q) = %q, %v; want %q", merged, out, err, data)
		}
	})
}
