package home

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tidegate.io/tidegate/test/cluster/proc"
)

// ErrNotRunning says that no cluster of that name runs.
var ErrNotRunning = errors.New("no such cluster runs")

// State is what a running cluster writes down about itself, for other processes to find it and, if
// its owner dies, to clean up after it.
type State struct {
	Name string `json:"name"`
	// Owner is the process whose children the components are.
	Owner proc.Identity `json:"owner"`
	// Background is set if the owner may be ended to stop the cluster.
	Background bool `json:"background,omitempty"`
	// Ready is set once Start has succeeded.
	Ready         bool             `json:"ready"`
	Dir           string           `json:"dir"`
	Kubeconfig    string           `json:"kubeconfig,omitempty"`
	APIServerURL  string           `json:"apiServerURL,omitempty"`
	PrometheusURL string           `json:"prometheusURL,omitempty"`
	GatewayURL    string           `json:"gatewayURL,omitempty"`
	PodCIDR       string           `json:"podCIDR"`
	ServiceCIDR   string           `json:"serviceCIDR"`
	Components    []ComponentState `json:"components"`
}

// ComponentState is one process of a cluster.
type ComponentState struct {
	Name string `json:"name"`
	// Process is the zero identity while the component is stopped on purpose.
	Process proc.Identity `json:"process"`
	// Port is where it serves on 127.0.0.1; 0 if nowhere.
	Port int    `json:"port,omitempty"`
	Log  string `json:"log"`
}

// Read returns the state of a running cluster, or an error that is ErrNotRunning.
func Read(name string) (*State, error) {
	root, err := clustersDir()
	if err != nil {
		return nil, err
	}
	s, err := readState(filepath.Join(root, name))
	if errors.Is(err, os.ErrNotExist) || err == nil && !s.Owner.Alive() {
		return nil, fmt.Errorf("cluster %q: %w", name, ErrNotRunning)
	}
	return s, err
}

// Running returns the names of the clusters whose owners live.
func Running() ([]string, error) {
	root, err := clustersDir()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listing clusters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if s, err := readState(filepath.Join(root, e.Name())); err == nil && s.Owner.Alive() {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

func readState(dir string) (*State, error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, fmt.Errorf("reading the state of a cluster: %w", err)
	}
	s := new(State)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("reading the state of a cluster: %s: %w", filepath.Join(dir, stateFile), err)
	}
	return s, nil
}

// Write replaces the state, whole or not at all.
func (s *State) Write() error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the state of cluster %s: %w", s.Name, err)
	}
	path := filepath.Join(s.Dir, stateFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the state of cluster %s: %w", s.Name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing the state of cluster %s: %w", s.Name, err)
	}
	return nil
}
