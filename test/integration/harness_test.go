package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/stage"
)

// controlPlane is a cluster of this test's own that knows the kinds of the Gateway API and of
// Tidegate, with nobody who looks after them yet.
func controlPlane(t *testing.T) *local.Cluster {
	t.Helper()
	log.SetLogger(managerLog("all"))
	cluster := local.ForTest(t, local.Options{})
	if err := cluster.InstallGatewayAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cluster.InstallCRDs(t.Context(), "../../charts/tidegate/resources/crds"); err != nil {
		t.Fatal(err)
	}
	return cluster
}

// onStage raises a stage for this test alone: the chart, a manager process and what is around
// them. If the test fails, it ends with what they have to say.
func onStage(t *testing.T) *play {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	st, err := stage.Up(t.Context(), stage.Options{Root: root, Progress: logWriter{t}})
	if err != nil {
		t.Fatal(err)
	}
	p := &play{T: t, Stage: st}
	t.Cleanup(func() {
		if t.Failed() {
			p.complain()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := st.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// programs builds the CLI and the manager to where stages have them, and returns that directory. What
// is there already and up to date is not linked anew.
func programs(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../.demo/bin")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", dir+string(filepath.Separator), "../../cmd/tidegate", "../../cmd/tidegate-manager")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return dir
}

// brief is the name of a template revision without its digest, such as web-2.
func brief(name string) string {
	template, n, ok := v1alpha1.ParseRevisionName(name)
	if !ok {
		return name
	}
	return fmt.Sprintf("%s-%d", template, n)
}
