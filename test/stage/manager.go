package stage

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tidegate.io/tidegate/test/cluster/proc"
)

// Manager is a running manager process.
type Manager struct {
	// MetricsURL serves its metrics in the Prometheus text format.
	MetricsURL string

	process *proc.Process
	health  string
}

// serviceAccount is what the chart calls the manager's.
const serviceAccount = "tidegate-manager"

// Manager is the one that runs, or nil.
func (s *Stage) Manager() *Manager { return s.manager }

// WebhookURL is where the API server reaches the webhook, without a path.
func (s *Stage) WebhookURL() string { return s.webhookURL() }

func (s *Stage) webhookURL() string { return fmt.Sprintf("https://localhost:%d", s.webhookPort) }

// StartManager starts the manager and returns when it is ready: it has loaded policies and templates
// and serves the webhook. One that runs already is stopped first.
func (s *Stage) StartManager(ctx context.Context) (*Manager, error) {
	if err := s.StopManager(ctx); err != nil {
		return nil, err
	}
	config, err := s.Cluster.ServiceAccountKubeconfig(ctx, ManagerNamespace, serviceAccount)
	if err != nil {
		return nil, err
	}
	health, err := s.Cluster.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := s.Cluster.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		MetricsURL: fmt.Sprintf("http://127.0.0.1:%d/metrics", metrics),
		health:     fmt.Sprintf("http://127.0.0.1:%d/readyz", health),
	}
	// A manager that was killed is waited for no longer than this.
	election := []string{"--leader-elect-lease-duration", "4s", "--leader-elect-renew-deadline", "3s", "--leader-elect-retry-period", "500ms"}
	if s.bare {
		// It is one manager for the whole life of the stage, and floods must not cost it the lease.
		election = []string{"--leader-elect-lease-duration", "60s", "--leader-elect-renew-deadline", "50s", "--leader-elect-retry-period", "2s"}
	}
	m.process, err = proc.Start(proc.Spec{
		Path: s.Binary("tidegate-manager"),
		Args: append([]string{
			"--kubeconfig", config,
			"--namespace", ManagerNamespace,
			"--webhook-url", s.webhookURL(),
			"--webhook-port", fmt.Sprint(s.webhookPort),
			"--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", health),
			"--metrics-bind-address", fmt.Sprintf("127.0.0.1:%d", metrics),
			"--shutdown-delay", "500ms",
		}, election...),
		Env:     []string{"PATH=/usr/bin:/bin", "HOME=" + s.Cluster.Dir(), "TMPDIR=" + s.Cluster.Dir()},
		Dir:     s.Cluster.Dir(),
		LogPath: s.ManagerLog(),
	})
	if err != nil {
		return nil, err
	}
	s.manager = m
	return m, s.WaitFor(ctx, "the manager to be ready; its log is "+s.ManagerLog(), readyTimeout, m.ready)
}

// ManagerLog is the path of the log of all managers of this stage, one after the other.
func (s *Stage) ManagerLog() string { return filepath.Join(s.Cluster.Dir(), "tidegate-manager.log") }

// StopManager asks the manager to end, as a kubelet does, and waits.
func (s *Stage) StopManager(ctx context.Context) error {
	if s.manager == nil {
		return nil
	}
	m := s.manager
	s.manager = nil
	return m.process.Stop(ctx, 30*time.Second)
}

// KillManager ends the manager at once, with no chance to finish anything.
func (s *Stage) KillManager(ctx context.Context) error {
	if s.manager == nil {
		return nil
	}
	m := s.manager
	s.manager = nil
	return m.process.Identity().Kill(ctx)
}

// Ready says whether the readiness probe answers well, and whether the process runs at all.
func (m *Manager) Ready(ctx context.Context) (bool, error) { return m.ready(ctx) }

// Memory is the resident memory of the manager in bytes.
func (m *Manager) Memory() (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", m.process.Identity().PID))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of the manager: %w", err)
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(raw), &total, &resident); err != nil {
		return 0, fmt.Errorf("reading the memory of the manager: %w", err)
	}
	return resident * int64(syscall.Getpagesize()), nil
}

func (m *Manager) ready(ctx context.Context) (bool, error) {
	select {
	case <-m.process.Done():
		return false, fmt.Errorf("the manager ended: %w", m.process.Err())
	default:
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.health, http.NoBody)
	if err != nil {
		return false, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, nil //nolint:nilerr // Not listening yet is an answer.
	}
	return res.StatusCode == http.StatusOK, res.Body.Close()
}
