package script

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// conn reads what a server says and notes what it is told.
type conn struct {
	io.Reader
	bytes.Buffer
}

func (c *conn) Read(to []byte) (int, error) { return c.Reader.Read(to) }

func TestRun(t *testing.T) {
	long := strings.Repeat("x", longest)
	for _, c := range []struct{ name, config, server, role, want string }{
		{"the last role", `{"steps": [{"expect": "is (?P<role>a)"}, {"expect": "(?P<role>b+)|c"}]}`, "is a\nbb\n", "bb", ""},
		{"a role once found", `{"steps": [{"expect": "is (?P<role>a)"}, {"expect": "(?P<role>b+)|c"}]}`, "is a\nc\n", "a", ""},
		{"a line of the longest length", `{"steps": [{"expect": "^x+y?$"}, {"expect": "^z$"}]}`, long[1:] + "\nz\n", "", ""},
		{"a longer one is cut", `{"steps": [{"expect": "^x+$"}, {"expect": "^z$"}]}`, long + long + "y\r\nz\n", "", ""},
		{"and counts once", `{"steps": [{"expect": "^z$", "lines": 2}]}`, long + long + "y\r\nz\n", "", ""},
		{"no line but the end", `{"steps": [{"expect": "^z$"}]}`, "a\nb", "", "step 1: it closed the connection"},
		{"refused before it is expected", `{"steps": [{"expect": "^-", "refuse": "ERR"}]}`, "-ERR\n", "", `step 1: it says "-ERR"`},
		{"the second step", `{"steps": [{"send": "a"}, {"expect": "^z$", "lines": 1}]}`, "y\n", "", `step 2: not expected: "y"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			script, err := Parse([]byte(c.config))
			if err != nil {
				t.Fatal(err)
			}
			role, err := script.Run(&conn{Reader: iotest.OneByteReader(strings.NewReader(c.server))})
			if role != c.role || (err == nil) != (c.want == "") || (err != nil && err.Error() != c.want) {
				t.Errorf("role %q, error %v", role, err)
			}
		})
	}
}

func TestRunSends(t *testing.T) {
	script, err := Parse([]byte(`{"steps": [{"send": "a\r\n"}, {"send": "b", "expect": "ok"}, {"send": "c"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{Reader: strings.NewReader("ok\n")}
	if _, err := script.Run(c); err != nil || c.String() != "a\r\nbc" {
		t.Errorf("sent %q: %v", c.String(), err)
	}
	broken := errors.New("broken")
	if _, err := script.Run(&conn{Reader: iotest.ErrReader(broken)}); err == nil || err.Error() != "step 2: broken" {
		t.Errorf("%v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:              "steps: 1 to 16 of them",
		`{"steps": [{}]}`: "steps[0].send or expect: there is neither",
		`{"steps": [` + strings.Repeat(`{"send": "a"}, `, maxSteps) + `{"send": "a"}]}`: "steps: 1 to 16 of them",
		`{"steps": [{"send": "a", "refuse": "b"}]}`:                                     "steps[0].refuse: goes with expect only",
		`{"steps": [{"expect": "a", "refuse": "["}]}`:                                   "steps[0].refuse: error parsing regexp",
		`{"steps": [{"expect": "a", "lines": 0}]}`:                                      "steps[0].lines: 1 to 1000",
		`{"steps": 1}`: "cannot unmarshal number",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
