package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/xlb-io/xlb/pkg/model"
)

// parse parses text and fails the test if it is refused.
func parse(t *testing.T, text string) *model.Config {
	t.Helper()
	cfg, err := Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatalf("refused:\n%v\nin\n%s", err, text)
	}
	return cfg
}

// refused parses text and returns its mistakes, one per line.
func refused(t *testing.T, text string) string {
	t.Helper()
	cfg, err := Parse("x.yaml", []byte(text))
	if err == nil {
		t.Fatalf("accepted:\n%s\nas %+v", text, cfg)
	}
	if cfg != nil {
		t.Error("a configuration was returned beside an error")
	}
	var list Errors
	if !errors.As(err, &list) || len(list) == 0 {
		t.Fatalf("error is %T, want Errors with something in it", err)
	}
	return err.Error()
}

// lines joins what is expected, one mistake per line.
func lines(l ...string) string { return strings.Join(l, "\n") }
