package integration

// The templates of TestStrategies: each as small as it can be.
const (
	templateHead = `package t

#Variables: {
	image: string
	replicas: int & >=0 | *1
}
#Context: {name: string, namespace: string, template: string, revision: string}
values:  #Variables
context: #Context

_id: "\(context.name)-\(context.revision)"
_all: {"tidegate.io/release": context.name}
_own: {"tidegate.io/release": context.name, "tidegate.io/revision": context.revision}
_pod: {
	terminationGracePeriodSeconds: 0
	if values.image == "unschedulable" {
		nodeSelector: no: "such-node"
	}
	containers: [{name: "app", image: values.image, resources: requests: {cpu: "1m", memory: "1Mi"}}]
}
_analysis: {
	source: "none", interval: "100ms", window: "100ms"
	metrics: [{name: "errors", query: "1", samples: "1", threshold: max: "0.05"}]
}
_config: {apiVersion: "v1", kind: "ConfigMap", metadata: name: _id, data: image: values.image}
`
	blueGreenTemplate = templateHead + `
_given: {STRATEGY}
rollout: {
	type: "blueGreen", progressDeadline: "5s"
	if len(_given) == 0 {
		steps: [{pause: duration: "200ms"}, {pause: approval: true}, {setWeight: 100}, {analyze: {}}]
		analysis: _analysis
		drainDelay: "500ms", scaleDownDelay: "3s"
	}
	if len(_given) > 0 {_given}
}
objects: preview: {
	apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: _id
	spec: {parentRefs: [{name: "edge"}], hostnames: ["preview.example"], rules: [{backendRefs: [{name: _id, port: 80}]}]}
}
objects: {
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: _id
		spec: {
			replicas: values.replicas
			selector: matchLabels: _own
			template: {metadata: labels: _own, spec: _pod}
		}
	}
	service: {apiVersion: "v1", kind: "Service", metadata: name: _id, spec: {selector: _own, ports: [{port: 80}]}}
	route: {
		apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: context.name
		spec: {parentRefs: [{name: "edge"}], rules: [{backendRefs: [{name: _id, port: 80}]}]}
	}
}
`
	autoscaledTemplate = templateHead + `
rollout: {type: "canary", progressDeadline: "20s", drainDelay: "200ms", steps: [{setWeight: 50}, {setWeight: 100}]}
objects: {
	deployment: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: _id
		spec: {
			selector: matchLabels: _own
			template: {metadata: labels: _own, spec: _pod}
		}
	}
	hpa: {
		apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: name: _id
		spec: {
			scaleTargetRef: {apiVersion: "apps/v1", kind: "Deployment", name: _id}
			minReplicas: values.replicas, maxReplicas: 10
		}
	}
	service: {apiVersion: "v1", kind: "Service", metadata: name: _id, spec: {selector: _own, ports: [{port: 80}]}}
	route: {
		apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: name: context.name
		spec: {parentRefs: [{name: "edge"}], rules: [{backendRefs: [{name: _id, port: 80}]}]}
	}
}
`
	workerTemplate = templateHead + `
rollout: {type: "rolling", progressDeadline: "6s", steps: [{setWeight: 100}, {analyze: {}}], analysis: _analysis}
objects: {
	config: _config
	worker: {
		apiVersion: "apps/v1", kind: "Deployment", metadata: name: context.name
		spec: {
			replicas: values.replicas
			selector: matchLabels: _all
			template: {metadata: labels: _all, spec: _pod}
		}
	}
}
`
	statefulTemplate = templateHead + `
rollout: {type: "rolling", progressDeadline: "8s", steps: [{setWeight: 20}, {pause: approval: true}, {setWeight: 100}]}
objects: {
	config: _config
	headless: {apiVersion: "v1", kind: "Service", metadata: name: context.name, spec: {clusterIP: "None", selector: _all, ports: [{port: 80}]}}
	stateful: {
		apiVersion: "apps/v1", kind: "StatefulSet", metadata: name: context.name
		spec: {
			replicas: values.replicas, serviceName: context.name, podManagementPolicy: "Parallel"
			selector: matchLabels: _all
			template: {metadata: labels: _all, spec: _pod}
		}
	}
}
`
	daemonTemplate = templateHead + `
rollout: {type: "rolling", progressDeadline: "20s"}
objects: daemon: {
	apiVersion: "apps/v1", kind: "DaemonSet", metadata: name: context.name
	spec: {
		updateStrategy: rollingUpdate: maxUnavailable: "100%"
		selector: matchLabels: _all
		template: {metadata: labels: _all, spec: _pod}
	}
}
`
	cronTemplate = templateHead + `
rollout: {type: "rolling"}
objects: {
	config: _config
	job: {
		apiVersion: "batch/v1", kind: "CronJob", metadata: name: context.name
		spec: {schedule: "0 0 1 1 *", jobTemplate: spec: template: spec: {_pod, restartPolicy: "Never"}}
	}
}
`
)
