package local

import (
	"context"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds the start of a cluster for a test, first builds included.
const startTimeout = 20 * time.Minute

// ForTest starts a cluster and stops it when the test is over. If the test has failed by then, it
// prints what the components complained about, and no more. A component that ended by itself fails
// the test.
func ForTest(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Log == nil {
		o.Log = testLog{t}
	}
	stopOnInterrupt()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	started := time.Now()
	c, err := Start(ctx, o)
	if err != nil {
		t.Fatalf("no cluster for the test: %v", err)
	}
	t.Logf("cluster %s was ready after %s (pods %s)", c.Name(), time.Since(started).Round(10*time.Millisecond), c.PodCIDR())
	t.Cleanup(func() {
		if err := c.Err(); err != nil {
			t.Errorf("cluster %s: %v", c.Name(), err)
		}
		if t.Failed() {
			c.complain(t)
		}
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// complain prints the worst lines of each component's log.
func (c *Cluster) complain(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	stopped := c.stopped
	c.mu.Unlock()
	if stopped { // by the test itself, logs and all
		return
	}
	for _, k := range c.State().Components {
		b, err := os.ReadFile(k.Log)
		if err != nil {
			t.Logf("log of %s: %v", k.Name, err)
			continue
		}
		if lines := digest(string(b)); len(lines) > 0 {
			t.Logf("%s complained:\n\t%s", k.Name, strings.Join(lines, "\n\t"))
		}
	}
}

// testLog writes the progress of builds to a test's log.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// The clusters of this process that were not stopped yet, started or starting.
var (
	liveMu sync.Mutex
	live   = map[*Cluster]struct{}{}
)

func remember(c *Cluster) {
	liveMu.Lock()
	defer liveMu.Unlock()
	live[c] = struct{}{}
}

func forget(c *Cluster) {
	liveMu.Lock()
	defer liveMu.Unlock()
	delete(live, c)
}

// stopOnInterrupt stops all clusters at the first interrupt, then lets it do what it always does. The
// kernel would end their processes with us, but their directories would stay until the next start.
var stopOnInterrupt = sync.OnceFunc(func() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		liveMu.Lock()
		clusters := slices.Collect(maps.Keys(live))
		liveMu.Unlock()
		var wg sync.WaitGroup
		for _, c := range clusters {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
				defer cancel()
				_ = c.Stop(ctx)
			})
		}
		wg.Wait()
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		if p, err := os.FindProcess(os.Getpid()); err == nil {
			_ = p.Signal(s)
		}
	}()
})
