// Package attempt is the file format of the attack suite: one file is one attempt, or one
// legitimate action, with what must be there before, the request, what is expected of it
// and how the world must look afterwards. docs/attack.md describes it for those who write
// such files; the words here are the same.
//
// Nothing here talks to a cluster. Reading is strict: a key that the format does not have,
// a variable that nobody sets and an attempt that expects nothing are mistakes, told with
// file and line, since an attempt that is read wrongly would pass or fail for no reason.
package attempt

import (
	"slices"
	"strings"
	"time"
)

// Kind says on which side an attempt stands.
type Kind string

const (
	// Hostile is an attempt to go around the managed flow, which must not succeed.
	Hostile Kind = "attempt"
	// Legitimate is an action that must succeed.
	Legitimate Kind = "legitimate"
)

// Result is how a request ended.
type Result string

const (
	// Denied is a refusal by Tidegate: by its webhook or by one of its admission policies.
	Denied Result = "denied"
	// Rejected is a refusal by anything else: authentication, RBAC, validation, size, a
	// webhook that could not be reached; of a review it is any answer that is no verdict.
	Rejected Result = "rejected"
	// Allowed is success.
	Allowed Result = "allowed"
	// Admitted is what neither RBAC nor admission refused, whatever became of it: a
	// connection into a pod that runs no code, for example.
	Admitted Result = "admitted"
)

// Place says in which kind of namespace an attempt plays.
type Place string

const (
	// Governed is a namespace of Gate production, chosen by a pattern.
	Governed Place = "governed"
	// Labelled is a namespace of Gate labelled, chosen by the label attack=governed.
	Labelled Place = "labelled"
	// Strict is a namespace of Gate strict, which allows no evictions and nothing else.
	Strict Place = "strict"
	// Glass is a namespace of Gate glass, which allows exemptions.
	Glass Place = "glass"
	// Ungoverned is a namespace that no Gate governs.
	Ungoverned Place = "open"
	// Nowhere is no namespace at all.
	Nowhere Place = "none"
)

// Attempt is one file.
type Attempt struct {
	// File is where it was read.
	File string `yaml:"-"`
	// ID is unique in a run and fits into the names of objects.
	ID string `yaml:"-"`
	// Open is true when ${open} is named.
	Open bool `yaml:"-"`

	// Name is the sentence in the table; by default the file's name.
	Name string `yaml:"name,omitempty"`
	// About is one sentence more: why somebody would try it, or needs it.
	About string `yaml:"about"`
	Kind  Kind   `yaml:"kind"`

	// Namespace is the place of ${namespace}; Governed by default.
	Namespace Place `yaml:"namespace,omitempty"`
	// NamespaceLabels are put on ${namespace} when it is made.
	NamespaceLabels map[string]string `yaml:"namespaceLabels,omitempty"`
	// Release is brought into service before everything else.
	Release *Release `yaml:"release,omitempty"`
	// As makes the requests that do not say so themselves.
	As *Identity `yaml:"as,omitempty"`
	// Setup is done before. An attempt whose setup fails is an error, never a pass.
	Setup []Step `yaml:"setup,omitempty"`
	// During goes on while the requests are made, and until they are answered.
	During []Load `yaml:"during,omitempty"`

	// Request is what is tried. Exactly one of Request, Requests and Review is set.
	Request *Request `yaml:"request,omitempty"`
	// Requests are made one after the other, or side by side.
	Requests []Request `yaml:"requests,omitempty"`
	// Parallel makes Requests side by side.
	Parallel bool `yaml:"parallel,omitempty"`
	// Review is posted to the webhook itself.
	Review *Review `yaml:"review,omitempty"`

	// Expect is what every request that has no expectation of its own must lead to.
	Expect *Expect `yaml:"expect,omitempty"`
	// Afterwards is looked at when the requests have been answered.
	Afterwards []Check `yaml:"afterwards,omitempty"`
	// Metrics are read before and after.
	Metrics []Metric `yaml:"metrics,omitempty"`

	// Alone plays after all others, one at a time: what would disturb them if it succeeded.
	// Tidegate's guards must look the same before and after; what does not is put back.
	Alone bool `yaml:"alone,omitempty"`
	// Manager is whether the manager runs while the requests are made.
	Manager ManagerState `yaml:"manager,omitempty"`
	// Timeout bounds setup, the requests, and looking afterwards, each. Without it setup has
	// MaxTimeout, the others DefaultTimeout: how long a cluster takes to bring something into
	// service is no finding.
	Timeout Duration `yaml:"timeout,omitempty"`
}

