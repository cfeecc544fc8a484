package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// chartGuards is what the chart puts into its ConfigMap, in short.
const chartGuards = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: tidegate-actor}
spec: {}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: tidegate-guard-cluster, labels: {a: b}}
spec:
  variables:
  - {name: user, expression: a}
  - {name: groups, expression: a}
  - {name: sub, expression: a}
  - {name: what, expression: a}
  - {name: name, expression: a}
  - {name: credential, expression: a}
  - {name: person, expression: a}
  - {name: admin, expression: a}
  - {name: trusted, expression: a}
  validations: [{expression: "true", message: refused}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: tidegate-guard-cluster}
spec: {policyName: tidegate-guard-cluster, validationActions: [Deny]}
`

func chartMap(content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "tidegate-system", Name: "tidegate-standing"}, Data: map[string]string{"standing.yaml": content}}
}

func TestGateSealWritesWhatAnAPIServerReads(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, chartMap(chartGuards))
	dir := filepath.Join(t.TempDir(), "sealed")
	for _, turn := range []string{"the first time", "again, after the chart changed"} {
		w.wantCode(w.run(t.Context(), "gate", "seal", "-o", dir, "--mounted", "/etc/k8s/tidegate"), ExitOK)
		raw, err := os.ReadFile(filepath.Join(dir, "policies", "tidegate-guard.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for doc := range strings.SplitSeq(strings.TrimPrefix(string(raw), "---\n"), "---\n") {
			var o metav1.PartialObjectMetadata
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
				t.Fatal(err)
			}
			names[o.Kind+" "+o.Name] = true
			if len(o.Labels) > 0 {
				t.Errorf("%s, %s %s: wanted nothing of Helm's in a file, found %v", turn, o.Kind, o.Name, o.Labels)
			}
		}
		for _, want := range []string{
			"ValidatingAdmissionPolicy tidegate-guard-cluster.static.k8s.io", "ValidatingAdmissionPolicyBinding tidegate-guard-cluster.static.k8s.io",
			"ValidatingAdmissionPolicy tidegate-guard-policies.static.k8s.io", "ValidatingAdmissionPolicyBinding tidegate-guard-policies.static.k8s.io",
		} {
			if !names[want] {
				t.Errorf("%s: wanted %s, found %v", turn, want, names)
			}
		}
		if len(names) != 4 {
			t.Errorf("%s: wanted the guards and no more, found %v", turn, names)
		}
		config, err := os.ReadFile(filepath.Join(dir, "admission-config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		wantPart(t, "the configuration", string(config), "staticManifestsDir: /etc/k8s/tidegate/policies\n")
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 {
			t.Errorf("%s: wanted two entries and nothing in between, found %v, %v", turn, entries, err)
		}
		wantPart(t, "stdout", w.out.String(), "--admission-control-config-file=/etc/k8s/tidegate/admission-config.yaml")
	}
}

func TestGateSealWritesOverNothingOfAnothers(t *testing.T) {
	for name, tc := range map[string]struct {
		args  []string
		chart []client.Object
		file  string
		want  string
	}{
		"no directory":                         {args: []string{}, want: "output-dir"},
		"a path that is not absolute":          {args: []string{"-o", "DIR", "--mounted", "etc"}, want: `--mounted: wanted an absolute path, found "etc"`},
		"an argument":                          {args: []string{"-o", "DIR", "more"}, want: "more"},
		"no chart there":                       {args: []string{"-o", "DIR", "--manager-namespace", "other"}, want: "--manager-namespace"},
		"a chart without guards":               {args: []string{"-o", "DIR"}, chart: []client.Object{chartMap("")}, want: "guard.enabled=true"},
		"a chart that cannot be read":          {args: []string{"-o", "DIR"}, chart: []client.Object{chartMap("kind: Pod")}, want: "wanted admission policies of the chart"},
		"another policy in the directory":      {args: []string{"-o", "DIR"}, file: "policies/mine.yaml", want: "found mine.yaml"},
		"a directory in the directory":         {args: []string{"-o", "DIR"}, file: "policies/more/mine.yaml", want: "found more"},
		"an admission configuration of others": {args: []string{"-o", "DIR"}, file: "admission-config.yaml", want: "take over the entry for ValidatingAdmissionPolicy by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.file != "" {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, tc.file)), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, tc.file), []byte("mine"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			chart := tc.chart
			if chart == nil {
				chart = []client.Object{chartMap(chartGuards)}
			}
			w := newWorld(t, interceptor.Funcs{}, chart...)
			args := append([]string{"gate", "seal"}, tc.args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "DIR", dir)
			}
			w.wantCode(w.run(t.Context(), args...), ExitError)
			wantPart(t, "stderr", w.err.String(), tc.want)
			if _, err := os.Stat(filepath.Join(dir, "policies", "tidegate-guard.yaml")); err == nil {
				t.Error("it wrote all the same")
			}
			if tc.file != "" {
				if was, err := os.ReadFile(filepath.Join(dir, tc.file)); err != nil || string(was) != "mine" {
					t.Errorf("what was there: %q, %v", was, err)
				}
			}
		})
	}
}
