// Package config reads the YAML configuration of xlb into the types of package
// model.
//
// Every key is declared once, with its kind, range, default and meaning (see
// fields.go). The parser, the JSON Schema for editors and the Markdown
// reference are all made from that declaration.
//
// A file with mistakes yields all of them at once, each with its line, its
// column and what to do. Nothing of a file with a mistake is used.
package config

//go:generate go run ./gen ../../docs/CONFIGURATION.md
