package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

// serve runs a webhook server with one handler on a free port and returns a client of it.
func serve(t *testing.T, ctx context.Context, hook http.Handler) (url string, client *http.Client, ended <-chan error) { //nolint:revive // t goes first
	t.Helper()
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	t.Cleanup(certificate.Close)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	server := drainingServer{ctrlwebhook.NewServer(ctrlwebhook.Options{Host: "127.0.0.1", Port: port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate.TLS.Certificates[0], nil }
	}}})}
	server.Register("/hook", hook)
	done := make(chan error, 1)
	go func() { done <- server.Start(ctx) }()
	for ready := server.StartedChecker(); ready(nil) != nil; {
		select {
		case err := <-done:
			t.Fatalf("the server ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Sprintf("https://127.0.0.1:%d/hook", port), certificate.Client(), done
}

func TestARequestUnderWayIsFinishedWhenTheServerStops(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	arrived, finish := make(chan struct{}), make(chan struct{})
	url, client, ended := serve(t, ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		if err := r.Context().Err(); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprintf(w, "the request's context: %v", err)
			return
		}
		_, _ = io.WriteString(w, "allowed")
	}))
	type outcome struct {
		code int
		body string
		err  error
	}
	answered := make(chan outcome, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
		if err != nil {
			answered <- outcome{err: err}
			return
		}
		res, err := client.Do(req)
		if err != nil {
			answered <- outcome{err: err}
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		answered <- outcome{res.StatusCode, string(body), err}
	}()
	<-arrived
	stop()
	// The listener closes; then nobody new is let in, and the one that is in is waited for.
	for {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", url[len("https://"):len(url)-len("/hook")])
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(finish)
	if got := <-answered; got.err != nil || got.code != http.StatusOK || got.body != "allowed" {
		t.Errorf("%d %q %v", got.code, got.body, got.err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

func TestReadinessFailsBeforeAnythingStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, ask := context.WithCancel(t.Context())
		var d drain
		running := d.context(asked, 10*time.Second, logr.Discard())
		synctest.Wait()
		if err := d.ready(nil); err != nil {
			t.Errorf("not ready before anybody asked to stop: %v", err)
		}
		began := time.Now()
		ask()
		synctest.Wait()
		if d.ready(nil) == nil {
			t.Error("ready after being asked to stop")
		}
		if running.Err() != nil {
			t.Error("stopped at once")
		}
		<-running.Done()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("stopped after %s, wanted 10s", took)
		}
	})
}
