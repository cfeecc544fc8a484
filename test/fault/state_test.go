package fault

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/apply"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// state is what is in a namespace: for each object what of it is the same in every run.
type state map[string]string

// passing are the fields that differ from run to run: identities, versions, and moments.
var passing = map[string]bool{
	"uid": true, "resourceVersion": true, "creationTimestamp": true, "managedFields": true, "generation": true,
	"observedGeneration": true, "lastTransitionTime": true, "lastProbeTime": true, "clusterIP": true, "clusterIPs": true,
	"at": true, "approvedAt": true, "exposedAt": true, "stepStartedAt": true, "waitingSince": true, "takenAt": true,
	"startTime": true, "completionTime": true, "drainStartedAt": true, "stableShortSince": true, "routeUnsettledSince": true,
	"until": true, apply.AnnotationTurnedBack: true,
}

// hashes are of what has the namespace's name in it, or are identities.
var hashes = regexp.MustCompile(`\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)

// stateOf reads a state out of objects.
func stateOf(objects map[string]client.Object, namespace string) (state, error) {
	names := []string{`"` + namespace + `"`, `"the-namespace"`, namespace + "/", "the-namespace/"}
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		if r, ok := objects[key].(*v1alpha1.Rollout); ok {
			names = append(names, r.Spec.Revision, "of-"+imageOf(r.Spec.Values))
		}
	}
	replace := strings.NewReplacer(names...)
	out := state{}
	for key, o := range objects {
		data, err := json.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", key, err)
		}
		var content any
		if err := json.Unmarshal(data, &content); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", key, err)
		}
		if data, err = json.MarshalIndent(lasting(content), "", " "); err != nil {
			return nil, fmt.Errorf("encoding %s: %w", key, err)
		}
		out[replace.Replace(key)] = hashes.ReplaceAllString(replace.Replace(string(data)), "a-hash")
	}
	return out, nil
}

// lasting drops what differs from run to run.
func lasting(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			switch {
			case passing[name]:
				delete(v, name)
			case name == "history":
				v[name] = wordless(field)
			default:
				v[name] = lasting(field)
			}
		}
	case []any:
		for i := range v {
			v[i] = lasting(v[i])
		}
	}
	return v
}

// wordless is a history without its sentences, which have numbers of pods in them that were
// seen in passing.
func wordless(history any) any {
	list, _ := history.([]any)
	for _, e := range list {
		if fields, ok := e.(map[string]any); ok {
			delete(fields, "message")
		}
	}
	return lasting(history)
}

// diff says in what two states differ; empty where they do not.
func (s state) diff(is state) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if _, ok := is[key]; !ok {
			fmt.Fprintf(&b, "%s is missing\n", key)
		} else if s[key] != is[key] {
			fmt.Fprintf(&b, "%s:\n%s", key, lines(s[key], is[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if _, ok := s[key]; !ok {
			fmt.Fprintf(&b, "%s is left over\n", key)
		}
	}
	return b.String()
}

// lines shows the lines in which two texts differ.
func lines(want, got string) string {
	a, c := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for _, l := range a {
		if !slices.Contains(c, l) {
			fmt.Fprintf(&b, "  - %s\n", strings.TrimSpace(l))
		}
	}
	for _, l := range c {
		if !slices.Contains(a, l) {
			fmt.Fprintf(&b, "  + %s\n", strings.TrimSpace(l))
		}
	}
	if b.Len() == 0 {
		return "  the same lines in another order\n"
	}
	return b.String()
}
