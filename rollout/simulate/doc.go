// Package simulate plays a scenario: a strategy, a small model of a cluster, and what happens
// when. It says what Tidegate would decide. The decisions are those of plan.Next, the very function
// that the manager calls; only the cluster around it is a model.
//
// # The model
//
// Pods become available some time after they are asked for, fail, get lost and come back. A gateway
// accepts a route after a delay, or refuses it. Autoscalers follow the load. Policies, analyses, jobs
// and hooks answer as the scenario says. The manager may be away, may die between two writes, and may
// have a clock that jumps. Facts may be unreadable. People give commands and apply newer Releases.
//
// Time is the model's own and begins at Epoch, so that a scenario gives the same bytes each time.
//
// # What it cannot say
//
// It knows nothing of a real cluster's load, nodes, quotas or networks. Requests at risk are what
// the model's pods and weights come to, not a promise.
package simulate
