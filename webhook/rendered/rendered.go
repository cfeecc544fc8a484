// Package rendered compares what is about to be admitted with what a template rendered, so
// that a container, a variable or a mount that somebody put in between is seen. What the
// API server fills in is no difference. It is pure.
package rendered

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"tidegate.io/tidegate/schemas/lean"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Difference is one place where the admitted object is not as rendered.
type Difference struct {
	// Path is like spec.template.spec.containers[1].
	Path string
	// Text says what was rendered and what was found.
	Text string
}

// maxDifferences bounds a message.
const maxDifferences = 5

// ofRollout are the paths that the rollout sets, by kind: the weights of a route are read back
// and judged there, and to which Services they lead is looked at by Backends.
var ofRollout = map[string][]string{
	"GRPCRoute":      {"spec.rules[*].backendRefs"},
	"HTTPRoute":      {"spec.rules[*].backendRefs"},
	"VirtualService": {"spec.http[*].route"},
}

// numbers are set from step to step of a rollout and judged there.
var numbers = []string{"spec.replicas", "spec.updateStrategy.rollingUpdate.partition"}

// defaults are what the API server fills in where nothing is said, by the field's name, or
// by the end of its path where the name alone says too little.
var defaults = map[string][]any{
	"apiVersion":                    {"v1"},
	"concurrencyPolicy":             {"Allow"},
	"creationTimestamp":             {nil},
	"defaultMode":                   {float64(420)},
	"divisor":                       {"0"},
	"dnsPolicy":                     {"ClusterFirst"},
	"failedJobsHistoryLimit":        {float64(1)},
	"failureThreshold":              {float64(3)},
	"fsType":                        {"ext4"},
	"imagePullPolicy":               {"Always", "IfNotPresent"},
	"maxSurge":                      {"25%", float64(0)},
	"maxUnavailable":                {"25%", float64(1)},
	"medium":                        {""},
	"minReadySeconds":               {float64(0)},
	"parallelism":                   {float64(1)},
	"completions":                   {float64(1)},
	"expirationSeconds":             {float64(3600)},
	"backoffLimit":                  {float64(6)},
	"completionMode":                {"NonIndexed"},
	"podReplacementPolicy":          {"TerminatingOrFailed"},
	"manualSelector":                {false},
	"partition":                     {float64(0)},
	"path":                          {"/"},
	"periodSeconds":                 {float64(10)},
	"podManagementPolicy":           {"OrderedReady"},
	"progressDeadlineSeconds":       {float64(600)},
	"protocol":                      {"TCP"},
	"restartPolicy":                 {"Always"},
	"revisionHistoryLimit":          {float64(10)},
	"schedulerName":                 {"default-scheduler"},
	"scheme":                        {"HTTP"},
	"service":                       {""},
	"sizeLimit":                     {nil},
	"successThreshold":              {float64(1)},
	"successfulJobsHistoryLimit":    {float64(3)},
	"suspend":                       {false},
	"terminationGracePeriodSeconds": {float64(30)},
	"terminationMessagePath":        {"/dev/termination-log"},
	"terminationMessagePolicy":      {"File"},
	"timeoutSeconds":                {float64(1)},
	"volumeMode":                    {"Filesystem"},
	"whenDeleted":                   {"Retain"},
	"whenScaled":                    {"Retain"},
	"kind":                          {"PersistentVolumeClaim"},
	"type":                          {"RollingUpdate", ""},
	"readOnly":                      {false},
	"optional":                      {false},
	"hostNetwork":                   {false},
	"hostPID":                       {false},
	"hostIPC":                       {false},
	"status":                        {map[string]any{"phase": "Pending"}, "True"},
	"nodeAffinityPolicy":            {"Honor"},
	"nodeTaintsPolicy":              {"Ignore"},
}

// Compare returns where the contents of an admitted object, pods' labels and annotations among
// them, differ from the rendered ones, apart from what the rollout itself sets, and what the mutators of Gates may change.
func Compare(want, got map[string]any, mutators []v1alpha1.Mutator) []Difference {
	kind, _ := got["kind"].(string)
	c := &comparison{kind: kind, free: slices.Clone(ofRollout[kind])}
	for _, m := range mutators {
		if m.Kind == kind || m.Kind == "*" {
			c.free = append(c.free, m.Paths...)
		}
	}
	c.all(want, got)
	if len(c.found) == 0 {
		return nil
	}
	// Only now, since it costs more than all else here.
	c.found = nil
	c.all(lean.Of(want), got)
	return c.found
}

// contents are the fields of an object that are rendered, where they are others than spec.
var contents = map[string][]string{"ConfigMap": {"binaryData", "data", "immutable"}}

func (c *comparison) all(want, got map[string]any) {
	fields := contents[c.kind]
	if fields == nil {
		fields = []string{"spec"}
	}
	for _, k := range fields {
		w, wanted := want[k]
		g, there := got[k]
		switch {
		case wanted && there:
			c.value(k, w, g)
		case wanted && !empty(w) && !c.isFree(k):
			c.add(k, "rendered %s, found nothing", short(w))
		case there && !empty(g) && !c.isFree(k):
			c.add(k, "not rendered, found %s", short(g))
		}
	}
}

type comparison struct {
	kind  string
	free  []string
	found []Difference
}

func (c *comparison) add(path, format string, args ...any) {
	if len(c.found) < maxDifferences {
		c.found = append(c.found, Difference{path, fmt.Sprintf(format, args...)})
	}
}

