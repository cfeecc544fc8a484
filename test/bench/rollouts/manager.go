package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidegate.io/tidegate/test/cluster/proc"
	"tidegate.io/tidegate/test/stage"
)

// manager is the real binary in a process of its own.
type manager struct {
	process *proc.Process
	limits  limits
	// began is when the process was started.
	began   time.Time
	health  string
	metrics string
	pprof   string
}

// limits are what a manager may ask of the API server; zero is its own default.
type limits struct {
	qps, burst, concurrency int
}

// args are the flags for the limits that are not the defaults.
func (l limits) args() []string {
	var out []string
	for _, f := range []struct {
		flag  string
		value int
	}{{"--kube-api-qps", l.qps}, {"--kube-api-burst", l.burst}, {"--concurrency", l.concurrency}} {
		if f.value > 0 {
			out = append(out, f.flag, strconv.Itoa(f.value))
		}
	}
	return out
}

func (l limits) String() string {
	if args := l.args(); len(args) > 0 {
		return strings.Join(args, " ")
	}
	return "default limits"
}

// passedOn are variables of the environment that the manager gets, to try them out.
var passedOn = []string{"GOGC", "GOMEMLIMIT", "GOMAXPROCS"}

// startManager starts the binary with the limits and returns when it is ready.
func (w *world) startManager(ctx context.Context, l limits) (*manager, error) {
	config, err := w.stage.Cluster.ServiceAccountKubeconfig(ctx, stage.ManagerNamespace, "tidegate-manager")
	if err != nil {
		return nil, err
	}
	webhook, err := url.Parse(w.stage.WebhookURL())
	if err != nil {
		return nil, fmt.Errorf("reading the address of the webhook: %w", err)
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	m := &manager{limits: l, health: "http://" + at(w.ports[0]) + "/readyz", metrics: "http://" + at(w.ports[1]) + "/metrics", pprof: "http://" + at(w.ports[2]) + "/debug/pprof"}
	env := []string{"POD_UID=" + strconv.Itoa(w.pod), "PATH=/usr/bin:/bin", "HOME=" + w.stage.Cluster.Dir(), "TMPDIR=" + w.stage.Cluster.Dir()}
	for _, name := range passedOn {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	m.began = time.Now()
	m.process, err = proc.Start(proc.Spec{
		Path: w.stage.Binary("tidegate-manager"),
		Args: append([]string{
			"--kubeconfig", config, "--namespace", stage.ManagerNamespace,
			"--webhook-url", w.stage.WebhookURL(), "--webhook-port", webhook.Port(),
			"--health-probe-bind-address", at(w.ports[0]), "--metrics-bind-address", at(w.ports[1]), "--pprof-bind-address", at(w.ports[2]),
			"--shutdown-delay", "500ms",
		}, l.args()...),
		Env: env, Dir: w.stage.Cluster.Dir(), LogPath: w.stage.ManagerLog(),
	})
	if err != nil {
		return nil, err
	}
	w.manager = m
	return m, await(ctx, "the manager to be ready; its log is "+w.stage.ManagerLog(), time.Minute, func() (bool, error) { return m.ready(ctx) })
}

// stopManager asks the manager to end, as a kubelet does.
func (w *world) stopManager(ctx context.Context) error {
	if w.manager == nil {
		return nil
	}
	m := w.manager
	w.manager = nil
	return m.process.Stop(ctx, 30*time.Second)
}

// killManager ends the manager as a lost node does: nothing is finished, and the lease stays taken.
func (w *world) killManager(ctx context.Context) error {
	m := w.manager
	w.manager = nil
	return m.process.Identity().Kill(ctx)
}

// restart replaces the manager.
func (w *world) restart(ctx context.Context, l limits) (*manager, error) {
	if err := w.stopManager(ctx); err != nil {
		return nil, err
	}
	return w.startManager(ctx, l)
}

func (m *manager) ready(ctx context.Context) (bool, error) {
	select {
	case <-m.process.Done():
		return false, fmt.Errorf("the manager ended: %w", m.process.Err())
	default:
	}
	err := fetch(ctx, m.health, func(io.Reader) error { return nil })
	return err == nil, nil
}

// used is what the manager has taken of the machine so far.
type used struct {
	// Processor is of the manager and its workers.
	Processor time.Duration
	// memory is that of the manager alone, Workers what its workers, which share its program's pages, have besides in bytes.
	memory
	Workers int64
}

// used reads it from /proc.
func (m *manager) used() (used, error) {
	pid := m.process.Identity().PID
	var u used
	children, err := childrenOf(pid)
	if err != nil {
		return u, err
	}
	for _, each := range append([]int{pid}, children...) {
		took, err := processorOf(each)
		switch {
		case errors.Is(err, os.ErrNotExist) && each != pid:
			continue // a worker that was replaced just now
		case err != nil:
			return u, err
		}
		u.Processor += took
		held, err := memoryOf(each)
		switch {
		case each == pid && err != nil:
			return u, err
		case each == pid:
			u.memory = held
		case err == nil:
			u.Workers += held.Own
		}
	}
	return u, nil
}

// tick is the unit of times in /proc, the same on all of Linux's platforms that Go knows.
const tick = time.Second / 100

// Places of fields in /proc/PID/stat, counted after the name, which may hold spaces.
const (
	fieldParent = 1
	fieldUser   = 11
	fieldSystem = 12
	// Of children that have ended.
	fieldChildrenUser   = 13
	fieldChildrenSystem = 14
)

func statOf(pid int) ([]string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, fmt.Errorf("reading what a process has used: %w", err)
	}
	_, rest, ok := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) <= fieldChildrenSystem {
		return nil, fmt.Errorf("reading what process %d has used: wanted its fields, found %q", pid, raw)
	}
	return fields, nil
}