// ManagerState is whether the manager runs.
type ManagerState string

const (
	// Running is the default.
	Running ManagerState = "running"
	// Stopped has every setup done while it runs, and the requests made while it does not.
	Stopped ManagerState = "stopped"
)

// Release is brought into service, and sets the variables release, set, revision, rollout,
// pod, replicaset and uid (of the workload).
type Release struct {
	// Name is cart by default.
	Name string `yaml:"name,omitempty"`
	// Template is one of the shipped ones; web by default.
	Template string `yaml:"template,omitempty"`
	// Values override the least that the template needs.
	Values map[string]any `yaml:"values,omitempty"`
	// Then are other values, applied when the first are in service. It is waited for until
	// the second Rollout has begun, not for its end.
	Then map[string]any `yaml:"then,omitempty"`
}

// Identity is who makes a request.
type Identity struct {
	// User and Groups are in a client certificate. Without Groups the user is a
	// cluster-admin by RBAC.
	User   string   `yaml:"user,omitempty"`
	Groups []string `yaml:"groups,omitempty"`
	// Extra is what an authenticating proxy says about the user besides.
	Extra map[string][]string `yaml:"extra,omitempty"`
	// ServiceAccount is namespace/name; it logs in with a token of its own.
	ServiceAccount string `yaml:"serviceAccount,omitempty"`
	// Token logs in with a token that was captured.
	Token string `yaml:"token,omitempty"`
	// Anonymous does not log in.
	Anonymous bool `yaml:"anonymous,omitempty"`
	// Manager is Tidegate itself, for setup alone.
	Manager bool `yaml:"manager,omitempty"`
	// Impersonate sends the headers that ask to act as somebody else.
	Impersonate *Impersonation `yaml:"impersonate,omitempty"`
}

// Impersonation is what the headers Impersonate-* say.
type Impersonation struct {
	User   string   `yaml:"user,omitempty"`
	UID    string   `yaml:"uid,omitempty"`
	Groups []string `yaml:"groups,omitempty"`
	// Extra may be claimed by whoever RBAC lets claim it.
	Extra map[string][]string `yaml:"extra,omitempty"`
}

// Step is one thing done before. Exactly one of Apply, Request, Wait and Capture is set.
type Step struct {
	// Apply has objects applied on the server's side, by a cluster-admin unless As says
	// otherwise.
	Apply Objects   `yaml:"apply,omitempty"`
	As    *Identity `yaml:"as,omitempty"`
	// Request must be allowed unless it expects something else.
	Request *Request `yaml:"request,omitempty"`
	// Wait waits until a check holds.
	Wait *Check `yaml:"wait,omitempty"`
	// Capture sets a variable from an object.
	Capture *Capture `yaml:"capture,omitempty"`
}

// Capture sets the variable Var to a field of an object.
type Capture struct {
	Var    string `yaml:"var"`
	Object Target `yaml:"object"`
	Field  string `yaml:"field"`
	// Within bounds the wait for it to be there.
	Within Duration `yaml:"within,omitempty"`
}

