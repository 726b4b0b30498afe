package main

import (
	"encoding/json"
	"fmt"
)

// printJSON prints one document, indented.
func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	return writeError(enc.Encode(v))
}

// printLine prints one object of a stream.
func (e *env) printLine(v any) error { return writeError(json.NewEncoder(e.stdout).Encode(v)) }

func writeError(err error) error {
	if err != nil {
		return fmt.Errorf("cannot write the output: %w", err)
	}
	return nil
}
