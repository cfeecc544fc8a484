// Package version says which Tidegate this binary is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is set by the linker: -X tidegate.io/tidegate/cmd/internal/version.Version=v1.2.3.
// Without it the module version that the toolchain recorded is used.
var Version = ""

// Info is what the binary knows of itself.
type Info struct {
	// Version is a tag, or dev.
	Version string `json:"version"`
	// Commit is the revision of the source; empty when it was not built from a clone.
	Commit string `json:"commit,omitempty"`
	// Modified is true when the clone had changes that were not committed.
	Modified bool `json:"modified,omitempty"`
	// Go is the version of the toolchain.
	Go string `json:"go"`
	// Platform is OS/architecture.
	Platform string `json:"platform"`
}

// Get returns what the binary knows of itself.
func Get() Info {
	build, _ := debug.ReadBuildInfo()
	return from(Version, build)
}

func from(linked string, build *debug.BuildInfo) Info {
	info := Info{
		Version:  linked,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build != nil {
		if info.Version == "" && build.Main.Version != "(devel)" {
			info.Version = build.Main.Version
		}
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				info.Commit = s.Value
			case "vcs.modified":
				info.Modified = s.Value == "true"
			}
		}
	}
	if info.Version == "" {
		info.Version = "dev"
	}
	return info
}

// String is one line for people.
func (i Info) String() string {
	commit := i.Commit
	if len(commit) > 12 {
		commit = commit[:12]
	}
	if commit == "" {
		commit = "unknown commit"
	}
	if i.Modified {
		commit += ", modified"
	}
	return fmt.Sprintf("%s (%s, %s, %s)", i.Version, commit, i.Go, i.Platform)
}
