package eval_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

var saturday = time.Date(2026, 11, 21, 13, 0, 0, 5e8, time.FixedZone("", 3600))

func rise() eval.Promotion {
	return eval.Promotion{
		Time:      saturday,
		Release:   &eval.Release{Name: "cart", Namespace: "shop", Template: "web", Labels: map[string]string{"tier": "web"}},
		Namespace: &eval.Namespace{Name: "shop"},
		Rollout: &eval.Rollout{
			Name: "cart-2", Number: 2, Revision: "3f2a91c04d", Digest: "sha256:a", Strategy: "canary", Phase: "Progressing", From: 5, Weight: 25, Step: 2, Steps: 4,
			Verdict: "Pass", Approvals: []eval.Approval{{Step: 1, Actor: "alice"}},
		},
		Template: eval.Template{Name: "web", Revision: "web-3"},
	}
}

func full() eval.Promotion {
	p := rise()
	p.Author, p.Values = "bob", map[string]any{"image": "a:1"}
	p.Rollout.Approvals[0].Groups = []string{"sre"}
	p.Rollout.Started, p.Rollout.Raised = eval.Moment(saturday.Add(-2*time.Hour)), eval.Moment(saturday.Add(-time.Hour))
	p.History = eval.Newest([]eval.Past{
		{Release: "cart", Rollout: "cart-1", Started: eval.Moment(saturday.Add(-24 * time.Hour)), Phase: "Succeeded", First: true},
		{Release: "db", Rollout: "db-3", Started: eval.Moment(saturday.Add(-3 * time.Hour)), Phase: "Progressing", Waits: true},
		{Release: "db", Rollout: "db-2", Started: eval.Moment(saturday.Add(-48 * time.Hour)), Raised: eval.Moment(saturday.Add(-time.Hour)), Phase: "Succeeded"},
	})
	p.Elsewhere = eval.ByNamespace([]eval.Elsewhere{{
		Namespace: "stage", Rollout: "cart-9", Phase: "Succeeded", Template: "web-3", Values: map[string]any{"image": "a:1"}, Succeeded: eval.Moment(saturday.Add(-2 * time.Hour)),
	}})
	p.Measurements = map[string]float64{"main/error-budget": 0.25}
	p.Unmeasured = map[string]string{"other/pages": "asking other: no answer within 5s"}
	return p
}

func wave() eval.Promotion {
	return eval.Promotion{Time: saturday, Template: eval.Template{Name: "web", Revision: "web-3"}, Wave: &eval.Wave{Name: "canaries"}}
}

func question(t *testing.T, p eval.Promotion) eval.Question {
	t.Helper()
	q, err := p.Question()
	if err != nil {
		t.Fatalf("Question: %v", err)
	}
	return q
}

