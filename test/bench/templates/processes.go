package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

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
	err = b.measure(processRounds,
		&measured{name: "tidegate render, process", against: "helm template, process", work: program(cli, "render",
			"-f", filepath.Join(b.folder, "template"), "--values", values, "--name", "cart", "--namespace", "shop")},
		&measured{name: "helm template, process", work: program(paths["helm"], "template", "cart",
			filepath.Join(b.folder, "chart"), "--values", values, "--namespace", "shop")},
	)
	if err != nil {
		return err
	}
	// Its module is not offered by the Go module proxy that this was written behind, and
	// nothing is measured that is not pinned and built here.
	b.row("timoni build, process", "-", "-", "not measured: github.com/stefanprodan/timoni did not install from the module proxy (403)")
	return nil
}
