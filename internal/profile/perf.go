package profile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// sampler is perf, which looks at this process by the timer.
type sampler struct {
	command *exec.Cmd
	errors  bytes.Buffer
	file    string
}

// frequency is samples a second of each thread that runs.
const frequency = 10_000

func startSampler(dir string) (*sampler, error) {
	s := &sampler{file: filepath.Join(dir, "perf.data")}
	s.command = exec.Command("perf", "record", "-q", "-e", "cpu-clock", "-F", strconv.Itoa(frequency), "-g",
		"-p", strconv.Itoa(os.Getpid()), "-o", s.file)
	s.command.Stderr = &s.errors
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start perf (Debian: linux-perf): %w", err)
	}
	return s, nil
}

// stop ends the looking. perf writes what it saw when it is interrupted.
func (s *sampler) stop() error {
	if err := s.command.Process.Signal(os.Interrupt); err != nil {
		return errors.Join(fmt.Errorf("stop perf: %w", err), s.command.Wait())
	}
	kill := time.AfterFunc(time.Minute, func() { s.command.Process.Kill() })
	defer kill.Stop()
	err := s.command.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status := exit.Sys().(interface{ Signaled() bool }); status.Signaled() {
			return nil // it ends by the signal that we sent
		}
	}
	if err != nil {
		return fmt.Errorf("perf record: %w: %s", err, strings.TrimSpace(s.errors.String()))
	}
	return nil
}

// samples calls f with the addresses of each sample, the innermost first.
func (s *sampler) samples(ctx context.Context, f func(chain []uint64)) error {
	command := exec.CommandContext(ctx, "perf", "script", "-i", s.file, "-F", "ip")
	var failed bytes.Buffer
	command.Stderr = &failed
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start perf: %w", err)
	}
	var chain []uint64
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		field := strings.TrimSpace(lines.Text())
		if field == "" {
			if len(chain) > 0 {
				f(chain)
			}
			chain = chain[:0]
			continue
		}
		at, err := strconv.ParseUint(field, 16, 64)
		if err != nil {
			command.Process.Kill()
			return errors.Join(fmt.Errorf("perf script printed %q, not an address", field), command.Wait())
		}
		chain = append(chain, at)
	}
	if len(chain) > 0 {
		f(chain)
	}
	if err := errors.Join(lines.Err(), command.Wait()); err != nil {
		return fmt.Errorf("perf script: %w: %s", err, strings.TrimSpace(failed.String()))
	}
	return nil
}
