package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func TestNobodyIsToldUnlessThereIsAFile(t *testing.T) {
	mgr, err := manager.New(&rest.Config{Host: "https://127.0.0.1:1"}, manager.Options{Metrics: metricsserver.Options{BindAddress: disabled}})
	if err != nil {
		t.Fatal(err)
	}
	o := defaults(func(string) string { return "" })
	// The loop asks whether it is nil: a nil pointer in an interface is not.
	if n, err := addNotifier(mgr, o); n != nil || err != nil {
		t.Errorf("without a file: %v, %v", n, err)
	}
	o.notify.file = filepath.Join(t.TempDir(), "notifications.yaml")
	if err := os.WriteFile(o.notify.file, []byte("sinks: [{name: a, secretName: s, url: {key: k}}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := addNotifier(mgr, o); n == nil || err != nil {
		t.Fatalf("with a file: %v, %v", n, err)
	}
	if n, err := testutil.GatherAndCount(ctrlmetrics.Registry, "tidegate_notify_file_valid", "tidegate_notify_deliveries_total"); n != 4 || err != nil {
		t.Errorf("wanted 1 gauge and 3 counters of the sink, got %d, %v", n, err)
	}
}
