package discovery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
)

// fileReread is how often files are read though nothing was heard of them:
// network file systems tell nothing of what other hosts do.
const fileReread = 10 * time.Second

// fileSource reads a file, or the files of a directory, whenever they change.
type fileSource struct {
	path string
	base model.Backend
	// broken is what was read when the last run failed.
	broken [sha256.Size]byte
}

func newFile(s model.Source) Source { return &fileSource{path: s.File.Path, base: s.Backend} }

func (f *fileSource) String() string { return f.path }

func (f *fileSource) Run(ctx context.Context, emit Emit) error {
	w, err := watchPath(f.path)
	if err != nil {
		return err
	}
	defer w.close()
	for {
		files, err := f.read()
		var backends []model.Backend
		var warnings []string
		if err == nil {
			backends, warnings, err = f.parse(files)
		}
		if err != nil {
			f.broken = fingerprint(files, err)
			return err
		}
		emit(backends, warnings...)
		w.wait(ctx, fileReread)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// pause waits until the files differ from what could not be understood.
func (f *fileSource) pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	w, err := watchPath(f.path)
	if err != nil {
		<-ctx.Done()
		return
	}
	defer w.close()
	for ctx.Err() == nil && fingerprint(f.read()) == f.broken {
		w.wait(ctx, d)
	}
}

// content is what one file holds.
type content struct {
	name string
	data []byte
}

// read returns the file, or those of the directory sorted by name.
func (f *fileSource) read() ([]content, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		data, err := readLimited(f.path)
		return []content{{f.path, data}}, err
	}
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, err
	}
	files := []content{}
	for _, e := range entries {
		name := filepath.Join(f.path, e.Name())
		if strings.HasPrefix(e.Name(), ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
			continue // Kubernetes keeps the files in ..data, and links to them
		}
		data, err := readLimited(name)
		if err != nil {
			return nil, err
		}
		files = append(files, content{name, data})
	}
	return files, nil
}

func readLimited(name string) ([]byte, error) {
	// To open a named pipe waits for its writer, perhaps for ever.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, err
	}
	return data, nil
}

// parse reads what the files hold. One that cannot be understood makes all of
// them doubtful.
func (f *fileSource) parse(files []content) (all []model.Backend, warnings []string, err error) {
	var errs []error
	for _, one := range files {
		backends, w, err := parseDocument(one.name, one.data, filepath.Ext(one.name) != ".json", f.base)
		all, warnings, errs = append(all, backends...), append(warnings, w...), append(errs, err)
	}
	return all, warnings, errors.Join(errs...)
}

func fingerprint(files []content, err error) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, one := range files {
		fmt.Fprintf(h, "%q %d ", one.name, len(one.data))
		h.Write(one.data)
	}
	if files == nil {
		fmt.Fprint(h, err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