// Request is one HTTP request to the API server, however odd.
type Request struct {
	// As overrides the attempt's.
	As *Identity `yaml:"as,omitempty"`
	// Verb is create, update, patch, apply, delete, deletecollection, get, list, watch or
	// connect. Not needed where Method is set.
	Verb string `yaml:"verb,omitempty"`

	// APIVersion and Resource (plural) are taken from the body where they are left out.
	APIVersion  string `yaml:"apiVersion,omitempty"`
	Resource    string `yaml:"resource,omitempty"`
	Subresource string `yaml:"subresource,omitempty"`
	Name        string `yaml:"name,omitempty"`
	// Namespace is ${namespace} for resources that have one.
	Namespace *string `yaml:"namespace,omitempty"`

	// Body is YAML, sent as JSON; a text is sent as it is.
	Body any `yaml:"body,omitempty"`
	// BodyBase64 is sent as the bytes that it encodes.
	BodyBase64 string `yaml:"bodyBase64,omitempty"`
	// Fill puts many generated elements into Body.
	Fill []Fill `yaml:"fill,omitempty"`
	// Edit is a list of JSON patch operations that are applied to the live object, which is
	// then sent back whole: the way of an editor. For update.
	Edit []map[string]any `yaml:"edit,omitempty"`
	// PatchType is json, merge, strategic or apply.
	PatchType string `yaml:"patchType,omitempty"`
	// ContentType overrides what follows from the verb.
	ContentType string `yaml:"contentType,omitempty"`

	FieldManager    string `yaml:"fieldManager,omitempty"`
	Force           bool   `yaml:"force,omitempty"`
	DryRun          bool   `yaml:"dryRun,omitempty"`
	FieldValidation string `yaml:"fieldValidation,omitempty"`

	PropagationPolicy  string         `yaml:"propagationPolicy,omitempty"`
	GracePeriodSeconds *int64         `yaml:"gracePeriodSeconds,omitempty"`
	Preconditions      *Preconditions `yaml:"preconditions,omitempty"`
	LabelSelector      string         `yaml:"labelSelector,omitempty"`
	FieldSelector      string         `yaml:"fieldSelector,omitempty"`

	// Method, Path, Query and Headers override what follows from the above. Path is raw.
	Method  string              `yaml:"method,omitempty"`
	Path    string              `yaml:"path,omitempty"`
	Query   map[string][]string `yaml:"query,omitempty"`
	Headers map[string]string   `yaml:"headers,omitempty"`

	// Repeat makes it that many times, Concurrency of them side by side.
	Repeat      int `yaml:"repeat,omitempty"`
	Concurrency int `yaml:"concurrency,omitempty"`
	// Capture sets variables from fields of the response.
	Capture map[string]string `yaml:"capture,omitempty"`
	// Expect overrides the attempt's.
	Expect *Expect `yaml:"expect,omitempty"`
	// Within, in setup alone, makes it again until it is answered as expected: what the API
	// server learns after a moment is waited for by asking it.
	Within Duration `yaml:"within,omitempty"`
}

// Preconditions of a delete.
type Preconditions struct {
	UID             string `yaml:"uid,omitempty"`
	ResourceVersion string `yaml:"resourceVersion,omitempty"`
}

// Fill puts Count copies of Value into the list or the map at the JSON pointer At. ${i} is
// the number of the copy, from 0.
type Fill struct {
	At    string `yaml:"at"`
	Count int    `yaml:"count"`
	// Key is for a map.
	Key   string `yaml:"key,omitempty"`
	Value any    `yaml:"value"`
}

// Review is posted to the webhook, past the API server.
type Review struct {
	// Path is /gate or /tidegate.
	Path string `yaml:"path"`
	// Method is POST by default.
	Method string `yaml:"method,omitempty"`
	// Body, BodyBase64 and Fill are as in Request.
	Body       any    `yaml:"body,omitempty"`
	BodyBase64 string `yaml:"bodyBase64,omitempty"`
	Fill       []Fill `yaml:"fill,omitempty"`
	// ContentType is application/json by default.
	ContentType string            `yaml:"contentType,omitempty"`
	Headers     map[string]string `yaml:"headers,omitempty"`
	// Slow sends the body a piece at a time.
	Slow *Slow `yaml:"slow,omitempty"`

	Repeat      int `yaml:"repeat,omitempty"`
	Concurrency int `yaml:"concurrency,omitempty"`
}

// Slow sends Bytes (1 by default) every Every.
type Slow struct {
	Bytes int      `yaml:"bytes,omitempty"`
	Every Duration `yaml:"every"`
}

// Load is made again and again, Concurrency at a time, while the attempt's own requests are made.
type Load struct {
	As          *Identity `yaml:"as,omitempty"`
	Request     *Request  `yaml:"request,omitempty"`
	Review      *Review   `yaml:"review,omitempty"`
	Concurrency int       `yaml:"concurrency"`
}

// Expect is what must come of a request. All that is given must hold.
type Expect struct {
	// Result is one of these.
	Result Results `yaml:"result"`
	// Code is one of these stable codes.
	Code Texts `yaml:"code,omitempty"`
	// Policy is in the name of the DeployPolicy, webhook or admission policy that refused.
	Policy string `yaml:"policy,omitempty"`
	// Message must match, Not must not: regular expressions over what the user reads.
	Message string `yaml:"message,omitempty"`
	Not     string `yaml:"not,omitempty"`
	// Warning must match one of the warnings.
	Warning string `yaml:"warning,omitempty"`
	// Status is one of these HTTP status codes; of a review, that of the verdict.
	Status Numbers `yaml:"status,omitempty"`
	// Field is about the response, such as what a mutation made of it.
	Field *Field `yaml:"field,omitempty"`
}

