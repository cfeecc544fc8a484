// Package stage sets up what a user of Tidegate has: a cluster with a gateway, a Prometheus and pods
// that answer requests, the chart installed with Helm, and a manager that runs as the chart's
// ServiceAccount. The demo and the end-to-end tests play on it.
//
// The manager runs as a process beside the cluster, and the API server reaches its webhook by URL,
// since the pods of the local cluster run no code.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tidegate.io/tidegate/test/cluster/local"
	"tidegate.io/tidegate/test/cluster/traffic/pods"
)

// Names of what the stage is made of.
const (
	// ManagerNamespace is where the chart is installed.
	ManagerNamespace = "tidegate-system"
	// Namespace is governed; the team's Releases live there.
	Namespace = "shop"
	// OpenNamespace is not governed.
	OpenNamespace = "playground"
	// Team is the user name of a service team's member, with the rights of an editor of
	// Namespace and OpenNamespace.
	Team = "alice"
	// TeamGroup is the group of Team.
	TeamGroup = "team-shop"
	// Admin is the cluster's administrator, of the group system:masters.
	Admin = "admin"

	// readyTimeout bounds each wait for a part to become ready.
	readyTimeout = 60 * time.Second
)

// Options configure Up.
type Options struct {
	// Root is the root of the repository's checkout. Required.
	Root string
	// Progress takes a line for each thing that is done. Nil means silence.
	Progress io.Writer
	// Name of the cluster; empty means one that nobody else uses.
	Name string
	// Bare leaves out Prometheus, what answers for pods, the team's namespaces, the
	// MetricSource and the Gate: pods are ready at once and serve nothing. It is for those
	// who look at what is admitted, not at what is served, and make their own Gates.
	Bare bool
	// APIServerArgs are appended to the arguments of kube-apiserver.
	APIServerArgs []string
	// ChartValues are merged, key by key of the top, into those of the first install.
	ChartValues map[string]any
}

// Stage is what Up made. It is not safe for concurrent use, but for Kubectl.
type Stage struct {
	Cluster *local.Cluster
	Pods    *pods.Server

	root     string
	bare     bool
	progress io.Writer
	dir      string
	configs  map[string]string
	manager  *Manager
	// webhookPort stays the same from manager to manager, as the API server knows it.
	webhookPort int
}

// Up builds what is missing, starts everything and returns when requests could be served. On an
// error nothing is left running.
func Up(ctx context.Context, o Options) (*Stage, error) {
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	s := &Stage{root: o.Root, progress: o.Progress, configs: map[string]string{}, bare: o.Bare}
	if err := s.up(ctx, o); err != nil {
		return nil, errors.Join(err, s.Down(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Stage) up(ctx context.Context, o Options) error {
	programs := "etcd, API server, controllers, scheduler, nodes, Prometheus, gateway"
	if o.Bare {
		programs = "etcd, API server, controllers, scheduler, nodes, gateway"
	}
	steps := []struct {
		what string
		// full steps are not for a bare stage.
		full bool
		do   func(context.Context) error
	}{
		{"building tidegate and tidegate-manager", false, s.build},
		{"starting " + programs, false, func(ctx context.Context) error { return s.startCluster(ctx, o) }},
		{"serving the pods", true, s.servePods},
		{"making the namespaces and the team's rights", true, s.makeTenants},
		{"installing the chart with Helm", false, func(ctx context.Context) error { return s.installChart(ctx, o) }},
		{"starting the manager", false, func(ctx context.Context) error { _, err := s.StartManager(ctx); return err }},
		{"installing a MetricSource and a Gate over namespace " + Namespace + " with Helm", true, s.openForBusiness},
	}
	for _, step := range steps {
		if step.full && o.Bare {
			continue
		}
		began := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		if _, err := fmt.Fprintf(s.progress, "  %-82s %5.1f s\n", step.what, time.Since(began).Seconds()); err != nil {
			return fmt.Errorf("reporting progress: %w", err)
		}
	}
	return nil
}

// Down stops what Up started, the last first.
func (s *Stage) Down(ctx context.Context) error {
	var errs []error
	if s.manager != nil {
		errs = append(errs, s.StopManager(ctx))
	}
	if s.Pods != nil {
		s.Pods.Close()
	}
	if s.Cluster != nil {
		errs = append(errs, s.Cluster.Stop(ctx))
	}
	return errors.Join(errs...)
}

// BinaryDir is where the CLI and the manager were built to.
func (s *Stage) BinaryDir() string { return s.dir }

// Binary returns the path of the CLI or the manager as built by Up.
func (s *Stage) Binary(name string) string { return filepath.Join(s.dir, name) }

// Kubeconfig returns the path of a user's kubeconfig: Admin, Team, or any name, which then has no
// rights but those of an authenticated user.
func (s *Stage) Kubeconfig(user string) (string, error) {
	if user == Admin {
		return s.Cluster.Kubeconfig(), nil
	}
	if path, ok := s.configs[user]; ok {
		return path, nil
	}
	var groups []string
	if user == Team {
		groups = []string{TeamGroup}
	}
	path, err := s.Cluster.UserKubeconfig(user, groups...)
	if err != nil {
		return "", err
	}
	s.configs[user] = path
	return path, nil
}

// Kubectl runs kubectl as user, with stdin, and returns what it printed, both streams together.
func (s *Stage) Kubectl(ctx context.Context, user, stdin string, args ...string) (string, error) {
	path, err := s.Cluster.BinaryPath(ctx, "kubectl")
	if err != nil {
		return "", err
	}
	return s.run(ctx, user, stdin, path, args...)
}

// Tidegate runs the CLI as user and returns what it printed, both streams together.
func (s *Stage) Tidegate(ctx context.Context, user string, args ...string) (string, error) {
	return s.run(ctx, user, "", s.Binary("tidegate"), args...)
}

func (s *Stage) run(ctx context.Context, user, stdin, path string, args ...string) (string, error) {
	config, err := s.Kubeconfig(user)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = Env(config)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", filepath.Base(path), strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// Env is the environment of a command that is to use a kubeconfig and no other.
func Env(kubeconfig string) []string {
	return append(os.Environ(), "KUBECONFIG="+kubeconfig)
}
