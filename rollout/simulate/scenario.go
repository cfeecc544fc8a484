package simulate

import (
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Epoch is when every scenario begins.
var Epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Scenario is what is given and what happens.
type Scenario struct {
	// File is where it comes from, for messages.
	File string
	// Comment is the prose at the top of a txtar archive.
	Comment string
	// Want is the expected output in a txtar archive; HasWant says whether there is any.
	Want    string
	HasWant bool

	// Release is the name of the Release.
	Release string
	// Strategy is checked and complete.
	Strategy v1alpha1.Strategy
	// Revision is what is rolled out, in Replicas pods.
	Revision string
	Replicas int32
	// Stable is what serves; nil for a first install.
	Stable *Served
	// History are the revisions that were in service before, the newest first.
	History []string
	// Router is how requests are spread; empty with rolling.
	Router v1alpha1.Router
	// Workload is the kind of the object that the pods come from.
	Workload Workload
	// Load is how many pods autoscalers ask for where all of the traffic is; 0 without them.
	Load int32

	Defaults Defaults
	Timeline []Entry
	// Until is when the scenario ends at the latest.
	Until  time.Duration
	Expect Expect
}

// Served is a revision in service.
type Served struct {
	Revision string
	Replicas int32
	// Strategy is how it came; empty where that is the scenario's.
	Strategy v1alpha1.StrategyType
}

// Workload is a kind of workload.
type Workload string

// The kinds of workloads that have pods.
const (
	WorkloadDeployment  Workload = "Deployment"
	WorkloadStatefulSet Workload = "StatefulSet"
	WorkloadDaemonSet   Workload = "DaemonSet"
)

// Defaults are how the cluster behaves until the timeline says otherwise.
type Defaults struct {
	// Start is the time from when a pod is made to when it is available.
	Start time.Duration
	// Accept is the time that the gateway takes to accept a changed route.
	Accept time.Duration
	// Restart is the time that the manager is away after it has died.
	Restart time.Duration
	Verdict v1alpha1.Verdict
	Hook    HookAnswer
	Job     JobOutcome
}

// HookAnswer is how a hook answers.
type HookAnswer struct {
	// Name is the hook; empty for all of them.
	Name   string
	Answer HookWord
	Takes  time.Duration
}

// HookWord is a kind of answer.
type HookWord string

const (
	// HookPasses is an answer of 2xx.
	HookPasses HookWord = "passes"
	// HookRefuses is an answer of 403, after which no other try makes sense.
	HookRefuses HookWord = "refuses"
	// HookFails is an answer of 503.
	HookFails HookWord = "fails"
	// HookSilent is no answer within the hook's timeout.
	HookSilent HookWord = "silent"
)

// JobOutcome is how a job ends.
type JobOutcome struct {
	Outcome JobWord
	Takes   time.Duration
}

// JobWord is a kind of end.
type JobWord string

const (
	// JobSucceeds is a good end.
	JobSucceeds JobWord = "succeeds"
	// JobFails is a bad one.
	JobFails JobWord = "fails"
	// JobHangs is none.
	JobHangs JobWord = "hangs"
)

// Entry is one thing that happens. The entries of a timeline happen in order: each is
// looked at once those above it have happened.
type Entry struct {
	// Line in the file.
	Line int
	// At is a time since the beginning; where When is set, After is a time since it came true.
	At, After time.Duration
	// When is nil where the entry has a time.
	When  *Condition
	Event Event
}

// Expect is what has to come out.
type Expect struct {
	// Line in the file; 0 where nothing is expected.
	Line int
	// Outcome is the phase of the newest Rollout at the end.
	Outcome v1alpha1.RolloutPhase
	// Serving is the revision that gets all requests at the end.
	Serving string
	// Highest is the highest weight that Revision ever had; nil for any.
	Highest *int32
	// Within is the time in which everything has settled; 0 for any.
	Within time.Duration
	// AtRisk is for how long requests may be at risk at most.
	AtRisk time.Duration
	// Reasons come in this order, others between them.
	Reasons []string
	// Never are conditions that never hold, Always ones that always do; both are looked at
	// after every decision and every change of the cluster.
	Never, Always []Condition
	// Refused are the codes of refused commands, in order.
	Refused []string
}
