package rendered_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/schemas/v1alpha1"
	"tidegate.io/tidegate/webhook/rendered"
)

const rendering = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart-1}
spec:
  replicas: 2
  selector: {matchLabels: {app: cart}}
  template:
    metadata:
      labels: {app: cart}
    spec:
      serviceAccountName: cart
      containers:
      - name: main
        image: shop/cart:1
        env: [{name: MODE, value: safe}]
        resources: {limits: {cpu: "0.5", memory: 64Mi}}
        readinessProbe: {httpGet: {path: /ready, port: 8080}}
      volumes:
      - {name: config, configMap: {name: cart}}
`

// admitted is the same as the API server has it after its own defaults.
const admitted = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart-1, uid: x}
spec:
  replicas: 1
  progressDeadlineSeconds: 600
  revisionHistoryLimit: 10
  selector: {matchLabels: {app: cart}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template:
    metadata:
      creationTimestamp: null
      labels: {app: cart}
    spec:
      serviceAccountName: cart
      serviceAccount: cart
      dnsPolicy: ClusterFirst
      restartPolicy: Always
      schedulerName: default-scheduler
      securityContext: {}
      terminationGracePeriodSeconds: 30
      containers:
      - name: main
        image: shop/cart:1
        imagePullPolicy: IfNotPresent
        terminationMessagePath: /dev/termination-log
        terminationMessagePolicy: File
        env: [{name: MODE, value: safe}]
        resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 500m, memory: 64Mi}}
        readinessProbe: {httpGet: {path: /ready, port: 8080, scheme: HTTP}, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3}
      volumes:
      - {name: config, configMap: {name: cart, defaultMode: 420}}
`

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCompareSeesWhatSomebodyPutInBetween(t *testing.T) {
	for name, tc := range map[string]struct {
		from, to string
		mutators []v1alpha1.Mutator
		// rendered is what else is replaced in the rendering.
		rendered [2]string
		// want is the path of the only difference; empty: there is none.
		want string
	}{
		"what the API server fills in is none": {},
		"zeros that the API server drops are none": {
			from: "env: [{name: MODE, value: safe}]", to: "env: [{name: MODE}]",
			rendered: [2]string{"env: [{name: MODE, value: safe}]", "stdin: false\n        env: [{name: MODE, value: \"\"}]"},
		},
		"a zero that means something is one": {
			rendered: [2]string{"      serviceAccountName: cart\n", "      serviceAccountName: cart\n      automountServiceAccountToken: false\n"},
			want:     "spec.template.spec.automountServiceAccountToken",
		},
		"a value where a zero was rendered": {
			rendered: [2]string{"value: safe", `value: ""`}, want: "spec.template.spec.containers[0].env[0].value",
		},
		"a container": {
			from: "      volumes:\n", to: "      - {name: miner, image: evil}\n      volumes:\n", want: "spec.template.spec.containers[1]",
		},
		"an init container": {
			from: "      volumes:\n", to: "      initContainers: [{name: miner, image: evil}]\n      volumes:\n", want: "spec.template.spec.initContainers",
		},
		"an image":              {from: "shop/cart:1", to: "evil/cart:1", want: "spec.template.spec.containers[0].image"},
		"a variable":            {from: "value: safe}", to: "value: safe}, {name: X, value: y}", want: "spec.template.spec.containers[0].env[1]"},
		"another value":         {from: "value: safe", to: "value: evil", want: "spec.template.spec.containers[0].env[0].value"},
		"a command":             {from: "        imagePullPolicy: IfNotPresent\n", to: "        command: [sh]\n", want: "spec.template.spec.containers[0].command"},
		"a right":               {from: "      securityContext: {}\n", to: "      securityContext: {runAsUser: 0}\n", want: "spec.template.spec.securityContext"},
		"the node's network":    {from: "      securityContext: {}\n", to: "      hostNetwork: true\n", want: "spec.template.spec.hostNetwork"},
		"another account":       {from: "serviceAccount: cart\n", to: "serviceAccount: root\n", want: "spec.template.spec.serviceAccount"},
		"a volume":              {from: "defaultMode: 420}}\n", to: "defaultMode: 420}}\n      - {name: host, hostPath: {path: /}}\n", want: "spec.template.spec.volumes[1]"},
		"more memory":           {from: "limits: {cpu: 500m, memory: 64Mi}", to: "limits: {cpu: 500m, memory: 1Gi}", want: "spec.template.spec.containers[0].resources.limits.memory"},
		"an annotation of pods": {from: "      labels: {app: cart}\n    spec", to: "      labels: {app: cart}\n      annotations: {inject: yes-please}\n    spec", want: "spec.template.metadata.annotations"},
		"a label of pods":       {from: "      labels: {app: cart}\n    spec", to: "      labels: {app: cart, x: y}\n    spec", want: "spec.template.metadata.labels.x"},
		"something taken away":  {from: "        env: [{name: MODE, value: safe}]\n", to: "", want: "spec.template.spec.containers[0].env"},
		"a number of pods is the rollout's": {
			from: "replicas: 1", to: "replicas: 9",
		},
		"what a Gate declares may differ": {
			from: "value: safe}", to: "value: safe}, {name: X, value: y}",
			mutators: []v1alpha1.Mutator{{Kind: "Deployment", Paths: []string{"spec.template.spec.containers[*].env"}}},
		},
		"what is below a declared path may differ": {
			from: "      labels: {app: cart}\n    spec", to: "      labels: {app: cart}\n      annotations: {inject: yes-please}\n    spec",
			mutators: []v1alpha1.Mutator{{Kind: "*", Paths: []string{"spec.template.metadata.annotations"}}},
		},
		"what a Gate declares for another kind may not": {
			from: "value: safe}", to: "value: safe}, {name: X, value: y}", want: "spec.template.spec.containers[0].env[1]",
			mutators: []v1alpha1.Mutator{{Kind: "StatefulSet", Paths: []string{"spec.template.spec.containers[*].env"}}},
		},
		"a declared path frees nothing beside it": {
			from: "shop/cart:1", to: "evil/cart:1", want: "spec.template.spec.containers[0].image",
			mutators: []v1alpha1.Mutator{{Kind: "Deployment", Paths: []string{"spec.template.spec.containers[*].env"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := admitted
			if tc.from != "" {
				if strings.Count(admitted, tc.from) < 1 {
					t.Fatalf("%q is not in the object", tc.from)
				}
				at := strings.LastIndex(admitted, tc.from)
				text = admitted[:at] + tc.to + admitted[at+len(tc.from):]
			}
			want := rendering
			if tc.rendered[0] != "" {
				if want = strings.Replace(rendering, tc.rendered[0], tc.rendered[1], 1); want == rendering {
					t.Fatalf("%q is not in the rendering", tc.rendered[0])
				}
			}
			got := rendered.Compare(object(t, want), object(t, text), tc.mutators)
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("wanted no difference, got %+v", got)
			case tc.want != "" && (len(got) != 1 || got[0].Path != tc.want):
				t.Errorf("wanted %s, got %+v", tc.want, got)
			}
		})
	}
}
