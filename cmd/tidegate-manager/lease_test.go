package main

import (
	"errors"
	"runtime/debug"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

func TestWhoHoldsTheLease(t *testing.T) {
	t.Parallel()
	lost := errors.New("no name")
	for name, c := range map[string]struct {
		uid, host string
		hostErr   error
		want      string
	}{
		"a process that starts again in its pod is the one before it": {"u1", "tidegate-manager-7c9d-x2x4k", nil, "tidegate-manager-7c9d-x2x4k_u1"},
		"a pod of the same name is another":                           {"u2", "tidegate-manager-7c9d-x2x4k", nil, "tidegate-manager-7c9d-x2x4k_u2"},
		"outside of a pod each process is another":                    {"", "laptop", nil, ""},
		"a host without a name is an error":                           {"u1", "", lost, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := leaseHolder(func(string) string { return c.uid }, func() (string, error) { return c.host, c.hostErr })
			if got != c.want || !errors.Is(err, c.hostErr) {
				t.Errorf("%q, %v; want %q, %v", got, err, c.want, c.hostErr)
			}
		})
	}
}

func TestTheLeaseDoesNotWaitForTheLoops(t *testing.T) {
	t.Parallel()
	config := &rest.Config{RateLimiter: flowcontrol.NewTokenBucketRateLimiter(1, 1)}
	got := leaseConfig(config)
	if got.RateLimiter != nil || got.QPS <= 0 {
		t.Errorf("the lease is limited by %v and %v a second", got.RateLimiter, got.QPS)
	}
	if config.RateLimiter == nil {
		t.Error("the loops lost their limit")
	}
}

func TestOneLimitIsForAllKinds(t *testing.T) {
	t.Parallel()
	o := parse(t, "--kube-api-qps=7", "--kube-api-burst=9")
	config := &rest.Config{}
	limitRequests(config, o)
	if config.RateLimiter == nil || config.RateLimiter.QPS() != 7 {
		t.Fatalf("wanted one limiter of 7 requests a second for all clients, found %v", config.RateLimiter)
	}
	for i := range 9 {
		if !config.RateLimiter.TryAccept() {
			t.Fatalf("request %d of a burst of 9 has to wait", i+1)
		}
	}
	if config.RateLimiter.TryAccept() {
		t.Error("the tenth request of a burst of 9 does not wait")
	}
}

func TestNoLimitIsNone(t *testing.T) {
	t.Parallel()
	config := &rest.Config{}
	limitRequests(config, parse(t, "--kube-api-qps=0"))
	if config.RateLimiter != nil || config.QPS >= 0 {
		t.Errorf("wanted no limit, found %v and %v a second", config.RateLimiter, config.QPS)
	}
}

//nolint:paralleltest // there is one collector
func TestTheCollectorKeepsTheHeapSmall(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	for gogc, want := range map[string]int{"": garbagePercent, "200": 100} {
		debug.SetGCPercent(100)
		limitMemory(func(name string) string { return map[string]string{"GOGC": gogc}[name] }, parse(t))
		if got := debug.SetGCPercent(100); got != want {
			t.Errorf("with GOGC=%q there is %d %% of garbage, want %d: what the environment says is Go's own business", gogc, got, want)
		}
	}
}
