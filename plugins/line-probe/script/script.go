package script

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

// longest is where a line is cut; patterns see what is before.
const longest = 4096

// Run follows the steps. It returns the role that was found, and an error that
// says why the backend is not healthy.
func (script Script) Run(conn io.ReadWriter) (role string, err error) {
	in := bufio.NewReaderSize(conn, longest)
	for i, s := range script {
		found, err := s.run(conn, in)
		if found != "" {
			role = found
		}
		if err != nil {
			return role, errors.New("step " + strconv.Itoa(i+1) + ": " + err.Error())
		}
	}
	return role, nil
}

func (s *step) run(out io.Writer, in *bufio.Reader) (role string, err error) {
	if len(s.send) > 0 {
		if _, err := out.Write(s.send); err != nil {
			return "", err
		}
	}
	if s.expect == nil {
		return "", nil
	}
	var line []byte
	for range s.lines {
		if line, err = readLine(in); err != nil {
			return "", err
		}
		if s.refuse != nil && s.refuse.Match(line) {
			return "", errors.New("it says " + strconv.Quote(string(line)))
		}
		if groups := s.expect.FindSubmatch(line); groups != nil {
			if s.role < 0 {
				return "", nil
			}
			return string(groups[s.role]), nil
		}
	}
	return "", errors.New("not expected: " + strconv.Quote(string(line)))
}

// readLine returns a line without its end; the last one may have none. What is
// behind [longest] is read and forgotten.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	line = bytes.Clone(line)
	for err == bufio.ErrBufferFull {
		_, err = in.ReadSlice('\n')
	}
	if err != nil && (err != io.EOF || len(line) == 0) {
		if err == io.EOF {
			err = errors.New("it closed the connection")
		}
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
