// Command demo plays the main job of Tidegate on a local cluster: a template, a good release that
// is promoted, a bad one that is caught and rolled back, and attempts to go around the flow that
// are refused. Each command is printed before it runs and its real output after. It exits 0
// only if each outcome was what the story says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tidegate.io/tidegate/test/stage"
)

// limit bounds the whole demo, first builds included.
const limit = 40 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	code := run(ctx)
	cancel()
	stop()
	os.Exit(code)
}

func run(ctx context.Context) int {
	s := &story{out: os.Stdout, start: time.Now(), color: colorful()}
	root, err := moduleRoot(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	s.act("Setting the stage")
	st, err := stage.Up(ctx, stage.Options{Root: root, Progress: os.Stdout})
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	d := &demo{story: s, stage: st}
	played := d.play(ctx)
	if os.Getenv("DEMO_KEEP") != "" && ctx.Err() == nil {
		d.keep(ctx)
	}
	// An interrupt ended ctx; what was started is stopped all the same.
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := errors.Join(played, st.Down(down)); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	if s.failed() > 0 {
		return 1
	}
	return 0
}

// keep leaves everything running until an interrupt.
func (d *demo) keep(ctx context.Context) {
	d.act("Left running")
	d.printf("  export KUBECONFIG=%s        # the cluster's administrator\n", d.stage.Cluster.Kubeconfig())
	if alice, err := d.stage.Kubeconfig(stage.Team); err == nil {
		d.printf("  export KUBECONFIG=%s        # alice, of the team\n", alice)
	}
	kubectl, err := d.stage.Cluster.BinaryPath(ctx, "kubectl")
	if err == nil {
		d.printf("  export PATH=%s:%s:$PATH\n", d.stage.BinaryDir(), filepath.Dir(kubectl))
	}
	d.printf("  curl -H 'Host: cart.shop.example' %s\n", d.stage.Cluster.GatewayURL())
	d.printf("  Prometheus: %s\n", d.stage.Cluster.PrometheusURL())
	d.printf("\nPress Ctrl-C to stop it all.\n")
	<-ctx.Done()
}

func colorful() bool {
	if os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the root of the checkout: %w; run it from there, with make demo", err)
	}
	return strings.TrimSpace(string(out)), nil
}
