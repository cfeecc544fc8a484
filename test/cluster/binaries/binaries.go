// Package binaries builds the programs of a local cluster from the nested Go modules beside it,
// once, into the user's cache directory. Each module pins one program's version in its go.mod and
// go.sum; a changed pin, build flag or Go version gives a new directory and never touches an old one.
//
// Parallel callers, also in other processes, build each program once: the first builds, the others
// wait for it.
package binaries

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"tidegate.io/tidegate/test/cluster/flock"
)

// Path inside the repository that holds the nested modules.
const modules = "test/cluster/binaries"

// A program is one binary: where its source is and how it is built.
type program struct {
	name   string
	module string // directory of the nested module
	pkg    string // what to build inside it
	pin    string // module path whose required version is the program's version; empty: unversioned
	tags   string
	// stamp is a module path prefix of version variables to set, as Kubernetes wants them.
	stamp string
}

var programs = []program{
	{name: "etcd", module: "etcd", pkg: ".", pin: "go.etcd.io/etcd/server/v3"},
	kubernetes("kube-apiserver"),
	kubernetes("kube-controller-manager"),
	kubernetes("kube-scheduler"),
	kubernetes("kubectl"),
	{name: "kwok", module: "kwok", pkg: "sigs.k8s.io/kwok/cmd/kwok", pin: "sigs.k8s.io/kwok"},
	// Of Prometheus' service discoveries only Kubernetes': the others bring a cloud SDK each.
	{
		name: "prometheus", module: "prometheus", pkg: "github.com/prometheus/prometheus/cmd/prometheus",
		pin: "github.com/prometheus/prometheus", tags: "remove_all_sd,enable_kubernetes_sd",
	},
	{name: "helm", module: "helm", pkg: "helm.sh/helm/v4/cmd/helm", pin: "helm.sh/helm/v4"},
	{name: "gateway", module: "gateway", pkg: ".", pin: "github.com/traefik/traefik/v3"},
}

func kubernetes(name string) program {
	return program{
		name: name, module: "kubernetes", pkg: "k8s.io/kubernetes/cmd/" + name,
		pin: "k8s.io/kubernetes", stamp: "k8s.io/component-base/version",
	}
}

// Names returns the names of all programs, in the order in which they are best built.
func Names() []string {
	names := make([]string, 0, len(programs))
	for _, p := range programs {
		names = append(names, p.name)
	}
	return names
}

// Version returns the pinned version of a program, such as v1.37.2.
func Version(name string) (string, error) {
	p, err := find(name)
	if err != nil {
		return "", err
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	return p.version(filepath.Join(root, modules, p.module))
}

// Build makes sure that the named programs are built and returns the path of each. What has to be
// built is announced on progress, a line at the start and the end of each and one now and then in
// between, since the first build takes minutes.
func Build(ctx context.Context, progress io.Writer, names ...string) (map[string]string, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	paths := make(map[string]string, len(names))
	for _, name := range names {
		p, err := find(name)
		if err != nil {
			return nil, err
		}
		b := builder{program: p, source: filepath.Join(root, modules, p.module), cache: cache, progress: progress}
		if paths[name], err = b.ensure(ctx); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// CacheDir returns the directory below which everything of local clusters is kept:
// $XDG_CACHE_HOME/tidegate, by default ~/.cache/tidegate.
func CacheDir() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding a cache directory (set XDG_CACHE_HOME or HOME): %w", err)
		}
		base = filepath.Join(home, ".cache")
	}
	if !filepath.IsAbs(base) {
		return "", fmt.Errorf("cache directory %q is relative: set XDG_CACHE_HOME to an absolute path", base)
	}
	return filepath.Join(base, "tidegate"), nil
}

var moduleLine = regexp.MustCompile(`(?m)^module\s+tidegate\.io/tidegate\s*$`)

// Root returns the root of the repository: the nearest directory, from the current one up, whose
// go.mod is Tidegate's own. Tests run in the directory of their package, so that it is always above.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && moduleLine.Match(b) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no Tidegate repository at or above %s: the cluster's programs are built from "+
				"%s in it; run this from inside a clone", start, modules)
		}
	}
}

