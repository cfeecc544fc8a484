// Package exempt knows when a BreakGlass exempts from the managed flow, and whom from what.
// The webhook, the loops and the command line ask it, so that they cannot disagree. It is
// pure: the time, the decisions and the Gates are given.
package exempt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Skew is what the clocks of API server and manager may differ by. It is allowed for where a
// duration is checked, never where an exemption ends.
const Skew = 5 * time.Second

// DefaultDuration is the longest that an exemption lasts where a Gate does not say.
const DefaultDuration = time.Hour

// Facts are what the state of a BreakGlass follows from.
type Facts struct {
	BreakGlass *v1alpha1.BreakGlass
	// Commands are those of the namespace, in any order; others than about it are left out.
	Commands []v1alpha1.BreakGlassCommand
	// Rules are those of every Gate that governs the namespace, by the Gate's name; nil where
	// one allows no exemption. None means that the namespace is not governed.
	Rules map[string]*v1alpha1.BreakGlassRule
	// Groups are those of the actor, where they are known: GroupsKnown. Elsewhere a rule that
	// lists groups is taken as met; who uses the exemption is looked at then.
	Groups      []string
	GroupsKnown bool
	Now         time.Time
}

// State is that of a BreakGlass at one moment.
type State struct {
	Phase v1alpha1.BreakGlassPhase
	// Message says why, and who has to do what.
	Message string
	// Approval is the command of the second person, if there is one.
	Approval *v1alpha1.BreakGlassCommand
	// Revocation is the command that ended it, if there is one.
	Revocation *v1alpha1.BreakGlassCommand
	Afterwards v1alpha1.BreakGlassAfterwards
}

// Live says whether it exempts.
func (s State) Live() bool { return s.Phase == v1alpha1.BreakGlassLive }

