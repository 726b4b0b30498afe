package plugins

import "github.com/goccy/go-yaml"

// Build returns the usual command that builds a policy of that language in its
// directory, nil if the language has no SDK. "{out}" stands for the module's file.
func Build(lang string) []string {
	l, known := languages[lang]
	if !known {
		return nil
	}
	var argv []string
	if err := yaml.Unmarshal([]byte(l.build), &argv); err != nil {
		panic(err) // the table above is wrong
	}
	return argv
}
