package main

import "os"

// style is how a text looks on a terminal.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// colours says whether output is coloured: on a terminal that can, unless the
// user asked not to (https://no-color.org).
func (e *env) colours() bool {
	return e.isTerminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func (e *env) paint(text string, s style) string {
	if s == plain || !e.colours() {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}
