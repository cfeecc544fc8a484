package audit

import (
	"fmt"
	"strings"
	"time"
)

// Backing says whether a Rollout stands behind an object. Unknown is a value.
type Backing int

const (
	// BackingUnknown is: it could not be found out. Nothing is said about the object.
	BackingUnknown Backing = iota
	// BackingNone is: no Rollout renders such an object.
	BackingNone
	// BackingRollout is: a Rollout renders it.
	BackingRollout
)

// Origin says where the chain of owners of a pod, or of what makes pods, ends.
type Origin int

const (
	// OriginUnknown is: it could not be found out.
	OriginUnknown Origin = iota
	// OriginNone is: nothing owns it.
	OriginNone
	// OriginGone is: what it says owns it is not there.
	OriginGone
	// OriginForeign is: it is owned by a kind that no template renders.
	OriginForeign
	// OriginUnmanaged is: it ends in a workload that no Rollout stands behind.
	OriginUnmanaged
	// OriginManaged is: it ends in a managed workload.
	OriginManaged
)

// Facts are what is known about a governed object.
type Facts struct {
	Object  Object
	Created time.Time
	// Gate is the name of the oldest Gate over the namespace, and GateFrom when it was made.
	// What is younger and unmanaged came in though the Gate was there, or before it covered
	// this namespace or kind.
	Gate     string
	GateFrom time.Time
	// Writers says that a Gate lets others than Tidegate write such objects.
	Writers bool
	// Static says that a kubelet runs it by a file on its node.
	Static bool
	// Over is true of a pod that has ended, or is about to: it runs nothing.
	Over bool
	// Derived is true of what a controller makes: it is judged by its origin, everything else
	// by its backing.
	Derived bool
	Origin  Origin
	// Owner is like ReplicaSet web-5d9c; empty where there is none.
	Owner   string
	Backing Backing
	// Release is what the object's label says; empty where it says nothing. A label proves
	// nothing; it is for messages.
	Release string
	// Differences are where the object is not as rendered, each like "path: text".
	Differences []string
	// BreakGlass names an exemption that was used for this object; empty for none.
	BreakGlass string
}

// Bypass says what is wrong with how a governed object came to be, or nil. The first guard
// that holds counts.
func Bypass(f Facts) *Finding {
	switch {
	case f.Static:
		return f.finding(ReasonStaticPod, Fail,
			fmt.Sprintf("a static pod: wanted only pods that come from Releases in a governed namespace, found one that a kubelet runs by a file on its node, which no admission can refuse (Gate %q)", f.Gate),
			"remove the file from the node, mostly in /etc/kubernetes/manifests, or move it to a namespace that is not governed")
	case f.Over:
		return nil
	case f.Derived:
		return f.derived()
	case f.Backing == BackingNone:
		return f.unmanaged()
	case f.Backing == BackingRollout && len(f.Differences) > 0:
		return f.drifted()
	}
	return nil
}

// derived judges pods, and what makes pods, by where they come from.
func (f Facts) derived() *Finding {
	var found string
	switch f.Origin {
	case OriginUnknown, OriginManaged:
		return nil
	case OriginNone:
		found = "that it has no owner"
	case OriginGone:
		found = fmt.Sprintf("that its owner %s is not there", f.Owner)
	case OriginForeign:
		found = fmt.Sprintf("that it belongs to %s, which is no kind that templates render", f.Owner)
	case OriginUnmanaged:
		if f.Object.Kind != "Pod" {
			return nil // what it comes from is found itself, and so are its pods
		}
		found = fmt.Sprintf("that it comes from %s, which no Rollout stands behind", f.Owner)
	}
	code, result := ReasonPodOwner, Fail
	if f.older() {
		code = ReasonOlder
		found += fmt.Sprintf(", and that it is older than Gate %q, which never admitted it", f.Gate)
	}
	return f.finding(code, result, fmt.Sprintf("wanted it to come from a workload of a Release, found %s", found),
		fmt.Sprintf("look at it and at its owner: kubectl -n %s get %s %s -o yaml; delete what nobody means, and bring the rest in by a Release", f.Object.Namespace, strings.ToLower(f.Object.Kind), f.Object.Name))
}

func (f Facts) unmanaged() *Finding {
	found := "none that renders it"
	if f.Release != "" {
		found = fmt.Sprintf("none that renders it, though its label names Release %q", f.Release)
	}
	fix := fmt.Sprintf("bring it in by a Release, then delete it; or delete it: kubectl -n %s get %s %s -o yaml", f.Object.Namespace, strings.ToLower(f.Object.Kind), f.Object.Name)
	if f.older() {
		return f.finding(ReasonOlder, Fail, fmt.Sprintf("wanted a Rollout behind it, found %s; it is older than Gate %q, which never admitted it", found, f.Gate), fix)
	}
	result := Fail
	switch {
	case f.BreakGlass != "":
		result = Warn
		found += fmt.Sprintf("; BreakGlass %q was used for it", f.BreakGlass)
	case f.Writers:
		result = Warn
		found += fmt.Sprintf("; Gate %q lets others write here (spec.writers), so it may be theirs", f.Gate)
	}
	return f.finding(ReasonUnmanaged, result, fmt.Sprintf("wanted a Rollout behind it, found %s, though Gate %q is older", found, f.Gate), fix)
}

func (f Facts) drifted() *Finding {
	result, note := Fail, ""
	if f.BreakGlass != "" {
		result, note = Warn, fmt.Sprintf(" (BreakGlass %q was used for it)", f.BreakGlass)
	}
	return f.finding(ReasonDrift, result,
		fmt.Sprintf("wanted it as Release %q renders it, found%s: %s", f.Release, note, strings.Join(f.Differences, "; ")),
		fmt.Sprintf("if something changes it on purpose, list that in spec.mutators of Gate %q; else look at who did: kubectl -n %s get %s %s -o yaml --show-managed-fields", f.Gate, f.Object.Namespace, strings.ToLower(f.Object.Kind), f.Object.Name))
}

// older says whether the object was there before every Gate over it.
func (f Facts) older() bool { return f.Created.Before(f.GateFrom) }

func (f Facts) finding(code string, result Result, message, fix string) *Finding {
	return &Finding{Object: f.Object, Code: code, Message: message, Fix: fix, Result: result}
}