func find(name string) (program, error) {
	i := slices.IndexFunc(programs, func(p program) bool { return p.name == name })
	if i < 0 {
		return program{}, fmt.Errorf("no program %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	return programs[i], nil
}

// version reads the pinned version from the nested go.mod.
func (p program) version(source string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("reading the pin of %s: %w", p.name, err)
	}
	re := regexp.MustCompile(`(?m)^(?:require)?\s*` + regexp.QuoteMeta(p.pin) + `\s+(v\S+)`)
	m := re.FindSubmatch(mod)
	if m == nil {
		return "", fmt.Errorf("reading the pin of %s: %s does not require %s", p.name, filepath.Join(source, "go.mod"), p.pin)
	}
	return string(m[1]), nil
}

// flags returns the arguments of go build, without -o and the package.
func (p program) flags(version string) []string {
	ldflags := []string{"-s", "-w"}
	if p.stamp != "" {
		major, minor, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
		minor, _, _ = strings.Cut(minor, ".")
		for _, kv := range []string{"gitVersion=" + version, "gitMajor=" + major, "gitMinor=" + minor} {
			ldflags = append(ldflags, "-X", p.stamp+"."+kv)
		}
	}
	// No VCS stamp: it would need a usable git and make each commit a new link.
	flags := []string{"-buildvcs=false", "-ldflags", strings.Join(ldflags, " ")}
	if p.tags != "" {
		flags = append(flags, "-tags", p.tags)
	}
	return flags
}

// builder builds one program.
type builder struct {
	program
	source   string // directory of the nested module
	cache    string
	progress io.Writer
}

func (b builder) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.progress, format+"\n", args...)
}

func (b builder) ensure(ctx context.Context) (string, error) {
	version, err := b.version(b.source)
	if err != nil {
		return "", err
	}
	flags := b.flags(version)
	digest, err := b.digest(ctx, flags)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, "bin", digest)
	path := filepath.Join(dir, b.name)
	if built(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the cache of %s: %w", b.name, err)
	}
	lock, err := flock.Wait(ctx, filepath.Join(dir, "."+b.name+".lock"), func() {
		b.say("waiting for another process that builds %s", b.name)
	})
	if err != nil {
		return "", fmt.Errorf("locking the build of %s: %w", b.name, err)
	}
	defer lock.Release()
	if built(path) { // by the one we waited for
		return path, nil
	}
	if err := b.build(ctx, version, path, flags); err != nil {
		return "", err
	}
	return path, nil
}

// build compiles to a temporary name first, so that a path that exists is a program that is whole.
func (b builder) build(ctx context.Context, version, path string, flags []string) error {
	// We hold the lock: what an earlier, killed build left behind is nobody's.
	if left, err := filepath.Glob(path + ".tmp*"); err == nil {
		for _, l := range left {
			_ = os.Remove(l)
		}
	}
	tmp := fmt.Sprintf("%s.tmp%d", path, os.Getpid())
	defer os.Remove(tmp) //nolint:errcheck // gone after the rename
	what := b.name + " " + version
	b.say("building %s (first time only, may take minutes)", what)
	start := time.Now()
	stop := b.report(what, start)
	args := slices.Concat([]string{"build"}, flags, []string{"-o", tmp, b.pkg})
	out, err := b.run(ctx, args...)
	stop()
	if err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", what, b.source, err, tail(out, 4<<10))
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("installing %s: %w", what, err)
	}
	b.say("built %s in %s", what, time.Since(start).Round(time.Second))
	return nil
}

// report says every now and then that a build goes on, until stop is called.
func (b builder) report(what string, start time.Time) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				b.say("  still building %s, %s so far", what, time.Since(start).Round(time.Second))
			}
		}
	}()
	return func() { close(done); <-ended }
}

// digest names the directory of what these inputs give: every file of the nested module, the flags,
// the Go version and the platform.
func (b builder) digest(ctx context.Context, flags []string) (string, error) {
	goVersion, err := b.run(ctx, "env", "GOVERSION")
	if err != nil {
		return "", fmt.Errorf("asking for the version of Go (is go in PATH?): %w\n%s", err, tail(goVersion, 1<<10))
	}
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s %s/%s %q\n", bytes.TrimSpace(goVersion), runtime.GOOS, runtime.GOARCH, flags)
	err = filepath.WalkDir(b.source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(b.source, path)
		_, _ = fmt.Fprintf(h, "%s %d\n%s", rel, len(content), content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the source of %s: %w", b.name, err)
	}
	return b.module + "-" + hex.EncodeToString(h.Sum(nil))[:16], nil
}

// run runs go in the nested module and returns its output. A workspace file, and cgo, which would
// need a C compiler and give another build cache, are none of the module's business.
func (b builder) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out, err
}

func built(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

func tail(b []byte, limit int) []byte {
	b = bytes.TrimSpace(b)
	if len(b) > limit {
		b = append([]byte("..."), b[len(b)-limit:]...)
	}
	return b
}
