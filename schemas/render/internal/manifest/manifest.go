// Package manifest checks what a template rendered and prepares it for the cluster: only
// the kinds that Tidegate can bring into service, in the Release's own namespace, under
// names and labels that keep the revisions of one Release apart. What Kubernetes would
// silently drop or refuse much later, such as a misspelt field, is found here.
//
// It knows nothing of the language that the template is written in.
package manifest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	kjson "sigs.k8s.io/json"

	"tidegate.io/tidegate/schemas/render/internal/canon"
)

// Bounds of what one Release may render to.
const (
	// MaxBytes is the greatest size of the JSON of all objects.
	MaxBytes = 1 << 20
	// MaxObjects is the greatest number of objects.
	MaxObjects = 100
)

// Release names what is rendered.
type Release struct {
	Name, Namespace, Template, Revision string
}

// set is the name of the revision's own Deployment.
func (r Release) set() string { return r.Name + "-" + r.Revision }

// Object is one rendered object.
type Object struct {
	// ID is the name that the template gave it.
	ID         string
	APIVersion string
	Kind       string
	Name       string
	Content    map[string]any

	// written is the canonical JSON of Content as the template said it; see Write.
	written canon.Written
	// typed is what that decodes to as the kind's Go type; see Finish.
	typed any
}

func (o *Object) String() string {
	return fmt.Sprintf("objects.%s (%s %s)", o.ID, o.Kind, o.Name)
}

// Rendered is all that one template made of one Release.
type Rendered struct {
	// Set are the objects that travel with the revision: its own, and the workload that is
	// changed in place, if there is one. Routes are what carries the traffic, Jobs what steps
	// run, Shared all others. Each is sorted by apiVersion, kind and name.
	Set, Routes, Shared, Jobs []*Object
	// Replicas is the size of the workload; Finish fills it in. It is 0 for a workload
	// that has no size of its own, and the least size of an autoscaled one.
	Replicas int32

	release Release
	// inPlace is true when a workload bears the Release's own name, so that the revisions
	// share it.
	inPlace bool
	lines   []string
}

// place says where objects of one kind may be.
type place struct {
	// set is: named <release>-<revision>, one for each revision.
	set bool
	// shared is: one for all revisions.
	shared bool
	// workload is: pods come from it. Named like the Release it is changed in place.
	workload bool
	// besideInPlace is: shared too where the workload is changed in place.
	besideInPlace bool
	// travels is: one for each revision even where the workload is changed in place.
	travels bool
	// decode decodes strictly into the kind's Go type, a pointer to which it returns.
	decode func([]byte) (into any, wrong []error, err error)
}

func strictly[T any](data []byte) (any, []error, error) {
	into := new(T)
	wrong, err := kjson.UnmarshalStrict(data, into)
	return into, wrong, err
}

const (
	kindDeployment  = "Deployment"
	kindStatefulSet = "StatefulSet"
	kindDaemonSet   = "DaemonSet"
	kindCronJob     = "CronJob"
	kindJob         = "Job"
	kindService     = "Service"
	kindAutoscaler  = "HorizontalPodAutoscaler"
	kindKEDA        = "ScaledObject"

	kindRoute          = "HTTPRoute"
	kindGRPCRoute      = "GRPCRoute"
	kindVirtualService = "VirtualService"
)

// kinds are the kinds that a template may render, by apiVersion and kind.
var kinds = map[string]place{
	"apps/v1 Deployment":  {set: true, workload: true, decode: strictly[appsv1.Deployment]},
	"apps/v1 StatefulSet": {workload: true, decode: strictly[appsv1.StatefulSet]},
	"apps/v1 DaemonSet":   {workload: true, decode: strictly[appsv1.DaemonSet]},
	"batch/v1 CronJob":    {workload: true, decode: strictly[batchv1.CronJob]},

	"autoscaling/v2 HorizontalPodAutoscaler": {set: true, besideInPlace: true, decode: strictly[autoscalingv2.HorizontalPodAutoscaler]},
	"policy/v1 PodDisruptionBudget":          {set: true, besideInPlace: true, decode: strictly[policyv1.PodDisruptionBudget]},
	"v1 Service":                             {set: true, shared: true, decode: strictly[corev1.Service]},
	"v1 ConfigMap":                           {set: true, shared: true, travels: true, decode: strictly[corev1.ConfigMap]},
	"v1 ServiceAccount":                      {shared: true, decode: strictly[corev1.ServiceAccount]},
	"networking.k8s.io/v1 NetworkPolicy":     {shared: true, decode: strictly[networkingv1.NetworkPolicy]},
	"external-secrets.io/v1 ExternalSecret":  {shared: true, decode: strictly[externalSecret]},
	// Named like the Release it carries the traffic, else it shows the set to testers.
	"gateway.networking.k8s.io/v1 HTTPRoute":     {set: true, decode: strictly[gatewayv1.HTTPRoute]},
	"gateway.networking.k8s.io/v1 GRPCRoute":     {set: true, decode: strictly[gatewayv1.GRPCRoute]},
	"networking.istio.io/v1 VirtualService":      {set: true, decode: strictly[virtualService]},
	"networking.istio.io/v1beta1 VirtualService": {set: true, decode: strictly[virtualService]},

	"keda.sh/v1alpha1 ScaledObject": {set: true, besideInPlace: true, decode: strictly[scaledObject]},
	// Run by a step alone.
	"batch/v1 Job": {set: true, travels: true, decode: strictly[batchv1.Job]},
}

