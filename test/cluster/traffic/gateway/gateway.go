// Package gateway runs the test gateway of the local cluster as a child process.
//
// The gateway itself is the program test/cluster/binaries/gateway, a module of its own for the
// sake of its dependencies. It routes by the Gateway API objects of the cluster and writes their
// status. GatewayClasses with ControllerName are its own, and it serves listeners on port
// ListenerPort, whatever address it listens on itself.
package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
)

const (
	// UserName is the identity that the gateway is meant to run under. A gate that governs routes
	// has to let it write their status.
	UserName = "system:traffic-gateway"

	// ControllerName is the spec.controllerName of the GatewayClasses that the gateway serves. The
	// provider in it knows no other.
	ControllerName = "traefik.io/gateway-controller"

	// ListenerPort is the port of the Gateway listeners that the gateway serves.
	ListenerPort = 80

	// ErrorHeader is on each answer that the gateway gave in its own name, with the reason.
	ErrorHeader = "X-Gateway-Error"
)

const (
	startTimeout = 30 * time.Second
	// stopTimeout is a little more than the gateway takes to drain.
	stopTimeout = 12 * time.Second
	statsPath   = "/__gateway/stats"
)

// PolicyRules are the rights that UserName needs in the cluster.
func PolicyRules() []rbacv1.PolicyRule {
	read := []string{"get", "list", "watch"}
	write := []string{"update", "patch"}
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"namespaces", "services", "secrets", "configmaps"}, Verbs: read},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
		{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{
			"gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes", "referencegrants", "backendtlspolicies",
		}, Verbs: read},
		{APIGroups: []string{"gateway.networking.k8s.io"}, Resources: []string{
			"gatewayclasses/status", "gateways/status", "httproutes/status", "grpcroutes/status", "tlsroutes/status", "backendtlspolicies/status",
		}, Verbs: write},
	}
}

// Gateway is a running gateway. Make it with Start.
type Gateway struct {
	// URL is where it takes requests, http://127.0.0.1:port.
	URL string

	process *os.Process
	done    chan struct{}
	err     error // Why the process ended; read after done.
}

// Stats is what the gateway says about itself.
type Stats struct {
	// Requests came in for a route; Failed of them the gateway answered in its own name, with
	// ErrorHeader. Abandoned ones were left by their client.
	Requests  int64 `json:"requests"`
	Failed    int64 `json:"failed"`
	Abandoned int64 `json:"abandoned"`
	// Retried counts tries on another endpoint of the same backend after a refused connection.
	Retried int64 `json:"retried"`
	// Configurations counts the changes that took effect. It is 0 until the first, which needs
	// the Gateway API in the cluster.
	Configurations int `json:"configurations"`
	// Routes are the rules as they are served at this moment, which is after their status says so.
	Routes []Route `json:"routes"`
}

// Route is one rule being served.
type Route struct {
	Rule     string    `json:"rule"`
	Backends []Backend `json:"backends"`
}

// Backend is one backend reference of a rule with its endpoints, as host:port of the pods.
type Backend struct {
	Name      string   `json:"name"`
	Weight    int      `json:"weight"`
	Endpoints []string `json:"endpoints"`
}

// Start runs the gateway binary against the cluster of a kubeconfig and returns when it takes
// requests. Its log goes to log. The process ends with Stop, with ctx, or with this process,
// however that ends.
func Start(ctx context.Context, binary, kubeconfig string, log io.Writer) (*Gateway, error) {
	cmd := exec.CommandContext(ctx, binary, "--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0")
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	dieWithParent(cmd)

	addresses, stdout, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe to the gateway: %w", err)
	}
	defer addresses.Close() //nolint:errcheck // Only ever read from.
	cmd.Stdout = stdout

	g := &Gateway{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel takes the end of the thread that started a child for the end of its parent,
		// so the thread has to stay until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = stdout.Close() // The child has its own.
		started <- err
		if err == nil {
			g.err = cmd.Wait()
			close(g.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	g.process = cmd.Process

	address, err := readAddress(ctx, addresses)
	if err != nil {
		_ = g.process.Kill()
		<-g.done
		return nil, fmt.Errorf("waiting for the gateway to listen (its log says more): %w", errors.Join(err, g.err))
	}
	g.URL = "http://" + address
	return g, nil
}

// readAddress reads the line in which the gateway tells its address. By then it listens.
func readAddress(ctx context.Context, r *os.File) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(r).ReadString('\n') // Empty if the process ends without one.
		line <- strings.TrimSpace(s)
	}()
	select {
	case <-ctx.Done():
		return "", fmt.Errorf("no address so far: %w", context.Cause(ctx))
	case s := <-line:
		if s == "" {
			return "", errors.New("it ended without an address")
		}
		return s, nil
	}
}

// Done is closed when the process has ended.
func (g *Gateway) Done() <-chan struct{} { return g.done }

// Stop lets the requests in flight end and then the process, by force if it takes too long or
// when ctx ends. It may be called more than once.
func (g *Gateway) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := g.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("asking the gateway to end: %w", err)
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		if err := g.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("killing the gateway: %w", err)
		}
		<-g.done
	}
	if g.err != nil {
		return fmt.Errorf("stopping the gateway: %w", g.err)
	}
	return nil
}

// Stats asks the gateway about itself.
func (g *Gateway) Stats(ctx context.Context) (Stats, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+statsPath, http.NoBody)
	if err != nil {
		return Stats{}, fmt.Errorf("asking the gateway for its statistics: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return Stats{}, fmt.Errorf("asking the gateway for its statistics: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // Only read from.
	var out Stats
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return Stats{}, fmt.Errorf("reading the gateway's statistics: %w", err)
	}
	return out, nil
}
