package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// nowhere refuses to load schemas from files and networks.
type nowhere struct{}

// Load implements [jsonschema.URLLoader].
func (nowhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside of the manifest", url)
}

// compileSchema returns the schema in JSON; nil for none.
func compileSchema(text json.RawMessage) (*jsonschema.Schema, error) {
	if text == nil {
		return nil, nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(nowhere{})
	c.AssertFormat()
	const here = "manifest:///config"
	if err := c.AddResource(here, doc); err != nil {
		return nil, err
	}
	s, err := c.Compile(here)
	if err != nil {
		return nil, fmt.Errorf("no valid JSON Schema: %s", oneLine(err, here))
	}
	return s, nil
}

// maxConfig is the size of a configuration, in bytes.
const maxConfig = 1 << 20

// checkConfig returns config as it is given to the module: "{}" if there is none.
func (b *Bundle) checkConfig(config json.RawMessage) (json.RawMessage, error) {
	given := len(bytes.TrimSpace(config)) > 0
	if !given {
		config = json.RawMessage("{}")
	}
	if len(config) > maxConfig {
		return nil, fmt.Errorf("%d bytes of configuration, at most %d", len(config), maxConfig)
	}
	if given && b.schema == nil && !b.exports("configure") {
		return nil, errors.New("the policy takes no configuration")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return nil, fmt.Errorf("the configuration is no JSON: %w", err)
	}
	if b.schema == nil {
		return config, nil
	}
	if err := b.schema.Validate(doc); err != nil {
		return nil, fmt.Errorf("the configuration is not what the policy's schema wants: %s", oneLine(err, "manifest:///config"))
	}
	return config, nil
}

// oneLine joins the lines of an error of package jsonschema, without the first,
// which only says that there are mistakes, and without the name of the schema.
func oneLine(err error, here string) string {
	if _, ok := errors.AsType[*jsonschema.ValidationError](err); !ok {
		return printable(strings.ReplaceAll(err.Error(), here, "config"), 500)
	}
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "- ") {
			lines = append(lines, strings.TrimPrefix(line, "- "))
		}
	}
	return printable(strings.Join(lines, "; "), 500)
}
