package binaries

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// module writes a nested module whose program prints greeting.
func module(t *testing.T, greeting string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "go.mod", "module example.test/hello\n\ngo 1.26.0\n\nrequire (\n\texample.test/pin v1.2.3 // indirect\n)\n")
	write(t, dir, "main.go", "package main\n\nvar version string\n\nfunc main() { println(\""+greeting+"\", version) }\n")
	return dir
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func hello(source, cache string, progress *bytes.Buffer) builder {
	p := program{name: "hello", module: "hello", pkg: ".", pin: "example.test/pin"}
	return builder{program: p, source: source, cache: cache, progress: progress}
}

func TestParallelCallersBuildOnce(t *testing.T) {
	source, cache := module(t, "hi"), t.TempDir()
	logs := make([]bytes.Buffer, 4)
	paths := make([]string, len(logs))
	var wg sync.WaitGroup
	for i := range logs {
		wg.Go(func() {
			var err error
			if paths[i], err = hello(source, cache, &logs[i]).ensure(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	started := 0
	for i := range logs {
		started += strings.Count(logs[i].String(), "building hello v1.2.3")
		if paths[i] != paths[0] {
			t.Errorf("two paths for one program: %s and %s", paths[0], paths[i])
		}
	}
	if started != 1 {
		t.Errorf("built %d times, want once", started)
	}
	out, err := exec.CommandContext(t.Context(), paths[0]).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "hi") {
		t.Errorf("the program says %q, %v", out, err)
	}
	if left, _ := filepath.Glob(paths[0] + ".tmp*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestADifferentInputIsADifferentPlace(t *testing.T) {
	source := module(t, "hi")
	digest := func(flags ...string) string {
		d, err := hello(source, "", nil).digest(t.Context(), flags)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest("-s")
	if again := digest("-s"); again != first {
		t.Errorf("the same input gave %s, then %s", first, again)
	}
	if digest("-w") == first {
		t.Error("another flag gave the same place")
	}
	write(t, source, "main_test.go", "package main\n")
	if digest("-s") != first {
		t.Error("a test file is not part of the program")
	}
	write(t, source, "go.sum", "example.test/pin v1.2.3 h1:x\n")
	if digest("-s") == first {
		t.Error("another go.sum gave the same place")
	}
}

func TestABrokenBuildSaysWhatAndLeavesNothing(t *testing.T) {
	source, cache := module(t, "hi"), t.TempDir()
	write(t, source, "broken.go", "package main\n\nvar x = undefinedName\n")
	_, err := hello(source, cache, new(bytes.Buffer)).ensure(t.Context())
	if err == nil || !strings.Contains(err.Error(), "undefinedName") || !strings.Contains(err.Error(), "building hello v1.2.3") {
		t.Errorf("got %v, want the compiler's words under the program's name", err)
	}
	if files, _ := filepath.Glob(filepath.Join(cache, "bin", "*", "hello*")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestACanceledBuildEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hello(module(t, "hi"), t.TempDir(), new(bytes.Buffer)).ensure(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a canceled build", err)
	}
}

func TestEveryProgramHasAPin(t *testing.T) {
	for _, name := range Names() {
		v, err := Version(name)
		if err != nil || !strings.HasPrefix(v, "v") {
			t.Errorf("%s: version %q, %v", name, v, err)
		}
	}
	if _, err := Version("docker"); err == nil || !strings.Contains(err.Error(), "want one of etcd, kube-apiserver") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestKubernetesIsStampedWithItsVersion(t *testing.T) {
	got := strings.Join(kubernetes("kubectl").flags("v1.37.2"), " ")
	for _, want := range []string{"version.gitVersion=v1.37.2 ", "version.gitMajor=1 ", "version.gitMinor=37"} {
		if !strings.Contains(got, want) {
			t.Errorf("flags %q lack %q", got, want)
		}
	}
}

func TestOutsideTheRepositoryTheErrorSaysWhatToDo(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := Root(); err == nil || !strings.Contains(err.Error(), "run this from inside a clone") {
		t.Errorf("got %v", err)
	}
}
