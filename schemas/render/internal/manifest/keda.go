package manifest

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// scaledObject is a ScaledObject of KEDA as far as it is checked here: its Go types would
// bring the whole operator along. What is opaque is checked by KEDA's own webhook.
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              scaledObjectSpec `json:"spec"`
}

type scaledObjectSpec struct {
	ScaleTargetRef        scaleTarget      `json:"scaleTargetRef"`
	PollingInterval       *int32           `json:"pollingInterval"`
	CooldownPeriod        *int32           `json:"cooldownPeriod"`
	InitialCooldownPeriod *int32           `json:"initialCooldownPeriod"`
	IdleReplicaCount      *int32           `json:"idleReplicaCount"`
	MinReplicaCount       *int32           `json:"minReplicaCount"`
	MaxReplicaCount       *int32           `json:"maxReplicaCount"`
	Advanced              map[string]any   `json:"advanced"`
	Fallback              map[string]any   `json:"fallback"`
	Triggers              []map[string]any `json:"triggers"`
}

type scaleTarget struct {
	APIVersion             string `json:"apiVersion"`
	Kind                   string `json:"kind"`
	Name                   string `json:"name"`
	EnvSourceContainerName string `json:"envSourceContainerName"`
}

// What KEDA takes where nothing is said.
const (
	kedaAPIVersion  = "apps/v1"
	kedaMaxReplicas = 100
)
