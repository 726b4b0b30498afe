package main

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// version is set by the linker (-X main.version=v1.2.3) for releases.
var version string

// buildVersion is the release, else the module's version, else the commit.
func buildVersion() (release, commit string) {
	release = version
	info, ok := debug.ReadBuildInfo()
	if ok && release == "" && info.Main.Version != "(devel)" {
		release = info.Main.Version
	}
	modified := false
	if ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				commit = s.Value
			case "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	if commit != "" && modified {
		commit += "+changes"
	}
	if release == "" {
		release = "unreleased"
	}
	return release, commit
}

func (e *env) versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print the version of xlb, Go and the kernel",
		Description: "The figures to put into a bug report.",
		UsageText:   "xlb version --json",
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			release, commit := buildVersion()
			v := struct {
				Version  string `json:"version"`
				Commit   string `json:"commit,omitempty"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
				Kernel   string `json:"kernel"`
			}{release, commit, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, kernelRelease()}
			if c.Bool("json") {
				return e.printJSON(v)
			}
			e.printf("xlb %s", v.Version)
			if commit != "" {
				e.printf(" (%s)", commit)
			}
			e.printf("\n%s %s\nLinux %s\n", v.Go, v.Platform, v.Kernel)
			return nil
		},
	}
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
