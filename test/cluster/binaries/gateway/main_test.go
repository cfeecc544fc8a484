package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A cluster that cannot be reached leaves the gateway up: it answers in its own name, and ends
// when it is told to.
func TestRunServesUntilItIsStopped(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{}}],
"clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:1"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	// run changes these; Setenv has them put back.
	for _, name := range []string{"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} {
		t.Setenv(name, os.Getenv(name))
	}
	o, err := parseFlags([]string{"--kubeconfig", kubeconfig, "--address-file", filepath.Join(t.TempDir(), "address"), "--log-level", "error"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o) }()

	address := waitForFile(t, o.addressFile)
	for path, want := range map[string]int{healthPath: http.StatusOK, statsPath: http.StatusOK, "/": http.StatusServiceUnavailable} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s answers %d, want %d", path, res.StatusCode, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run ended with %v", err)
	}
}

func TestRequestsInFlightEndBeforeTheGatewayDoes(t *testing.T) {
	for name, tc := range map[string]struct {
		drain time.Duration
		ok    bool
	}{
		"within the time to drain": {time.Minute, true},
		"not after it":             {time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			entered, release := make(chan struct{}), make(chan struct{})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- serve(ctx, listener, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					close(entered)
					<-release
				}), tc.drain)
			}()
			answered := make(chan error, 1)
			go func() {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String(), http.NoBody)
				if err == nil {
					var res *http.Response
					if res, err = http.DefaultClient.Do(req); err == nil {
						err = res.Body.Close()
					}
				}
				answered <- err
			}()
			<-entered
			stop()
			if !tc.ok {
				if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("serve ended with %v, want that the time ran out", err)
				}
				close(release)
				return
			}
			waitFor(t, "the listener to close", func() bool {
				conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
				if err == nil {
					_ = conn.Close()
				}
				return err != nil
			})
			close(release)
			if err := <-answered; err != nil {
				t.Errorf("the request in flight failed: %v", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("serve ended with %v", err)
			}
		})
	}
}

func TestRunRefusesAnAddressThatIsTaken(t *testing.T) {
	if err := run(t.Context(), options{kubeconfig: "k", listen: "192.0.2.1:80"}); err == nil {
		t.Error("run took an address that is not ours")
	}
}

func waitForFile(t *testing.T, path string) string {
	t.Helper()
	var content []byte
	waitFor(t, path, func() bool {
		var err error
		content, err = os.ReadFile(path)
		return err == nil
	})
	return string(content)
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}
