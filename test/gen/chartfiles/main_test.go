package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheChartsCopiesAreAsTheirOriginals(t *testing.T) {
	t.Parallel()
	if err := run("../../..", true); err != nil {
		t.Error(err)
	}
}

func TestCopiesFollowTheirOriginals(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write := func(path, content string) {
		t.Helper()
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(root, false); err == nil {
		t.Error("a repository without originals was accepted")
	}
	for _, c := range copies {
		write(strings.ReplaceAll(c.pattern, "*", "any"), "there")
	}
	for _, template := range []string{"grpc", "job", "stateful", "web", "web-bluegreen", "worker"} {
		write("schemas/templates/"+template+"/"+template+".cue", "one")
	}
	write("schemas/cue/kit/kit.cue", "helpers")
	write("policies/library/image-registries/image_registries.rego", "two")
	write("policies/library/image-registries/image_registries_test.rego", "not copied")
	write("charts/tidegate/files/templates/web/old.cue", "gone")
	write("schemas/templates/cue.mod/pkg/tidegate.io/kit/older.cue", "gone")
	err := run(root, true)
	for _, differs := range []string{"old.cue", "older.cue", "web/web.cue", "kit/kit.cue"} {
		if err == nil || !strings.Contains(err.Error(), differs) {
			t.Errorf("wanted the check to name %s, got %v", differs, err)
		}
	}
	if err := run(root, false); err != nil {
		t.Fatal(err)
	}
	if err := run(root, true); err != nil {
		t.Errorf("check after the copy: %v", err)
	}
	got, err := os.ReadFile(filepath.Join(root, "charts/tidegate/files/policies/image-registries/image_registries.rego"))
	if err != nil || string(got) != "two" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(root, "charts/tidegate/files/policies/image-registries/image_registries_test.rego")); err == nil {
		t.Error("a test was copied")
	}
}
