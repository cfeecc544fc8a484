package arch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestEveryMetricOfTheHouseIsDocumented(t *testing.T) {
	metrics, found, err := Metrics(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(metrics) < 40 {
		t.Fatalf("only %d metrics were found", len(metrics))
	}
	doc, err := os.ReadFile(filepath.Join(root, MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	none(t, append(found, MetricsAreDocumented(metrics, string(doc))...))
}

func TestMetricsAreDocumentedComparesBothWays(t *testing.T) {
	metrics, found, err := Metrics(fstest.MapFS{
		"a/metrics.go": {Data: []byte(`package a
var (
	one  = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidegate_a_calls_total", Help: "x"}, []string{"kind", "result"})
	two  = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidegate_a_open"})
	desc = prometheus.NewDesc("tidegate_a_things", "x", []string{"phase"}, nil)
)
func three() { make("tidegate_b_"); make("tidegate_c_") }
func make(prefix string) any {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: prefix + "seconds", Buckets: []float64{1}})
}
`)},
		"a/metrics_test.go": {Data: []byte("package a\nvar x = prometheus.NewGauge(prometheus.GaugeOpts{Name: \"tidegate_test_only\"})\n")},
		"test/bench/x.go":   {Data: []byte("package bench\nvar x = prometheus.NewGauge(prometheus.GaugeOpts{Name: \"tidegate_bench\"})\n")},
		"b/hidden.go":       {Data: []byte("package b\nvar x = prometheus.NewGauge(prometheus.GaugeOpts{Name: name()})\n")},
		"c/unlabelled.go":   {Data: []byte("package c\nvar x = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: \"tidegate_c_labels\"}, labels)\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	only(t, found, "b/hidden.go: wanted a metric whose name and labels are written out", "c/unlabelled.go: wanted a metric whose name")
	delete(metrics, "tidegate_c_labels")
	doc := "| metric | labels | |\n|---|---|---|\n| `tidegate_a_calls_total` | kind, result | x |\n| `tidegate_a_open` |  | x |\n" +
		"| `tidegate_a_things` | phase | x |\n| `tidegate_b_seconds` |  | x |\n| `tidegate_c_seconds` |  | x |\n"
	only(t, MetricsAreDocumented(metrics, doc))
	only(t, MetricsAreDocumented(metrics, strings.Replace(doc, "| `tidegate_a_open` |  | x |\n", "", 1)), "tidegate_a_open is not in docs/metrics.md (it is made in a/metrics.go)")
	only(t, MetricsAreDocumented(metrics, strings.Replace(doc, "kind, result", "kind", 1)), `wanted tidegate_a_calls_total with the labels "kind, result", as a/metrics.go makes it, found "kind"`)
	only(t, MetricsAreDocumented(metrics, doc+"| `tidegate_gone` |  | x |\n"), "docs/metrics.md documents tidegate_gone, which nothing makes")
	only(t, MetricsAreDocumented(metrics, doc+"| `tidegate_a_open` |  | x |\n"), "tidegate_a_open stands there twice")
}