// Of is the state of a BreakGlass. That it has ended comes before all else, so that nothing
// said later brings it back.
func Of(f Facts) State {
	b := f.BreakGlass
	s := State{Afterwards: afterwards(f.Rules)}
	for i := range f.Commands {
		c := &f.Commands[i]
		if !about(c, b) {
			continue
		}
		switch c.Spec.Action {
		case v1alpha1.BreakGlassRevoke:
			s.Revocation = earlier(s.Revocation, c)
		case v1alpha1.BreakGlassApprove:
			if c.Spec.Actor != "" && c.Spec.Actor != b.Spec.Actor {
				s.Approval = earlier(s.Approval, c)
			}
		}
	}
	problems := Problems(f)
	switch {
	case s.Revocation != nil:
		s.Phase, s.Message = v1alpha1.BreakGlassRevoked, fmt.Sprintf("revoked by %s", s.Revocation.Spec.Actor)
	case !f.Now.Before(b.Spec.ExpiresAt.Time):
		s.Phase, s.Message = v1alpha1.BreakGlassEnded, "expired at "+b.Spec.ExpiresAt.UTC().Format(time.RFC3339)
	case b.DeletionTimestamp != nil:
		s.Phase, s.Message = v1alpha1.BreakGlassEnded, "it is being deleted"
	case len(problems) > 0:
		s.Phase, s.Message = v1alpha1.BreakGlassRefused, problems[0]
	case needsApproval(f.Rules) && s.Approval == nil:
		s.Phase, s.Message = v1alpha1.BreakGlassPending, fmt.Sprintf("waits for a second person: tidegate breakglass approve %s -n %s", b.Name, b.Namespace)
	default:
		s.Phase, s.Message = v1alpha1.BreakGlassLive, fmt.Sprintf("exempts %s until %s", b.Spec.Actor, b.Spec.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return s
}

// about says whether a command is about this very object and not another of its name.
func about(c *v1alpha1.BreakGlassCommand, b *v1alpha1.BreakGlass) bool {
	return c.Namespace == b.Namespace && c.Spec.BreakGlass == b.Name && b.UID != "" && c.Spec.UID == b.UID
}

func earlier(a, b *v1alpha1.BreakGlassCommand) *v1alpha1.BreakGlassCommand {
	if a == nil || b.CreationTimestamp.Before(&a.CreationTimestamp) {
		return b
	}
	return a
}

// Problems says what the Gates have against a BreakGlass, whatever its phase. Each has what
// was wanted, found, and what to do.
func Problems(f Facts) []string {
	b := f.BreakGlass
	if len(f.Rules) == 0 {
		return []string{fmt.Sprintf("wanted a namespace that a Gate governs, found %q, which none does; do: change the object, nothing forbids it", b.Namespace)}
	}
	var out []string
	for _, gate := range sorted(f.Rules) {
		rule := f.Rules[gate]
		if rule == nil {
			out = append(out, fmt.Sprintf("wanted a Gate that allows exemptions, found that spec.breakGlass of Gate %q is not set; do: ask the platform team for it: kubectl edit gate %s", gate, gate))
			continue
		}
		if !permitted(rule, f) {
			out = append(out, fmt.Sprintf("wanted a user that spec.breakGlass of Gate %q lists, by name or by group, found %q; do: ask somebody on call: kubectl get gate %s -o yaml", gate, b.Spec.Actor, gate))
		}
		if longest, asked := Longest(rule), b.Spec.ExpiresAt.Sub(from(f)); asked > longest+Skew {
			out = append(out, fmt.Sprintf("spec.expiresAt: wanted at most %s from its creation, as Gate %q says, found %s, which is %s; do: tidegate breakglass create --for %s",
				spoken(longest), gate, b.Spec.ExpiresAt.UTC().Format(time.RFC3339), spoken(asked), spoken(longest)))
		}
	}
	return out
}

// from is when the exemption was made: now, while it is being made.
func from(f Facts) time.Time {
	if at := f.BreakGlass.CreationTimestamp; !at.IsZero() {
		return at.Time
	}
	return f.Now
}

// spoken is a duration without parts that are zero.
func spoken(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func permitted(rule *v1alpha1.BreakGlassRule, f Facts) bool {
	if slices.Contains(rule.Users, f.BreakGlass.Spec.Actor) {
		return true
	}
	if !f.GroupsKnown {
		return len(rule.Groups) > 0
	}
	return slices.ContainsFunc(rule.Groups, func(g string) bool { return slices.Contains(f.Groups, g) })
}

// Longest is how long an exemption may last.
func Longest(rule *v1alpha1.BreakGlassRule) time.Duration {
	if rule.MaxDuration.Duration <= 0 {
		return DefaultDuration
	}
	return rule.MaxDuration.Duration
}

// needsApproval is true unless every Gate says that nobody has to agree.
func needsApproval(rules map[string]*v1alpha1.BreakGlassRule) bool {
	for _, r := range rules {
		if r == nil || r.Approval != v1alpha1.ApprovalNone {
			return true
		}
	}
	return false
}

// afterwards is Keep only where every Gate says so.
func afterwards(rules map[string]*v1alpha1.BreakGlassRule) v1alpha1.BreakGlassAfterwards {
	for _, r := range rules {
		if r == nil || r.Afterwards != v1alpha1.AfterwardsKeep {
			return v1alpha1.AfterwardsReconcile
		}
	}
	if len(rules) == 0 {
		return v1alpha1.AfterwardsReconcile
	}
	return v1alpha1.AfterwardsKeep
}

// Covers says whether a BreakGlass names an object and is of a user. Names are compared as
// they are; there are no patterns. Nothing without a name is covered, such as a collection
// or an object whose name the API server makes up.
func Covers(b *v1alpha1.BreakGlass, user, namespace string, object v1alpha1.ObjectName) bool {
	return object.Name != "" && user != "" && b.Namespace == namespace && b.Spec.Actor == user && slices.Contains(b.Spec.Objects, object)
}

// MaxUses is how many uses are kept in the status.
const MaxUses = 50

// Used records a use, and forgets the oldest where there are too many.
func Used(s *v1alpha1.BreakGlassStatus, use v1alpha1.BreakGlassUse) {
	s.UseCount++
	s.Uses = append(s.Uses, use)
	if n := len(s.Uses) - MaxUses; n > 0 {
		s.Uses = slices.Clone(s.Uses[n:])
	}
}

// Ends is when an exemption ends, or ended.
func Ends(b *v1alpha1.BreakGlass) time.Time {
	if at := b.Status.EndedAt; at != nil && at.Time.Before(b.Spec.ExpiresAt.Time) {
		return at.Time
	}
	return b.Spec.ExpiresAt.Time
}

// Written are the objects that were written under it. Where not every use is kept, it may be
// any that the exemption names.
func Written(b *v1alpha1.BreakGlass) []v1alpha1.ObjectName {
	if b.Status.UseCount > int64(len(b.Status.Uses)) {
		return b.Spec.Objects
	}
	out := make([]v1alpha1.ObjectName, 0, len(b.Status.Uses))
	for _, u := range b.Status.Uses {
		if u.Operation != "CONNECT" {
			out = append(out, u.Object)
		}
	}
	return out
}

// Stands says whether what was written under an exemption is left as it is: while that
// lasts, and, where the Gates say Keep, until the next Rollout. Rollout is when the newest one
// of the Release was made; zero where there is none, and then nothing keeps it.
func Stands(b *v1alpha1.BreakGlass, rollout, now time.Time) bool {
	end := Ends(b)
	return now.Before(end) || (b.Status.Afterwards == v1alpha1.AfterwardsKeep && !rollout.IsZero() && rollout.Before(end))
}

// Connections are the subresources of a pod that an exemption for the pod opens.
func Connections() []string { return []string{"attach", "exec", "portforward"} }

// Ephemeral is the subresource by which a container for debugging is added to a pod.
const Ephemeral = "ephemeralcontainers"

// PodSubResource says whether an exemption for a pod is about a subresource of it. Pods
// themselves are made by what a Release renders, so an exemption never writes them.
func PodSubResource(sub string) bool { return sub == Ephemeral || slices.Contains(Connections(), sub) }

func sorted(rules map[string]*v1alpha1.BreakGlassRule) []string {
	out := make([]string, 0, len(rules))
	for name := range rules {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
