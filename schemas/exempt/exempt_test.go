package exempt_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tidegate.io/tidegate/schemas/exempt"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var night = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

func breakGlass() *v1alpha1.BreakGlass {
	return &v1alpha1.BreakGlass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "night", UID: "1", CreationTimestamp: metav1.NewTime(night)},
		Spec:       v1alpha1.BreakGlassSpec{Actor: "oncall", ExpiresAt: metav1.NewTime(night.Add(time.Hour))},
	}
}

func rule(edit ...func(*v1alpha1.BreakGlassRule)) *v1alpha1.BreakGlassRule {
	r := &v1alpha1.BreakGlassRule{Approval: v1alpha1.ApprovalNone, Users: []string{"oncall"}}
	for _, e := range edit {
		e(r)
	}
	return r
}

func command(action v1alpha1.BreakGlassAction, actor string, uid types.UID) v1alpha1.BreakGlassCommand {
	return v1alpha1.BreakGlassCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", CreationTimestamp: metav1.NewTime(night)},
		Spec:       v1alpha1.BreakGlassCommandSpec{BreakGlass: "night", UID: uid, Action: action, Actor: actor},
	}
}

func TestTheStateFollowsFromTheFacts(t *testing.T) {
	second := func(r *v1alpha1.BreakGlassRule) { r.Approval = v1alpha1.ApprovalSecondPerson }
	keep := func(r *v1alpha1.BreakGlassRule) { r.Afterwards = v1alpha1.AfterwardsKeep }
	approve, revoke := v1alpha1.BreakGlassApprove, v1alpha1.BreakGlassRevoke
	for name, tc := range map[string]struct {
		rules    map[string]*v1alpha1.BreakGlassRule
		commands []v1alpha1.BreakGlassCommand
		edit     func(*exempt.Facts)
		want     v1alpha1.BreakGlassPhase
		message  string
		keeps    bool
	}{
		"a Gate that wants no approval":            {rules: gates(rule()), want: v1alpha1.BreakGlassLive},
		"two Gates, one of which wants approval":   {rules: gates(rule(), rule(second)), want: v1alpha1.BreakGlassPending},
		"an approval that was left open":           {rules: gates(rule(func(r *v1alpha1.BreakGlassRule) { r.Approval = "" })), want: v1alpha1.BreakGlassPending},
		"two Gates, one of which allows none":      {rules: gates(rule(), nil), want: v1alpha1.BreakGlassRefused, message: "is not set"},
		"no Gate":                                  {want: v1alpha1.BreakGlassRefused, message: "which none does"},
		"a second person approved":                 {rules: gates(rule(second)), commands: []v1alpha1.BreakGlassCommand{command(approve, "bob", "1")}, want: v1alpha1.BreakGlassLive},
		"its author approved":                      {rules: gates(rule(second)), commands: []v1alpha1.BreakGlassCommand{command(approve, "oncall", "1")}, want: v1alpha1.BreakGlassPending},
		"nobody approved":                          {rules: gates(rule(second)), commands: []v1alpha1.BreakGlassCommand{command(approve, "", "1")}, want: v1alpha1.BreakGlassPending},
		"another one was approved":                 {rules: gates(rule(second)), commands: []v1alpha1.BreakGlassCommand{command(approve, "bob", "0")}, want: v1alpha1.BreakGlassPending},
		"another namespace's was approved":         {rules: gates(rule(second)), commands: []v1alpha1.BreakGlassCommand{elsewhere(command(approve, "bob", "1"))}, want: v1alpha1.BreakGlassPending},
		"revoked, then approved":                   {rules: gates(rule(second)), commands: []v1alpha1.BreakGlassCommand{command(revoke, "eve", "1"), command(approve, "bob", "1")}, want: v1alpha1.BreakGlassRevoked, message: "revoked by eve"},
		"the last instant":                         {rules: gates(rule()), edit: at(time.Hour - time.Nanosecond), want: v1alpha1.BreakGlassLive},
		"its end":                                  {rules: gates(rule()), edit: at(time.Hour), want: v1alpha1.BreakGlassEnded},
		"its end, though a Gate allows no more":    {rules: gates(nil), edit: at(time.Hour), want: v1alpha1.BreakGlassEnded},
		"longer than the Gate allows":              {rules: gates(rule(func(r *v1alpha1.BreakGlassRule) { r.MaxDuration.Duration = 30 * time.Minute })), want: v1alpha1.BreakGlassRefused, message: "wanted at most 30m"},
		"an hour, where the Gate does not say":     {rules: gates(rule()), edit: func(f *exempt.Facts) { f.BreakGlass.Spec.ExpiresAt = metav1.NewTime(night.Add(61 * time.Minute)) }, want: v1alpha1.BreakGlassRefused, message: "wanted at most 1h"},
		"somebody whom no list has":                {rules: gates(rule(func(r *v1alpha1.BreakGlassRule) { r.Users = []string{"dora"} })), want: v1alpha1.BreakGlassRefused, message: `found "oncall"`},
		"a group, before it is known who is in it": {rules: gates(grouped()), want: v1alpha1.BreakGlassLive},
		"a group that the user is in":              {rules: gates(grouped()), edit: in("sre"), want: v1alpha1.BreakGlassLive},
		"a group that the user is not in any more": {rules: gates(grouped()), edit: in("dev"), want: v1alpha1.BreakGlassRefused},
		"it is being deleted":                      {rules: gates(rule()), edit: func(f *exempt.Facts) { now := metav1.NewTime(night); f.BreakGlass.DeletionTimestamp = &now }, want: v1alpha1.BreakGlassEnded},
		"all Gates say Keep":                       {rules: gates(rule(keep), rule(keep)), want: v1alpha1.BreakGlassLive, keeps: true},
		"one Gate says Keep and another does not":  {rules: gates(rule(keep), rule()), want: v1alpha1.BreakGlassLive},
	} {
		t.Run(name, func(t *testing.T) {
			f := exempt.Facts{BreakGlass: breakGlass(), Commands: tc.commands, Rules: tc.rules, Now: night}
			if tc.edit != nil {
				tc.edit(&f)
			}
			s := exempt.Of(f)
			if s.Phase != tc.want || !strings.Contains(s.Message, tc.message) || s.Live() != (tc.want == v1alpha1.BreakGlassLive) {
				t.Errorf("wanted %s with %q, found %+v", tc.want, tc.message, s)
			}
			if keeps := s.Afterwards == v1alpha1.AfterwardsKeep; keeps != tc.keeps {
				t.Errorf("wanted that it keeps the change to be %v, found %v", tc.keeps, keeps)
			}
		})
	}
}

