package rules

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xlb-io/xlb/pkg/model"
)

const (
	// maxFile bounds a file: a million IPv6 prefixes with comments, and the whole
	// of a city database.
	maxFile = 256 << 20
	// MaxPrefixes is the most that one file of prefixes may hold, and the most
	// that the rules of one service may come to.
	MaxPrefixes = 1 << 20
)

// IsDatabase says whether a file is read as a MaxMind database, by its name.
func IsDatabase(path string) bool { return filepath.Ext(path) == ".mmdb" }

// Read reads a file of prefixes or a database, as its name says.
func Read(path string) (*model.Networks, error) {
	data, info, err := readFile(path)
	if err != nil {
		return nil, err
	}
	out := &model.Networks{Modified: info.ModTime(), Size: info.Size()}
	if IsDatabase(path) {
		if out.Places, err = readPlaces(data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return out, nil
	}
	var line int
	if out.Prefixes, line, err = readPrefixes(data); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", path, line, err)
	}
	return out, nil
}

// readFile reads regular files alone: a pipe would keep whoever reads it waiting.
// What it says of the file is from before.
func readFile(path string) ([]byte, os.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	}
	return data, info, nil
}

// readPrefixes reads a prefix or address a line; "#" and ";" begin comments. It
// returns them sorted, each once, or the line of the first mistake.
func readPrefixes(data []byte) (list []netip.Prefix, line int, err error) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line++
		text := lines.Text()
		if at := strings.IndexAny(text, "#;"); at >= 0 {
			text = text[:at]
		}
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		p, err := ParsePrefix(text)
		if err != nil {
			return nil, line, err
		}
		if len(list) == MaxPrefixes {
			return nil, line, fmt.Errorf("more than %d prefixes", MaxPrefixes)
		}
		list = append(list, p)
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, line + 1, errors.New("the line is far too long for a prefix (is this a list of them?)")
	} else if err != nil {
		return nil, line + 1, err
	}
	slices.SortFunc(list, comparePrefixes)
	return slices.Compact(list), 0, nil
}
