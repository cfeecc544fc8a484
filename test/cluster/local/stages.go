package local

import (
	_ "embed"
	"strings"
)

// ReadyAnnotation on a pod says, with the value "true", that the pod is ready, when the cluster was
// started with ManualReadiness.
const ReadyAnnotation = "traffic.tidegate.test/ready"

var (
	//go:embed stages/node.yaml
	nodeStages string
	//go:embed stages/pod.yaml
	podStages string
	//go:embed stages/start.yaml
	startStage string
	//go:embed stages/readiness.yaml
	readinessStage string
)

// stages returns what kwok does to nodes and pods, in place of a kubelet.
func stages(manualReadiness bool) string {
	if !manualReadiness {
		return join(nodeStages, podStages, fill(startStage, true))
	}
	return join(nodeStages, podStages, fill(startStage, false), fill(readinessStage, true), fill(readinessStage, false))
}

// fill writes one state of readiness into a stage. Stages are templates of kwok's already, hence
// not one of ours.
func fill(stage string, ready bool) string {
	values := []string{
		"@NAME@", "unready", "@OPERATOR@", "NotIn", "@READY@", "False", "@REASON@", "ContainersNotReady", "@CONTAINER@", "false",
	}
	if ready {
		values = []string{"@NAME@", "ready", "@OPERATOR@", "In", "@READY@", "True", "@REASON@", "", "@CONTAINER@", "true"}
	}
	return strings.NewReplacer(append(values, "@ANNOTATION@", ReadyAnnotation)...).Replace(stage)
}

func join(stages ...string) string { return strings.Join(stages, "---\n") }