func processorOf(pid int) (time.Duration, error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, i := range []int{fieldUser, fieldSystem, fieldChildrenUser, fieldChildrenSystem} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading what process %d has used: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// childrenOf are the processes whose parent is pid.
func childrenOf(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, fmt.Errorf("looking for the workers: %w", err)
	}
	var out []int
	for _, path := range stats {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		fields, err := statOf(child)
		if err == nil && fields[fieldParent] == strconv.Itoa(pid) {
			out = append(out, child)
		}
	}
	slices.Sort(out)
	return out, nil
}

// memory of a process in bytes: what is resident now, how much of that is its own and no part of
// a file such as its program, and what was resident at most.
type memory struct{ Resident, Own, Peak int64 }

func memoryOf(pid int) (memory, error) {
	var m memory
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, fmt.Errorf("reading the memory of a process: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	in := bufio.NewScanner(f)
	for in.Scan() {
		name, rest, _ := strings.Cut(in.Text(), ":")
		number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			m.Resident = n << 10
		case name == "RssAnon":
			m.Own = n << 10
		case name == "VmHWM":
			m.Peak = n << 10
		}
	}
	if m.Resident == 0 || m.Own == 0 || m.Peak == 0 {
		return m, fmt.Errorf("reading the memory of process %d: wanted VmRSS, RssAnon and VmHWM, found %+v", pid, m)
	}
	return m, nil
}

// live is what the manager's heap holds in bytes once its garbage is collected.
func (m *manager) live(ctx context.Context) (int64, error) {
	if err := fetch(ctx, m.pprof+"/heap?gc=1", drop); err != nil {
		return 0, err
	}
	var found float64
	err := fetch(ctx, m.metrics, func(r io.Reader) error {
		in := bufio.NewScanner(r)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			if rest, ok := strings.CutPrefix(in.Text(), "go_memstats_heap_alloc_bytes "); ok {
				var err error
				found, err = strconv.ParseFloat(rest, 64)
				return err //nolint:wrapcheck // said below
			}
		}
		return errors.Join(in.Err(), errors.New("wanted go_memstats_heap_alloc_bytes, found no such metric"))
	})
	if err != nil {
		return 0, fmt.Errorf("reading the manager's heap: %w", err)
	}
	return int64(found), nil
}

// profile writes a profile of the manager to a file: heap, or profile?seconds=5 for the processor.
func (m *manager) profile(ctx context.Context, what, path string) error {
	return fetch(ctx, m.pprof+"/"+what, func(r io.Reader) error {
		f, err := os.Create(path)
		if err != nil {
			return fmt.Errorf("writing a profile: %w", err)
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	})
}

func drop(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err //nolint:wrapcheck // said by fetch
}

// fetch gets a page that must be there.
func fetch(ctx context.Context, address string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", address, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking for %s: %w", address, err)
	}
	defer res.Body.Close() //nolint:errcheck // only read from
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("asking for %s: wanted status 200, found %d", address, res.StatusCode)
	}
	if err := read(res.Body); err != nil {
		return fmt.Errorf("reading %s: %w", address, err)
	}
	return nil
}

// await asks again and again until check says true or fails, or the timeout is over.
func await(ctx context.Context, what string, timeout time.Duration, check func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, err := check()
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s, %s long: %w", what, timeout, ctx.Err())
		case <-ticker.C:
		}
	}
}
