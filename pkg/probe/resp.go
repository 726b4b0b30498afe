package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// resp speaks RESP2, the protocol of Redis, as far as a probe needs it. Client
// libraries make room for as much as a server announces, which can be more than
// this host has; here an answer is [maxAnswer] long at most.
type resp struct {
	r *bufio.Reader
	w io.Writer
}

// respError is an answer that is an error, for example "LOADING Redis is loading …".
type respError string

func (e respError) Error() string { return string(e) }

var errNotRESP = errors.New("redis: the answer is not Redis's protocol")

// maxDepth bounds lists in lists.
const maxDepth = 8

func newRESP(conn io.ReadWriter) *resp {
	return &resp{bufio.NewReader(io.LimitReader(conn, maxAnswer)), conn}
}

// do sends a command and returns the words of its answer, lists flattened. An
// answer that is an error is a [respError].
func (c *resp) do(words ...string) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(c.w, b.String()); err != nil {
		return nil, err
	}
	return c.answer(nil, maxDepth)
}

// answer appends the words of one value to list.
func (c *resp) answer(list []string, depth int) ([]string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || line == "" || depth == 0 {
		return nil, errNotRESP
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return append(list, rest), nil
	case '-':
		return nil, respError(rest)
	case '$', '*':
	default:
		return nil, errNotRESP
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n > maxAnswer {
		return nil, errNotRESP
	}
	if kind == '$' {
		return c.bulk(list, n)
	}
	for range n { // -1 is no list
		if list, err = c.answer(list, depth-1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// bulk appends a text of n bytes; -1 is none.
func (c *resp) bulk(list []string, n int) ([]string, error) {
	if n < 0 {
		return append(list, ""), nil
	}
	text := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(c.r, text); err != nil {
		return nil, err
	}
	return append(list, string(text[:n])), nil
}
