package main

import (
	"fmt"
	"os"

	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	// podUIDEnv carries the UID of the pod that the manager runs in.
	podUIDEnv = "POD_UID"
	// leaseQPS and leaseBurst are what the lease may ask for, apart from everything else: it must
	// be renewed while the loops wait for their turn.
	leaseQPS, leaseBurst = 5, 10
)

// leaseConfig reaches the API server for the lease alone.
func leaseConfig(config *rest.Config) *rest.Config {
	out := rest.CopyConfig(config)
	out.RateLimiter, out.QPS, out.Burst = nil, leaseQPS, leaseBurst
	return out
}

// leaseHolder is who holds the lease, the same after the manager was started again in its pod, and
// empty where that is not known. A kubelet starts a container again when the one before it has
// ended, and no sooner: whoever finds its own pod's lease has nobody to wait for. A pod of the
// same name is another one, with another UID, and waits.
func leaseHolder(getenv func(string) string, hostname func() (string, error)) (string, error) {
	uid := getenv(podUIDEnv)
	if uid == "" {
		return "", nil
	}
	host, err := hostname()
	if err != nil {
		return "", fmt.Errorf("finding out the name of the pod: %w", err)
	}
	return host + "_" + uid, nil
}

// podLease is the lease as the pod holds it, nil where the pod is not known: then each process is
// somebody else.
func podLease(o *options, config *rest.Config) (resourcelock.Interface, error) {
	holder, err := leaseHolder(os.Getenv, os.Hostname)
	if err != nil || holder == "" {
		return nil, err
	}
	config = rest.AddUserAgent(leaseConfig(config), "leader-election")
	config.Timeout = o.renewDeadline / 2
	clients, err := clientset.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the client of the lease: %w", err)
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, o.namespace, leaseName,
		clients.CoreV1(), clients.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: holder})
	if err != nil {
		return nil, fmt.Errorf("making the lease: %w", err)
	}
	return lock, nil
}