func gates(rules ...*v1alpha1.BreakGlassRule) map[string]*v1alpha1.BreakGlassRule {
	out := map[string]*v1alpha1.BreakGlassRule{}
	for i, r := range rules {
		out[string(rune('a'+i))] = r
	}
	return out
}

func grouped() *v1alpha1.BreakGlassRule {
	return rule(func(r *v1alpha1.BreakGlassRule) { r.Users, r.Groups = nil, []string{"sre"} })
}

func in(group string) func(*exempt.Facts) {
	return func(f *exempt.Facts) { f.Groups, f.GroupsKnown = []string{group}, true }
}

func at(after time.Duration) func(*exempt.Facts) {
	return func(f *exempt.Facts) { f.Now = night.Add(after) }
}

func elsewhere(c v1alpha1.BreakGlassCommand) v1alpha1.BreakGlassCommand {
	c.Namespace = "bank"
	return c
}

func TestTheOldestUsesAreForgottenAndCounted(t *testing.T) {
	var s v1alpha1.BreakGlassStatus
	for i := range exempt.MaxUses + 3 {
		exempt.Used(&s, v1alpha1.BreakGlassUse{Request: types.UID(rune('a' + i))})
	}
	if len(s.Uses) != exempt.MaxUses || s.UseCount != exempt.MaxUses+3 || s.Uses[0].Request != "d" {
		t.Errorf("wanted the latest %d of %d, found %d of %d from %s", exempt.MaxUses, exempt.MaxUses+3, len(s.Uses), s.UseCount, s.Uses[0].Request)
	}
}
