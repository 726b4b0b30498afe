package plugins

import (
	"slices"
	"testing"
)

func TestBuild(t *testing.T) {
	for _, lang := range Languages() {
		argv := Build(lang)
		if len(argv) < 3 || !slices.Contains(argv, "{out}") {
			t.Errorf("%s is built by %q", lang, argv)
		}
	}
	if argv := Build("cobol"); argv != nil {
		t.Errorf("%q", argv)
	}
}
