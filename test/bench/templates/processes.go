package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tidegate.io/tidegate/test/cluster/binaries"
)

// processes renders the service once for each process, as a build does.
func (b *bench) processes(ctx context.Context) error {
	work, err := os.MkdirTemp("", "tidegate-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	cli := filepath.Join(work, "tidegate")
	build := exec.CommandContext(ctx, "go", "build", "-o", cli, "./cmd/tidegate")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the CLI: %w\n%s", err, out)
	}
	paths, err := binaries.Build(ctx, os.Stderr, "helm")
	if err != nil {
		return err
	}
	values := filepath.Join(b.folder, "values.yaml")
	program := func(name string, args ...string) func() error {
		return func() error {
			var out, complaints bytes.Buffer
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.Env = []string{"HOME=" + work, "PATH=" + os.Getenv("PATH")}
			cmd.Stdout, cmd.Stderr = &out, &complaints
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("running it: %w\n%s", err, complaints.Bytes())
			}
			if !bytes.Contains(out.Bytes(), []byte("HTTPRoute")) {
				return fmt.Errorf("running it: wanted the service's objects, found:\n%s", out.Bytes())
			}
			return nil
		}
	}
	helm := &measured{name: "helm template of such a chart, process", work: program(paths["helm"], "template", "cart",
		filepath.Join(b.folder, "chart"), "--values", values, "--namespace", "shop")}
	ours := &measured{name: "tidegate render, process", against: helm, work: program(cli, "render",
		"-f", filepath.Join(b.folder, "template"), "--values", values, "--name", "cart", "--namespace", "shop")}
	return b.table.measure(processRounds, 1, ours, helm)
}

const (
	timoniModule = "github.com/stefanprodan/timoni"
	// timoniPatience is how long its module may take to come.
	timoniPatience = 20 * time.Second
)

// timoni says whether timoni could be measured: nothing is that is not built here.
func timoni(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, timoniPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", timoniModule+"@latest")
	cmd.Dir = os.TempDir() // outside of this module, which must not come to depend on it
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	var said struct{ Version, Error string }
	switch {
	case ctx.Err() != nil:
		return fmt.Sprintf("timoni build: not measured; its module did not come within %s", timoniPatience)
	case json.Unmarshal(out, &said) == nil && said.Error != "":
		return "timoni build: not measured; asking for its module now: " + said.Error
	case err != nil:
		return "timoni build: not measured; asking for its module now: " + strings.Join(strings.Fields(string(out)), " ")
	}
	return fmt.Sprintf("timoni build: not measured; its module %s can be had now, but there is no timoni module of this service here", said.Version)
}
