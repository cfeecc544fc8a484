package lean_test

import (
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/lean"
)

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOnlyWhatTheAPIServerDropsIsDropped(t *testing.T) {
	for name, tc := range map[string]struct{ given, want string }{
		"zeros that say nothing": {
			`{apiVersion: apps/v1, kind: Deployment, spec: {minReadySeconds: 0, paused: false, template: {spec: {hostNetwork: false, containers: [{name: a, image: "", stdin: false, env: [{name: X, value: ""}, {name: OTHER, value: b}], readinessProbe: {initialDelaySeconds: 0}, volumeMounts: [{name: v, mountPath: /, readOnly: false}]}]}}}}`,
			`{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: [{name: a, env: [{name: X}, {name: OTHER, value: b}], readinessProbe: {}, volumeMounts: [{name: v, mountPath: /}]}]}}}}`,
		},
		"zeros that say something": {
			`{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 0, revisionHistoryLimit: 0, template: {spec: {automountServiceAccountToken: false, enableServiceLinks: false, terminationGracePeriodSeconds: 0, containers: [{name: a, securityContext: {allowPrivilegeEscalation: false, privileged: false, runAsUser: 0}}]}}}}`,
			`{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 0, revisionHistoryLimit: 0, template: {spec: {automountServiceAccountToken: false, enableServiceLinks: false, terminationGracePeriodSeconds: 0, containers: [{name: a, securityContext: {allowPrivilegeEscalation: false, privileged: false, runAsUser: 0}}]}}}}`,
		},
		"entries of a map": {
			`{apiVersion: v1, kind: ConfigMap, data: {a: "", b: x}}`,
			`{apiVersion: v1, kind: ConfigMap, data: {a: "", b: x}}`,
		},
		"another kind":         {`{apiVersion: example.com/v1, kind: Thing, spec: {a: 0}}`, `{apiVersion: example.com/v1, kind: Thing, spec: {a: 0}}`},
		"what does not decode": {`{apiVersion: v1, kind: Service, spec: 5, x: 0}`, `{apiVersion: v1, kind: Service, spec: 5, x: 0}`},
		"a field of a later version": {
			`{apiVersion: v1, kind: Service, spec: {new: {on: true, off: false}}}`, `{apiVersion: v1, kind: Service, spec: {new: {on: true}}}`,
		},
	} {
		given := object(t, tc.given)
		if got := lean.Of(given); !reflect.DeepEqual(got, object(t, tc.want)) {
			t.Errorf("%s: got %v", name, got)
		}
		if !reflect.DeepEqual(given, object(t, tc.given)) {
			t.Errorf("%s: the object was changed", name)
		}
	}
}
