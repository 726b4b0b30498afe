//go:build wasip1

// Line-probe checks a server that speaks a protocol of lines: it sends texts and
// waits for lines that match patterns.
package main

import (
	"github.com/xlb-io/xlb/plugins/line-probe/script"
	"github.com/xlb-io/xlb/plugins/sdk/go/xlb"
	"github.com/xlb-io/xlb/plugins/sdk/go/xlb/probe"
)

var steps script.Script

func init() {
	xlb.Configure(script.Parse, func(s script.Script) { steps = s })
	probe.Handle(check)
}

func main() {}

func check(conn probe.Conn) bool {
	role, err := steps.Run(conn)
	conn.Role(role)
	if err != nil {
		conn.Reason(err.Error())
	}
	return err == nil
}