// value compares one value with the rendered one at the same place.
func (c *comparison) value(path string, want, got any) {
	if slices.Contains(numbers, path) || c.isFree(path) {
		return
	}
	switch w := plain(want).(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			c.add(path, "rendered as an object, found %s", short(got))
			return
		}
		c.object(path, w, g)
	case []any:
		g, ok := got.([]any)
		if !ok {
			c.add(path, "rendered as a list of %d, found %s", len(w), short(got))
			return
		}
		c.list(path, w, g)
	default:
		if !same(path, w, plain(got)) {
			c.add(path, "rendered %s, found %s", short(w), short(got))
		}
	}
}

func (c *comparison) object(path string, want, got map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		g, ok := got[k]
		if !ok && !empty(want[k]) && !c.isFree(path+"."+k) {
			c.add(path+"."+k, "rendered %s, found nothing", short(want[k]))
			continue
		}
		if ok {
			c.value(path+"."+k, want[k], g)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; ok || c.isFree(path+"."+k) || filled(path, k, want, got) || c.ofKind(path, k, want, got) {
			continue
		}
		c.add(path+"."+k, "not rendered, found %s", short(got[k]))
	}
}

// list compares lists by place: their order is part of what was rendered.
func (c *comparison) list(path string, want, got []any) {
	for i := range max(len(want), len(got)) {
		at := path + "[" + strconv.Itoa(i) + "]"
		switch {
		case c.isFree(at):
		case i >= len(want):
			c.add(at, "not rendered, found %s", short(got[i]))
		case i >= len(got):
			c.add(at, "rendered %s, found nothing", short(want[i]))
		default:
			c.value(at, want[i], got[i])
		}
	}
}

// isFree says whether a declared mutator may change a path, or what it is in.
func (c *comparison) isFree(path string) bool {
	return slices.ContainsFunc(c.free, func(free string) bool { return covers(free, path) })
}

// covers says whether a declared path, in which [*] is any place of a list, is the path or
// an ancestor of it.
func covers(free, path string) bool {
	f, p := segments(free), segments(path)
	if len(f) > len(p) {
		return false
	}
	for i, s := range f {
		if s != p[i] && (s != "[*]" || !strings.HasPrefix(p[i], "[")) {
			return false
		}
	}
	return true
}

func segments(path string) []string {
	return strings.Split(strings.ReplaceAll(path, "[", ".["), ".")
}

// filled says whether the API server put a field there, with the value that it has.
func filled(path, name string, want, got map[string]any) bool {
	v := plain(got[name])
	switch {
	case empty(v):
		return true
	case name == "serviceAccount":
		// The old name of the same field.
		return reflect.DeepEqual(v, plain(want["serviceAccountName"]))
	case strings.HasSuffix(path, ".metadata") || strings.HasSuffix(path, ".labels") || strings.HasSuffix(path, ".annotations"):
		return name == "creationTimestamp" && v == nil
	case name == "requests" && strings.HasSuffix(path, ".resources"):
		// Without requests the limits are requested.
		limits, _ := plain(want["limits"]).(map[string]any)
		return sameQuantities(limits, v)
	case slices.Contains(filledObjects, name):
		return filledObject(path+"."+name, v)
	}
	return slices.ContainsFunc(defaults[name], func(d any) bool { return reflect.DeepEqual(d, v) })
}

// filledObjects are filled in as a whole.
var filledObjects = []string{"persistentVolumeClaimRetentionPolicy", "rollingUpdate", "strategy", "updateStrategy"}

func filledObject(path string, v any) bool {
	fields, ok := v.(map[string]any)
	for k := range fields {
		ok = ok && filled(path, k, nil, fields)
	}
	return ok
}

func sameQuantities(limits map[string]any, requests any) bool {
	r, ok := requests.(map[string]any)
	if !ok {
		return false
	}
	for k, v := range r {
		if l, ok := limits[k]; !ok || !quantity(plain(l), plain(v)) {
			return false
		}
	}
	return true
}

// same compares scalars; quantities are compared by what they mean.
func same(path string, want, got any) bool {
	if reflect.DeepEqual(want, got) || (empty(want) && empty(got)) {
		return true
	}
	return (strings.Contains(path, ".resources.") || strings.Contains(path, ".sizeLimit") || strings.Contains(path, ".divisor")) && quantity(want, got)
}

func quantity(a, b any) bool {
	x, errX := resource.ParseQuantity(fmt.Sprint(a))
	y, errY := resource.ParseQuantity(fmt.Sprint(b))
	return errX == nil && errY == nil && x.Cmp(y) == 0
}

// plain has all numbers in one type, as they come from different decoders.
func plain(v any) any {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int32:
		return float64(n)
	case int64:
		return float64(n)
	}
	return v
}

// empty is what the API server drops, or adds where nothing was said.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// short shows what was found, as far as a message has room for it: objects by their name
// or image and never with their values, which may be secret.
func short(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case map[string]any:
		name, _ := v["name"].(string)
		if image, ok := v["image"].(string); ok {
			return fmt.Sprintf("%q with image %q", name, image)
		}
		if name != "" {
			return strconv.Quote(name)
		}
		return fmt.Sprintf("an object with %s", strings.Join(slices.Sorted(maps.Keys(v)), ", "))
	case []any:
		if len(v) == 1 {
			return "a list of " + short(v[0])
		}
		return fmt.Sprintf("a list of %d", len(v))
	case string:
		if len(v) > 80 {
			v = v[:80] + "..."
		}
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}
