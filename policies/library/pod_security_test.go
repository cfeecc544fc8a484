package library_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// podOf is the Pod that an object would make; ok is false where it makes none, or where the
// API server would refuse it.
func podOf(raw []byte) (pod corev1.Pod, ok bool) {
	var object struct {
		Kind string `json:"kind"`
		Spec struct {
			Template    json.RawMessage `json:"template"`
			JobTemplate struct {
				Spec struct {
					Template json.RawMessage `json:"template"`
				} `json:"spec"`
			} `json:"jobTemplate"`
		} `json:"spec"`
	}
	if json.Unmarshal(raw, &object) != nil {
		return pod, false
	}
	template := object.Spec.Template
	switch object.Kind {
	case "Pod":
		template = raw
	case "CronJob":
		template = object.Spec.JobTemplate.Spec.Template
	}
	if len(template) == 0 || json.Unmarshal(template, &pod) != nil || len(pod.Spec.Containers) == 0 {
		return pod, false
	}
	pod.APIVersion, pod.Kind, pod.Name, pod.Namespace = "v1", "Pod", "a", "shop"
	return pod, true
}

// changes are ways in which a pod can differ, beyond those of the samples: each is put to
// every container and, where it has a meaning there, to the pod.
var changes = []string{
	`{}`, `{"securityContext": {}}`, `{"securityContext": {"runAsUser": 0}}`, `{"securityContext": {"runAsUser": 1, "runAsNonRoot": false}}`,
	`{"securityContext": {"runAsNonRoot": true}}`, `{"securityContext": {"seccompProfile": {"type": "Unconfined"}}}`,
	`{"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "a"}}}`, `{"securityContext": {"seccompProfile": {"type": ""}}}`,
	`{"securityContext": {"appArmorProfile": {"type": ""}}}`, `{"securityContext": {"appArmorProfile": {"type": "Localhost"}}}`,
	`{"securityContext": {"seLinuxOptions": {"type": "container_engine_t", "level": "s0"}}}`, `{"securityContext": {"seLinuxOptions": {"role": "a"}}}`,
	`{"securityContext": {"windowsOptions": {"hostProcess": false}}}`, `{"securityContext": {"windowsOptions": {"hostProcess": true}}}`,
	`{"securityContext": {"capabilities": {"drop": ["all"]}}}`, `{"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}}}`,
	`{"securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": true}}`, `{"securityContext": {"procMount": "Unmasked"}}`, `{"securityContext": {"privileged": false}}`,
	`{"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}}`, `{"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}}`,
	`{"ports": [{"containerPort": 1, "hostPort": 0}]}`, `{"startupProbe": {"tcpSocket": {"port": 1, "host": "b"}}}`, `{"lifecycle": {"postStart": {"tcpSocket": {"port": 1, "host": ""}}}}`,
	`{"lifecycle": {"postStart": {"httpGet": {"port": 1, "host": "b"}}}}`, `{"lifecycle": {"preStop": {"tcpSocket": {"port": 1, "host": "b"}}}}`, `{"readinessProbe": {"httpGet": {"port": 1, "host": "b"}}}`,
	`{"hostUsers": false}`, `{"hostUsers": true}`, `{"os": {"name": "windows"}}`, `{"os": {"name": "linux"}}`, `{"hostIPC": true}`, `{"volumes": [{"name": "a", "ephemeral": {}}, {"name": "b", "gitRepo": {"repository": "c"}}]}`,
}

// The verdicts are those of the admission plugin of Kubernetes, for every pod of the samples
// of all policies, and for each change of theirs.
func TestPodSecurityIsThatOfKubernetes(t *testing.T) {
	plugin, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*/samples/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var pods []corev1.Pod
	seen := map[string]bool{}
	add := func(pod corev1.Pod) {
		raw, err := json.Marshal(pod.Spec)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return !oneSource(v) }) {
			return // the API server makes an emptyDir of none, and refuses two
		}
		if key := string(raw) + strings.Join(annotations(pod), " "); !seen[key] {
			seen[key] = true
			pods = append(pods, pod)
		}
	}
	for _, file := range files {
		raw, err := yaml.YAMLToJSON([]byte(read(t, file)))
		if err != nil {
			t.Fatal(err)
		}
		if pod, ok := podOf(raw); ok {
			add(pod)
		}
	}
	good, ok := podOf(assemble(t, "image-tags").samples(t, "allowed")["pod"])
	if !ok {
		t.Fatal("wanted a pod among the samples")
	}
	good.Spec.InitContainers = []corev1.Container{*good.Spec.Containers[0].DeepCopy()}
	good.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon(*good.Spec.Containers[0].DeepCopy())}}
	for _, first := range changes {
		for _, second := range []string{`{}`, `{"hostUsers": false}`, `{"os": {"name": "windows"}}`, `{"securityContext": null}`} {
			for _, to := range []func(*corev1.PodSpec) any{
				func(s *corev1.PodSpec) any { return s },
				func(s *corev1.PodSpec) any { return &s.Containers[0] },
				func(s *corev1.PodSpec) any { return &s.InitContainers[0] },
				func(s *corev1.PodSpec) any { return &s.EphemeralContainers[0] },
			} {
				if strings.Contains(second, "windows") && strings.Contains(first, "seccomp") {
					continue // the API server refuses it, and the plugin relies on that
				}
				pod := good.DeepCopy()
				if json.Unmarshal([]byte(second), &pod.Spec) == nil && json.Unmarshal([]byte(first), to(&pod.Spec)) == nil {
					add(*pod)
				}
			}
		}
	}
	for name, level := range map[string]psapi.Level{"pod-security-baseline": psapi.LevelBaseline, "pod-security-restricted": psapi.LevelRestricted} {
		p := compile(t, assemble(t, name).source)
		allowed := 0
		for _, pod := range pods {
			want := policy.AggregateCheckResults(plugin.EvaluatePod(psapi.LevelVersion{Level: level, Version: psapi.LatestVersion()}, &pod.ObjectMeta, &pod.Spec))
			raw, err := json.Marshal(pod)
			if err != nil {
				t.Fatal(err)
			}
			got := ask(t, p, v1alpha1.AtAdmission, raw)
			if want.Allowed {
				allowed++
			}
			if (len(got.Denials) == 0) != want.Allowed {
				t.Errorf("%s: the plugin says %q, the policy %q, about %s", level, want.ForbiddenDetail(), lines(eval.Verdict{Denials: got.Denials}), raw)
			}
		}
		t.Logf("%s: %d pods, %d of them allowed", level, len(pods), allowed)
		if allowed < 20 || len(pods)-allowed < 20 {
			t.Errorf("%s: wanted pods of both sorts, found %d of %d allowed", level, allowed, len(pods))
		}
	}
}

// oneSource says whether a volume has exactly one source, as all have behind the API server.
func oneSource(v corev1.Volume) bool {
	raw, err := json.Marshal(v.VolumeSource)
	var sources map[string]any
	return err == nil && json.Unmarshal(raw, &sources) == nil && len(sources) == 1
}

func annotations(pod corev1.Pod) []string {
	var out []string
	for k, v := range pod.Annotations {
		out = append(out, k+"="+v)
	}
	return out
}