func TestPoliciesSeeWhatAsksForMoreExposure(t *testing.T) {
	echo := compile(t, eval.Source{Name: "echo", Rego: "package p\ndeny contains json.marshal(object.remove(input, [\"parameters\"])) if true"})
	for name, tc := range map[string]struct {
		asked eval.Promotion
		want  string
	}{
		"a rollout": {rise(), `{"moment": "promotion", "time": "2026-11-21T12:00:00Z",
			"release": {"name": "cart", "namespace": "shop", "template": "web", "labels": {"tier": "web"}},
			"namespace": {"name": "shop"},
			"rollout": {"name": "cart-2", "number": 2, "revision": "3f2a91c04d", "digest": "sha256:a", "strategy": "canary", "phase": "Progressing", "first": false, "rollback": false,
				"from": 5, "weight": 25, "step": 2, "steps": 4, "verdict": "Pass", "approvals": [{"step": 1, "actor": "alice"}]},
			"history": [], "elsewhere": [], "measurements": {},
			"template": {"name": "web", "revision": "web-3"}}`},
		"a rollout with all that is known of it": {full(), `{"moment": "promotion", "time": "2026-11-21T12:00:00Z",
			"release": {"name": "cart", "namespace": "shop", "template": "web", "labels": {"tier": "web"}},
			"namespace": {"name": "shop"}, "author": "bob", "values": {"image": "a:1"},
			"rollout": {"name": "cart-2", "number": 2, "revision": "3f2a91c04d", "digest": "sha256:a", "strategy": "canary", "phase": "Progressing", "first": false, "rollback": false,
				"started": "2026-11-21T10:00:00Z", "raised": "2026-11-21T11:00:00Z", "from": 5, "weight": 25, "step": 2, "steps": 4, "verdict": "Pass", "approvals": [{"step": 1, "actor": "alice", "groups": ["sre"]}]},
			"history": [
				{"release": "db", "rollout": "db-2", "started": "2026-11-19T12:00:00Z", "raised": "2026-11-21T11:00:00Z", "phase": "Succeeded", "first": false},
				{"release": "db", "rollout": "db-3", "started": "2026-11-21T09:00:00Z", "waits": true, "phase": "Progressing", "first": false},
				{"release": "cart", "rollout": "cart-1", "started": "2026-11-20T12:00:00Z", "phase": "Succeeded", "first": true}],
			"elsewhere": [{"namespace": "stage", "rollout": "cart-9", "phase": "Succeeded", "template": "web-3", "values": {"image": "a:1"}, "succeeded": "2026-11-21T10:00:00Z"}],
			"measurements": {"main/error-budget": 0.25}, "unmeasured": {"other/pages": "asking other: no answer within 5s"},
			"template": {"name": "web", "revision": "web-3"}}`},
		"a wave": {wave(), `{"moment": "promotion", "time": "2026-11-21T12:00:00Z", "template": {"name": "web", "revision": "web-3"}, "wave": {"name": "canaries"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			findings, err := echo.Eval(t.Context(), question(t, tc.asked).Input)
			if err != nil || len(findings.Denials) != 1 {
				t.Fatalf("%+v, %v", findings, err)
			}
			var got, want any
			if err := json.Unmarshal([]byte(findings.Denials[0].Message), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tc.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMatchAtPromotion(t *testing.T) {
	own := func(kinds ...string) []v1alpha1.KindMatch {
		return []v1alpha1.KindMatch{{Group: "tidegate.io", Kinds: kinds}}
	}
	for name, tc := range map[string]struct {
		at            []v1alpha1.PolicyMoment
		match         v1alpha1.PolicyMatch
		rollout, wave bool
	}{
		"everything":                       {[]v1alpha1.PolicyMoment{v1alpha1.AtPromotion}, v1alpha1.PolicyMatch{}, true, true},
		"another moment is not asked":      {[]v1alpha1.PolicyMoment{v1alpha1.AtRelease, v1alpha1.AtAdmission}, v1alpha1.PolicyMatch{}, false, false},
		"rollouts alone":                   {[]v1alpha1.PolicyMoment{v1alpha1.AtPromotion}, v1alpha1.PolicyMatch{Kinds: own("Rollout")}, true, false},
		"syncs alone":                      {[]v1alpha1.PolicyMoment{v1alpha1.AtPromotion}, v1alpha1.PolicyMatch{Kinds: own("ReleaseTemplate")}, false, true},
		"a sync is of no namespace":        {[]v1alpha1.PolicyMoment{v1alpha1.AtPromotion}, v1alpha1.PolicyMatch{Namespaces: []string{"sh*"}}, true, false},
		"another namespace":                {[]v1alpha1.PolicyMoment{v1alpha1.AtPromotion}, v1alpha1.PolicyMatch{Namespaces: []string{"bank"}}, false, false},
		"operations leave nothing out":     {[]v1alpha1.PolicyMoment{v1alpha1.AtPromotion}, v1alpha1.PolicyMatch{Operations: []string{"CREATE"}}, true, true},
		"kinds of another group are other": {[]v1alpha1.PolicyMoment{v1alpha1.AtPromotion}, v1alpha1.PolicyMatch{Kinds: []v1alpha1.KindMatch{{Group: "apps", Kinds: []string{"Rollout"}}}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			set := eval.NewSet(compile(t, eval.Source{Name: "no", Rego: "package p\ndeny contains \"no\" if true", At: tc.at, Match: tc.match}))
			for asked, want := range map[*eval.Promotion]bool{new(rise()): tc.rollout, new(wave()): tc.wave} {
				if got := set.Judge(t.Context(), question(t, *asked)).Hold(saturday) != nil; got != want {
					t.Errorf("%+v: held %v, want %v", asked.Template, got, want)
				}
			}
			if set.Asks(v1alpha1.AtPromotion) != (tc.at[0] == v1alpha1.AtPromotion) {
				t.Errorf("Asks: %v", !set.Asks(v1alpha1.AtPromotion))
			}
		})
	}
}

func TestWhatHolds(t *testing.T) {
	at := func(text string) time.Time {
		t.Helper()
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at.UTC()
	}
	type policy struct {
		rego        string
		enforcement v1alpha1.Enforcement
	}
	for name, tc := range map[string]struct {
		policies []policy
		want     *eval.Hold
	}{
		"nothing":                  {nil, nil},
		"a warning does not":       {[]policy{{`warn contains "hm" if true`, ""}}, nil},
		"nor does a warned denial": {[]policy{{`deny contains "no" if true`, v1alpha1.EnforcementWarn}}, nil},
		"nor a dry run":            {[]policy{{`deny contains "no" if true`, v1alpha1.EnforcementDryrun}}, nil},
		"a denial": {
			[]policy{{`deny contains {"msg": "no", "code": "TG-X", "fix": "wait"} if true`, ""}},
			&eval.Hold{Code: "TG-X", Message: "no; do: wait (policy a)"},
		},
		"a policy that cannot be evaluated": {
			[]policy{{`deny contains msg if { msg := time.clock([0, "Mars/Olympus"])[0] }`, ""}},
			&eval.Hold{Code: "TG-POLICY-ERROR"},
		},
		"a denial with a time": {
			[]policy{{`deny contains {"msg": "no", "until": "2026-11-23T08:00:00+01:00"} if true`, ""}},
			&eval.Hold{Code: "TG-POLICY-DENY", Message: "no (policy a)", Until: at("2026-11-23T07:00:00Z")},
		},
		"a denial with a time to wait": {
			[]policy{{`deny contains {"msg": "no", "retryAfter": "30m"} if true`, ""}},
			&eval.Hold{Code: "TG-POLICY-DENY", Message: "no (policy a)", Until: saturday.Add(30 * time.Minute)},
		},
		"a time that cannot be read is left out": {
			[]policy{{`deny contains {"msg": "no", "until": "monday", "retryAfter": "-1h"} if true`, ""}},
			&eval.Hold{Code: "TG-POLICY-DENY", Message: "no (policy a)"},
		},
		"the last of several times": {
			[]policy{
				{`deny contains {"msg": "no", "until": "2026-11-23T08:00:00Z"} if true`, ""},
				{`deny contains {"msg": "nor I", "until": "2026-11-25T08:00:00Z", "code": "TG-Y"} if true`, ""},
			},
			&eval.Hold{Code: "TG-POLICY-DENY", Message: "no (policy a); TG-Y: nor I (policy b)", Until: at("2026-11-25T08:00:00Z")},
		},
		"one that does not know leaves it open": {
			[]policy{{`deny contains {"msg": "no", "until": "2026-11-23T08:00:00Z"} if true`, ""}, {`deny contains "nor I" if true`, ""}},
			&eval.Hold{Code: "TG-POLICY-DENY", Message: "no (policy a); nor I (policy b)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var policies []*eval.Policy
			for i, p := range tc.policies {
				policies = append(policies, compile(t, eval.Source{
					Name: string(rune('a' + i)), Rego: "package p\n" + p.rego, Enforcement: p.enforcement, At: []v1alpha1.PolicyMoment{v1alpha1.AtPromotion},
				}))
			}
			got := eval.NewSet(policies...).Judge(t.Context(), question(t, rise())).Hold(saturday)
			if tc.want != nil && got != nil && tc.want.Message == "" {
				if !strings.Contains(got.Message, "Mars/Olympus") {
					t.Errorf("wanted the cause in %q", got.Message)
				}
				tc.want.Message = got.Message
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A policy that never compiled must hold, not be left out.
func TestABrokenPolicyHolds(t *testing.T) {
	store := eval.NewStore()
	if err := store.Put(eval.Source{Name: "freeze", Rego: "package p\ndeny contains", At: []v1alpha1.PolicyMoment{v1alpha1.AtPromotion}}); err == nil {
		t.Fatal("wanted an error")
	}
	hold := store.Set().Judge(t.Context(), question(t, rise())).Hold(saturday)
	if hold == nil || hold.Code != eval.ReasonPolicyError {
		t.Errorf("got %+v", hold)
	}
}

// Freeze windows need the rules of zones, which not every machine has.
func TestZonesAreKnown(t *testing.T) {
	t.Setenv("ZONEINFO", "/nowhere")
	p := compile(t, eval.Source{Name: "p", Rego: "package p\ndeny contains time.weekday([time.parse_rfc3339_ns(input.time), \"Pacific/Kiritimati\"]) if true"})
	got, err := p.Eval(t.Context(), question(t, rise()).Input)
	if err != nil || len(got.Denials) != 1 || got.Denials[0].Message != "Sunday" {
		t.Errorf("%+v, %v", got, err)
	}
}
