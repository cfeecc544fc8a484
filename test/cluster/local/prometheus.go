package local

import (
	"fmt"
	"time"
)

// prometheusConfig scrapes the pods that ask for it, as most clusters do, with three things of our
// own: a pod at 10.b.c.d is reached at 127.b.c.d, its labels become labels of the series, and what
// Tidegate writes on pods is short to query: release and revision.
func prometheusConfig(kubeconfig string, interval time.Duration) string {
	every := fmt.Sprintf("%dms", interval.Milliseconds())
	return fmt.Sprintf(`global:
  scrape_interval: %[1]s
  scrape_timeout: %[1]s
  evaluation_interval: %[1]s
scrape_configs:
- job_name: pods
  kubernetes_sd_configs:
  - role: pod
    kubeconfig_file: %[2]q
  relabel_configs:
  - {action: keep, source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], regex: "true"}
  - {action: keep, source_labels: [__meta_kubernetes_pod_phase], regex: Running}
  - {action: keep, source_labels: [__meta_kubernetes_pod_ready], regex: "true"}
  # Discovery finds a target for each port of a container; an annotation overrides them all.
  - {action: replace, source_labels: [__address__], regex: '10\.([0-9.]+):(\d+)', target_label: __address__, replacement: '127.$1:$2'}
  - action: replace
    source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    regex: '10\.([0-9.]+);(\d+)'
    target_label: __address__
    replacement: '127.$1:$2'
  - {action: keep, source_labels: [__address__], regex: '127\..+:\d+'}
  - {action: replace, source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path], regex: (.+), target_label: __metrics_path__}
  - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}
  - {action: replace, source_labels: [__meta_kubernetes_pod_label_tidegate_io_release], regex: (.+), target_label: release}
  - {action: replace, source_labels: [__meta_kubernetes_pod_label_tidegate_io_revision], regex: (.+), target_label: revision}
  - {action: replace, source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {action: replace, source_labels: [__meta_kubernetes_pod_name], target_label: pod}
`, every, kubeconfig)
}