// Read reads the JSON of a template's objects by their ids, forces the namespace, and
// sorts them into set, routes and shared objects. Nothing is added to them yet.
func Read(data []byte, release Release) (*Rendered, []string) {
	r := &Rendered{release: release}
	if len(data) > MaxBytes {
		return r, []string{fmt.Sprintf("objects: wanted at most %d bytes, found %d", MaxBytes, len(data))}
	}
	var byID map[string]map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &byID); err != nil {
		return r, []string{fmt.Sprintf("objects: wanted Kubernetes objects by name: %v", err)}
	}
	if len(byID) > MaxObjects {
		return r, []string{fmt.Sprintf("objects: wanted at most %d objects, found %d", MaxObjects, len(byID))}
	}
	for _, content := range byID {
		name := text(child(content, "metadata"), "name")
		p := kinds[text(content, "apiVersion")+" "+text(content, "kind")]
		r.inPlace = r.inPlace || p.workload && name == release.Name
	}
	seen := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		o := r.object(id, byID[id])
		if o == nil {
			continue
		}
		key := o.APIVersion + " " + o.Kind + " " + o.Name
		if other, twice := seen[key]; twice {
			r.failf(o, "wanted each object once, found the same one as objects.%s", other)
			continue
		}
		seen[key] = id
		r.sort(o)
	}
	r.plainRouter()
	r.order()
	return r, r.lines
}

func (r *Rendered) failf(o *Object, format string, args ...any) {
	r.lines = append(r.lines, o.String()+": "+fmt.Sprintf(format, args...))
}

// object checks what identifies an object; it returns nil where that is not enough to
// place it.
func (r *Rendered) object(id string, content map[string]any) *Object {
	metadata := child(content, "metadata")
	o := &Object{
		ID: id, Content: content,
		APIVersion: text(content, "apiVersion"), Kind: text(content, "kind"), Name: text(metadata, "name"),
	}
	if o.Kind == "Secret" {
		r.failf(o, "wanted no Secret, since whoever may read the Release would read it, found one; refer to a secret that is made elsewhere: an ExternalSecret, annotations of the Vault agent, or the name of a Secret in env.valueFrom.secretKeyRef, envFrom or a volume")
		return nil
	}
	if _, ok := kinds[o.APIVersion+" "+o.Kind]; !ok {
		r.failf(o, "wanted one of %s, found %q of %q", strings.Join(slices.Sorted(maps.Keys(kinds)), ", "), o.Kind, o.APIVersion)
		return nil
	}
	if wrong := validation.IsDNS1123Label(o.Name); len(wrong) > 0 {
		r.failf(o, "wanted a metadata.name of at most 63 lower case letters, digits and dashes, found %q", o.Name)
		return nil
	}
	if !r.ours(o.Name) {
		r.failf(o, "wanted the name %s, or one that begins with it and a dash, so that Releases keep out of each other's way, found %q", r.release.Name, o.Name)
	}
	switch namespace, set := metadata["namespace"]; {
	case !set:
		metadata["namespace"] = r.release.Namespace
	case namespace != r.release.Namespace:
		r.failf(o, "wanted the Release's namespace %s, found metadata.namespace %v; leave it out", r.release.Namespace, namespace)
	}
	for _, field := range slices.Sorted(maps.Keys(metadata)) {
		if !slices.Contains([]string{"annotations", "labels", "name", "namespace"}, field) {
			r.failf(o, "wanted only name, namespace, labels and annotations in metadata, found %s", field)
		}
	}
	if _, set := content["status"]; set {
		r.failf(o, "wanted no status, found one")
	}
	return o
}

// ours says whether a name is within those that belong to the Release.
func (r *Rendered) ours(name string) bool {
	return name == r.release.Name || strings.HasPrefix(name, r.release.Name+"-")
}

