package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/xlb-io/xlb/pkg/config"
	"github.com/xlb-io/xlb/pkg/control"
	"github.com/xlb-io/xlb/pkg/model"
)

func (e *env) checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "validate a configuration file",
		Description: "Reads the file as the daemon would and reports every mistake with line and column.\n" +
			"FILE - is standard input. Nothing is changed. Exit status 2 if there is a mistake.",
		UsageText: "xlb check -c xlb.yaml\nxlb check xlb.yaml",
		ArgsUsage: "[FILE]",
		Flags:     []cli.Flag{configFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			path := c.Path("config")
			if c.Args().Present() {
				if typed(c, "config") {
					return usagef("give the file once: as argument or with --config")
				}
				path = c.Args().First()
			}
			cfg, err := e.loadConfig(c.Context, path)
			result := checkResult{File: path, Valid: err == nil, Errors: []mistake{}}
			if err == nil {
				err = e.checkPolicies(c.Context, path, cfg)
				result.Valid = err == nil
				result.Services, result.Backends = countBackends(cfg)
				result.Sources = countSources(cfg)
			}
			if !c.Bool("json") {
				if err != nil {
					return err
				}
				e.printf("ok: %s, %s", plural(result.Services, "service"), plural(result.Backends, "backend"))
				if result.Sources > 0 {
					e.printf(", %s", plural(result.Sources, "source"))
				}
				e.printf("\n")
				return nil
			}
			var mistakes config.Errors
			if err != nil && !errors.As(err, &mistakes) && !errors.As(err, new(*control.PolicyError)) {
				return err
			}
			if p, ok := errors.AsType[*control.PolicyError](err); ok {
				result.Errors = append(result.Errors, mistake{Message: p.Error()})
			}
			for _, m := range mistakes {
				result.Errors = append(result.Errors, mistake{m.Line, m.Column, m.Message, m.Hint})
			}
			return errors.Join(e.printJSON(result), err)
		},
	}
}

type checkResult struct {
	File     string    `json:"file"`
	Valid    bool      `json:"valid"`
	Services int       `json:"services"`
	Backends int       `json:"backends"`
	Sources  int       `json:"sources"`
	Errors   []mistake `json:"errors"`
}

type mistake struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// loadConfig reads the file at path, or standard input if it is "-". A file
// that is not there counts as wrong configuration.
func (e *env) loadConfig(ctx context.Context, path string, options ...config.Option) (*model.Config, error) {
	if path == "-" {
		data, err := io.ReadAll(e.input(ctx))
		if err != nil {
			return nil, fmt.Errorf("cannot read the configuration from standard input: %w", err)
		}
		return config.Parse("stdin", data, options...)
	}
	cfg, err := config.Load(path, options...)
	switch {
	case err == nil:
		return cfg, nil
	case errors.Is(err, fs.ErrNotExist) && path == defaultConfig:
		return nil, usagef("there is no %s (name the configuration with --config FILE)", path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("there is no configuration file %s", path)
	case !errors.As(err, new(config.Errors)):
		return nil, usagef("%v", err)
	}
	return nil, err
}

// checkPolicies loads what the configuration names, as a daemon would.
func (e *env) checkPolicies(ctx context.Context, path string, cfg *model.Config) error {
	if err := control.CheckPolicies(ctx, cfg, slog.New(slog.DiscardHandler)); err != nil {
		return &control.PolicyError{Err: fmt.Errorf("%s: %w", path, err)}
	}
	return nil
}

func countSources(cfg *model.Config) (sources int) {
	for _, s := range cfg.Services {
		sources += len(s.Sources)
	}
	return sources
}

func countBackends(cfg *model.Config) (services, backends int) {
	for _, s := range cfg.Services {
		backends += len(s.Backends)
	}
	return len(cfg.Services), backends
}