// Field compares a value in an object.
type Field struct {
	// Path is a JSONPath without its braces, such as .spec.replicas.
	Path string `yaml:"path"`
	// Exactly one of these is set. Equals compares JSON values; a variable is a text.
	Equals    any    `yaml:"equals,omitempty"`
	NotEquals any    `yaml:"notEquals,omitempty"`
	Matches   string `yaml:"matches,omitempty"`
	Absent    bool   `yaml:"absent,omitempty"`
	// AtLeast and AtMost are about numbers.
	AtLeast *float64 `yaml:"atLeast,omitempty"`
	AtMost  *float64 `yaml:"atMost,omitempty"`
}

// Target names an object, or the first that a selector finds.
type Target struct {
	APIVersion string `yaml:"apiVersion"`
	// Resource is the plural name.
	Resource  string  `yaml:"resource"`
	Namespace *string `yaml:"namespace,omitempty"`
	Name      string  `yaml:"name,omitempty"`
	Selector  string  `yaml:"selector,omitempty"`
}

// Check is about the world. Object or Manager is set, and of an object one of Exists,
// Field, Unchanged and Count.
type Check struct {
	Object *Target `yaml:"object,omitempty"`
	// Exists is whether it is there.
	Exists *bool  `yaml:"exists,omitempty"`
	Field  *Field `yaml:"field,omitempty"`
	// Unchanged compares everything but status and bookkeeping with what was there between
	// setup and requests.
	Unchanged bool `yaml:"unchanged,omitempty"`
	// Count is how many objects the selector finds.
	Count *int `yaml:"count,omitempty"`

	Manager *ManagerCheck `yaml:"manager,omitempty"`

	// Within waits for it; without, it must hold at once and is not asked again.
	Within Duration `yaml:"within,omitempty"`
}

// ManagerCheck is about the manager's process.
type ManagerCheck struct {
	// Ready is what its readiness probe must say.
	Ready bool `yaml:"ready"`
	// MemoryBelow bounds its resident memory, in MiB.
	MemoryBelow int `yaml:"memoryBelow,omitempty"`
}

// Metric must have risen by at least Rises, summed over all series with Labels.
type Metric struct {
	Name   string            `yaml:"name"`
	Labels map[string]string `yaml:"labels,omitempty"`
	Rises  float64           `yaml:"rises"`
}

// Everyone is who made what when no one is named: a cluster-admin by RBAC.
const Everyone = "mallory"

// Defaults of what a file leaves out.
const (
	DefaultTimeout = 60 * time.Second
	// MaxTimeout keeps a file from holding up a run.
	MaxTimeout = 3 * time.Minute
)

// All returns the requests, those of a list or the one.
func (a *Attempt) All() []Request {
	if a.Request != nil {
		return []Request{*a.Request}
	}
	return a.Requests
}

// disturbing are the groups whose objects are about every namespace.
var disturbing = []string{"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"}

// Disturbs says whether an attempt writes what others rest on, though it does not say that
// it plays alone: if it succeeded, what was found of the others would say little.
func (a *Attempt) Disturbs() bool {
	return slices.ContainsFunc(a.All(), func(r Request) bool {
		version, kind := r.APIVersion, ""
		if body, ok := r.Body.(map[string]any); ok {
			if v, ok := body["apiVersion"].(string); ok && version == "" {
				version = v
			}
			kind, _ = body["kind"].(string)
		}
		group, _, _ := strings.Cut(version, "/")
		reads := slices.Contains([]string{"get", "list", "watch"}, r.Verb)
		return !reads && !r.DryRun && (slices.Contains(disturbing, group) ||
			group == "tidegate.io" && (r.Resource == "gates" || kind == "Gate"))
	})
}

// SetupWithin is how long setup may take.
func (a *Attempt) SetupWithin() time.Duration {
	if a.Timeout == 0 {
		return MaxTimeout
	}
	return time.Duration(a.Timeout)
}

// Within is how long the requests may take, and looking afterwards.
func (a *Attempt) Within() time.Duration {
	if a.Timeout == 0 {
		return DefaultTimeout
	}
	return time.Duration(a.Timeout)
}
