package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/xlb-io/xlb/pkg/model"
	"github.com/xlb-io/xlb/pkg/policy"
)

func (e *env) policyCommand() *cli.Command {
	return &cli.Command{
		Name:    "policy",
		Aliases: []string{"policies"},
		Usage:   "write, test, measure and watch Wasm policies",
		Description: "A policy is a WebAssembly module that decides about new flows, weighs backends or probes them.\n" +
			"A bundle is a directory with the manifest policy.yaml, the module, its source and test vectors.\n" +
			"Without PATH the commands take the bundle in the present directory. ls, show, reload and table\n" +
			"ask the running daemon; the others need neither it nor root.",
		UsageText: "xlb policy new --lang go deny-list\nxlb policy build deny-list\nxlb policy test deny-list\n" +
			"xlb policy run deny-list --source 192.0.2.7:4242 --vip 203.0.113.10:80",
		Subcommands: []*cli.Command{
			e.policyNew(), e.policyBuild(), e.policyInspect(), e.policyTest(), e.policyBench(), e.policyRun(),
			e.policyLs(), e.policyShow(), e.policyReload(), e.policyTable(),
		},
	}
}

// policyPath is the bundle that a command is about: that in the present directory if
// none is given.
func policyPath(c *cli.Context) string {
	if path := c.Args().First(); path != "" {
		return path
	}
	return "."
}

// openBundle reads the bundle at path. A wrong manifest counts as wrong
// configuration, a file that is not there as wrong usage.
func openBundle(path string) (*policy.Bundle, error) {
	if err := looksLikeBundle(path); err != nil {
		return nil, err
	}
	b, err := policy.Open(path)
	return b, bundleError(err)
}

// looksLikeBundle refuses files that are neither a manifest nor a module, such as
// those that a shell finds beside bundles.
func looksLikeBundle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return usagef("%v", err)
	}
	defer f.Close()
	magic := make([]byte, 4)
	n, err := io.ReadFull(f, magic)
	isDir := errors.Is(err, unix.EISDIR)
	if ext := filepath.Ext(path); isDir || string(magic[:n]) == "\x00asm" || ext == ".yaml" || ext == ".yml" {
		return nil
	}
	return usagef("%s is no bundle (want a directory with %s, a manifest, or a module)", path, policy.ManifestName)
}

// manifestMistake is how a mistake in a manifest begins: with its place.
var manifestMistake = regexp.MustCompile(`^\S+:\d+:\d+: `)

func bundleError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return usagef("%v", err)
	case manifestMistake.MatchString(err.Error()):
		return &configError{err.Error()}
	}
	return err
}

// bundleFile is a file of a bundle, beside its manifest.
func bundleFile(b *policy.Bundle, name string) string {
	dir := b.Path
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, name)
}

// policySpec is an operator's part of a policy, from the command line.
func policySpec(c *cli.Context, b *policy.Bundle) (model.Policy, error) {
	spec := model.Policy{
		Name: b.Manifest.Name, Path: b.Path, OnError: model.ErrorContinue,
		Tables: map[string]string{}, Subsets: map[string]model.Subset{},
	}
	for _, name := range b.Manifest.Subsets {
		spec.Subsets[name] = model.Subset{Tag: name}
	}
	for _, t := range c.StringSlice("table") {
		name, file, ok := strings.Cut(t, "=")
		if !ok || name == "" || file == "" {
			return spec, usagef("--table %q: want NAME=FILE", t)
		}
		spec.Tables[name] = file
	}
	var err error
	spec.Config, err = jsonArgument(c.String("config"))
	return spec, err
}

func policyConfigFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "the policy's configuration: `JSON|@FILE`"}
}

func policyTableFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "table", Usage: "fill a look-up table, repeatable: `NAME=FILE`"}
}

// jsonArgument is a JSON document, or that in the file named after "@".
func jsonArgument(value string) (json.RawMessage, error) {
	text := []byte(value)
	what := "--config"
	if file, ok := strings.CutPrefix(value, "@"); ok {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return nil, usagef("cannot read the policy's configuration: %v", err)
		}
		what = file
	} else if value == "" {
		return nil, nil
	}
	if !json.Valid(text) {
		return nil, usagef("%s is not JSON (for example '{\"limit\": 3}', or @FILE)", what)
	}
	return text, nil
}

// withPolicy calls f with the loaded policy. What it logs goes to standard error.
func (e *env) withPolicy(ctx context.Context, b *policy.Bundle, spec model.Policy, f policyAction) error {
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r, err := policy.NewRuntime(ctx, policy.Options{Log: log, Clock: e.now})
	if err != nil {
		return err
	}
	defer r.Close(context.WithoutCancel(ctx))
	p, err := r.LoadBundle(ctx, b, spec)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	}
	defer p.Close(context.WithoutCancel(ctx))
	return f(ctx, p)
}
