package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"tidegate.io/tidegate/test/cluster/traffic/gateway"
)

// modeVariable makes the test binary stand in for the gateway binary, which behaves as it says.
const modeVariable = "TIDEGATE_TEST_GATEWAY_MODE"

// moreModes are those that only some kernels can do.
var moreModes = map[string]func() int{}

func TestMain(m *testing.M) {
	mode, standIn := os.LookupEnv(modeVariable)
	if !standIn {
		os.Exit(m.Run())
	}
	os.Exit(runStandIn(mode))
}

// runStandIn tells an address, or not, and ends on SIGTERM, or not.
func runStandIn(mode string) int {
	fmt.Fprintln(os.Stderr, "stand-in got", strings.Join(os.Args[1:], " "))
	if mode == "refuses" {
		return 3
	}
	if run, ok := moreModes[mode]; ok {
		return run()
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 4
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/__gateway/stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"requests":7,"retried":1,"routes":[{"rule":"r","backends":[{"name":"a","weight":5,"endpoints":["10.1.2.3:80"]}]}]}`)
	})
	go http.Serve(l, mux) // Ends with the process.
	fmt.Println(l.Addr())
	for range term {
		if mode == "obeys" {
			return 0
		}
	}
	return 0
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	must(t, err)
	return path
}

// buffer is a writer for the log of a process, safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestStartedGatewayServesAndStops(t *testing.T) {
	t.Setenv(modeVariable, "obeys")
	var log buffer
	g, err := gateway.Start(t.Context(), self(t), "some.kubeconfig", &log)
	must(t, err)
	stats, err := g.Stats(t.Context())
	must(t, err)
	if stats.Requests != 7 || stats.Retried != 1 || stats.Routes[0].Backends[0].Weight != 5 {
		t.Errorf("stats are %+v", stats)
	}
	for range 2 {
		if err := g.Stop(t.Context()); err != nil {
			t.Errorf("stopping: %v", err)
		}
	}
	select {
	case <-g.Done():
	default:
		t.Error("Stop returned before the process ended")
	}
	if !strings.Contains(log.String(), "--kubeconfig some.kubeconfig") {
		t.Errorf("log is %q", log.String())
	}
}

func TestGatewayThatDoesNotStopIsKilled(t *testing.T) {
	t.Setenv(modeVariable, "ignores SIGTERM")
	g, err := gateway.Start(t.Context(), self(t), "k", &buffer{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Stop(ctx); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Stop says %v, want that it was killed", err)
	}
	<-g.Done()
}

func TestGatewayEndsWithItsContext(t *testing.T) {
	t.Setenv(modeVariable, "obeys")
	ctx, cancel := context.WithCancel(t.Context())
	g, err := gateway.Start(ctx, self(t), "k", &buffer{})
	must(t, err)
	cancel()
	<-g.Done()
}

func TestGatewayThatDoesNotStartIsAnError(t *testing.T) {
	for name, tc := range map[string]struct{ binary, mode, want string }{
		"no such program":                   {"/nonexistent/gateway", "obeys", "no such file"},
		"a program that ends at the outset": {self(t), "refuses", "exit status 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(modeVariable, tc.mode)
			if _, err := gateway.Start(t.Context(), tc.binary, "k", &buffer{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Start says %v, want %q", err, tc.want)
			}
		})
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	t.Setenv(modeVariable, "obeys")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gateway.Start(ctx, self(t), "k", &buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start says %v, want that it was canceled", err)
	}
}
