package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestTheVersionComesFromTheLinkerThenFromTheModule(t *testing.T) {
	t.Parallel()
	module := func(v string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: v}, Settings: settings}
	}
	cases := map[string]struct {
		linked string
		build  *debug.BuildInfo
		want   string
	}{
		"linked":           {"v1.2.3", module("v0.0.1"), "v1.2.3 (unknown commit, "},
		"installed":        {"", module("v0.0.1"), "v0.0.1 ("},
		"a plain build":    {"", module("(devel)"), "dev ("},
		"no build info":    {"", nil, "dev ("},
		"a modified clone": {"", module("", debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "dev (0123456789ab, modified, "},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := from(tc.linked, tc.build).String(); !strings.HasPrefix(got, tc.want) {
				t.Errorf("%q does not begin with %q", got, tc.want)
			}
		})
	}
	if Get().Go == "" || Get().Version == "" {
		t.Errorf("%+v", Get())
	}
}