func (r *Rendered) sort(o *Object) {
	p := kinds[o.APIVersion+" "+o.Kind]
	own := strings.HasSuffix(o.Name, "-"+r.release.Revision)
	switch {
	case p.workload:
		r.sortWorkload(o, p, own)
	case routers[o.Kind] != "":
		r.sortRoute(o, own)
	case o.Kind == kindJob:
		r.sortJob(o)
	case own && p.set && (p.travels || !r.inPlace):
		r.Set = append(r.Set, o)
	case !own && (p.shared || r.inPlace && p.besideInPlace):
		r.Shared = append(r.Shared, o)
	case own && r.inPlace:
		r.failf(o, "wanted a name without the revision, since the workload is changed in place and revisions share it, found %s", o.Name)
	case own:
		r.failf(o, "wanted a name without the revision, since revisions share it, found %s", o.Name)
	default:
		r.failf(o, withRevision, o.Name)
	}
}

const withRevision = "wanted a name that ends in the revision, as in \\(context.name)-\\(context.revision), found %s"

func (r *Rendered) sortWorkload(o *Object, p place, own bool) {
	switch {
	case o.Name == r.release.Name || own && p.set && !r.inPlace:
		r.Set = append(r.Set, o)
	case !p.set || r.inPlace:
		r.failf(o, "wanted the %s to be named like the Release, %s, since it is changed in place, found %s", o.Kind, r.release.Name, o.Name)
	default:
		r.failf(o, withRevision, o.Name)
	}
}

func (r *Rendered) sortRoute(o *Object, own bool) {
	switch {
	case r.inPlace && o.Name == r.release.Name:
		r.Shared = append(r.Shared, o)
	case r.inPlace:
		r.failf(o, "wanted the %s beside a workload that is changed in place to be named like the Release, %s, since revisions share it, found %s", o.Kind, r.release.Name, o.Name)
	case o.Name == r.release.Name:
		r.Routes = append(r.Routes, o)
	case own:
		r.Set = append(r.Set, o)
	default:
		r.failf(o, "wanted the route to be named like the Release, %s, or a preview of the revision named \\(context.name)-\\(context.revision), found %s", r.release.Name, o.Name)
	}
}

// Write returns the canonical JSON of all objects: set, routes, shared, jobs. It comes before
// Finish, which reads that and adds to the objects.
func (r *Rendered) Write() ([]canon.Written, error) {
	all := r.objects()
	out := make([]canon.Written, len(all))
	for i, o := range all {
		var err error
		if o.written, err = canon.JSON(o.Content); err != nil {
			return nil, fmt.Errorf("writing %v: %w", o, err)
		}
		out[i] = o.written
	}
	return out, nil
}

func (r *Rendered) objects() []*Object {
	return slices.Concat(r.Set, r.Routes, r.Shared, r.Jobs)
}

// sizes are the fields of a kind that say how many pods there are.
var sizes = map[string][]string{
	kindDeployment:  {"replicas"},
	kindStatefulSet: {"replicas"},
	kindAutoscaler:  {"minReplicas", "maxReplicas"},
	kindKEDA:        {"minReplicaCount", "maxReplicaCount"},
}

// Identity is what the revision is the digest of: the set, the number of pods aside,
// since a change of size is no change of what runs.
func Identity(set []*Object) []map[string]any {
	out := make([]map[string]any, len(set))
	for i, o := range set {
		out[i] = WithoutSizes(o.Kind, o.Content)
	}
	return out
}

// WithoutSizes is the content of an object of a kind without what says how many pods there are.
// What it is given stays as it is.
func WithoutSizes(kind string, content map[string]any) map[string]any {
	spec, ok := content["spec"].(map[string]any)
	if !ok || !slices.ContainsFunc(sizes[kind], func(field string) bool { _, sized := spec[field]; return sized }) {
		return content
	}
	content, spec = maps.Clone(content), maps.Clone(spec)
	for _, field := range sizes[kind] {
		delete(spec, field)
	}
	content["spec"] = spec
	return content
}

// Objects returns the objects in the form that clients take.
func Objects(list []*Object) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, len(list))
	for i, o := range list {
		out[i] = &unstructured.Unstructured{Object: o.Content}
	}
	return out
}

// Decode returns JSON as maps, slices and scalars, integers kept.
func Decode(data []byte) (any, error) {
	var v any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &v); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return v, nil
}

// text is a field of m that is a string, or "".
func text(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

// decodeStrictly fills in o.typed, and returns what is wrong with o as an object of its
// kind.
func decodeStrictly(o *Object) []string {
	into, wrong, err := kinds[o.APIVersion+" "+o.Kind].decode(o.written)
	if err != nil {
		if lines := mistyped(reflect.TypeOf(into), o.Content, ""); len(lines) > 0 {
			return lines
		}
		return []string{fmt.Sprintf("wanted values that Kubernetes can read, found: %v", err)}
	}
	o.typed = into
	lines := make([]string, len(wrong))
	for i, w := range wrong {
		lines[i] = fmt.Sprintf("wanted the fields of a %s, found: %v", o.Kind, w)
	}
	return lines
}
