package eval

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tidegate.io/tidegate/schemas/v1alpha1"
)

// Release is the Release that a question is about, as policies see it.
type Release struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Template is the template's name; more about it is in input.template.
	Template string            `json:"template"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// Namespace is the namespace of the Release. Its labels are, as a rule, not the team's to
// set, so exceptions by them cannot be claimed.
type Namespace struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Template is the template in use, as policies see it.
type Template struct {
	// Name of the ReleaseTemplate.
	Name string `json:"name"`
	// Revision is the name of the TemplateRevision that is used, such as web-3. Number and
	// Digest are those of it, at release only.
	Revision string `json:"revision,omitempty"`
	Number   int64  `json:"number,omitempty"`
	Digest   string `json:"digest,omitempty"`
	// Pin is what the Release pins; absent where it pins nothing. At release only.
	Pin *Pin `json:"pin,omitempty"`
	// Channel is the channel that the Release follows, if it does. At release only.
	Channel string `json:"channel,omitempty"`
}

// Pin is a revision that a Release names itself.
type Pin struct {
	Revision int64  `json:"revision,omitempty"`
	Digest   string `json:"digest,omitempty"`
}

// Rollout is what asks for more exposure.
type Rollout struct {
	Name string `json:"name"`
	// Number counts the Rollouts of a Release from 1.
	Number int64 `json:"number"`
	// Revision is the set that is to get requests, and Digest all that was rendered.
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
	// Strategy is canary, blueGreen or rolling.
	Strategy string `json:"strategy"`
	Phase    string `json:"phase"`
	// First is true where nothing served before, so that nothing can be disturbed.
	First bool `json:"first"`
	// Rollback is true where the platform team turned back from a template revision, and
	// this brings the Release back with it, changed by nobody else; or where a person returns to
	// a revision that was in service lately, as the template's rollback window says.
	Rollback bool `json:"rollback"`
	// Started is when it was made, and Raised when it was first allowed to take exposure from
	// what served, both RFC 3339 in UTC; Raised is empty where it never was.
	Started string `json:"started,omitempty"`
	Raised  string `json:"raised,omitempty"`
	// From is the weight that is approved now, in percent, and Weight the one that is asked
	// for.
	From   int32 `json:"from"`
	Weight int32 `json:"weight"`
	// Step is the step that is asked for, counted from 1; Steps is their number.
	Step  int32 `json:"step"`
	Steps int   `json:"steps"`
	// Verdict is that of the last round of analysis: Pass, Fail, Inconclusive or Unknown;
	// empty before the first.
	Verdict string `json:"verdict,omitempty"`
	// Approvals are the steps that people approved.
	Approvals []Approval `json:"approvals,omitempty"`
}

// Approval is a step that a person let pass.
type Approval struct {
	Step  int32  `json:"step"`
	Actor string `json:"actor"`
	// Groups are those that the person was in, as the API server knew them.
	Groups []string `json:"groups,omitempty"`
}

// Wave is a part of a template's sync that asks whether Releases may be brought to the
// template's target.
type Wave struct {
	Name string `json:"name"`
}

// Promotion is a question about more exposure: that of a Rollout, or, where Wave is set,
// that of a template revision.
type Promotion struct {
	// Time is the moment of the question. Policies have no clock; this is theirs.
	Time      time.Time
	Release   *Release
	Namespace *Namespace
	Rollout   *Rollout
	Template  Template
	Wave      *Wave
	// Author is who last changed the Release; empty where that is not known.
	Author string
	// Values are the Release's, as the Rollout has them.
	Values any
	// History has the other Rollouts of the namespace that are kept, the newest first; see
	// Newest.
	History []Past
	// Elsewhere has the Releases of the same name in other namespaces.
	Elsewhere []Elsewhere
	// Measurements answer the queries of MetricSources, by "source/query". What could not be
	// measured is not there, and Unmeasured says why.
	Measurements map[string]float64
	Unmeasured   map[string]string
}

// Kinds of tidegate.io that questions at promotion are about, for DeployPolicy.match.
const (
	kindRollout  = "Rollout"
	kindTemplate = "ReleaseTemplate"
)

// Question makes the question. Input.time is RFC 3339 in UTC, to the second.
func (p Promotion) Question() (Question, error) {
	document := map[string]any{
		"moment":   string(v1alpha1.AtPromotion),
		"time":     p.Time.UTC().Format(time.RFC3339),
		"template": p.Template,
	}
	q := Question{Moment: v1alpha1.AtPromotion, Group: v1alpha1.GroupVersion.Group, Kind: kindRollout}
	if p.Release != nil {
		document["release"] = *p.Release
		q.Namespace = p.Release.Namespace
	}
	if p.Namespace != nil {
		document["namespace"] = *p.Namespace
	}
	if p.Rollout != nil {
		document["rollout"] = *p.Rollout
	}
	if p.Author != "" {
		document["author"] = p.Author
	}
	if p.Values != nil {
		document["values"] = p.Values
	}
	if p.Rollout != nil {
		document["history"] = append([]Past{}, p.History...)
		document["elsewhere"] = append([]Elsewhere{}, p.Elsewhere...)
		document["measurements"] = p.Measurements
		if p.Measurements == nil {
			document["measurements"] = map[string]float64{}
		}
		if len(p.Unmeasured) > 0 {
			document["unmeasured"] = p.Unmeasured
		}
	}
	if p.Wave != nil {
		document["wave"] = *p.Wave
		q.Kind = kindTemplate
	}
	in, err := NewInput(document)
	if err != nil {
		return Question{}, fmt.Errorf("asking about a promotion: %w", err)
	}
	q.Input = in
	return q, nil
}

// Hold is why exposure must not rise.
type Hold struct {
	// Code is that of the first objection.
	Code string
	// Message has every objection, with the policy's name.
	Message string
	// Until is when nobody is expected to object any more; zero where one of them does not
	// say.
	Until time.Time
}

// Hold returns what the denials of a verdict at promotion come to, or nil where there is
// none. Warnings and dry runs never hold.
func (v Verdict) Hold(now time.Time) *Hold {
	if len(v.Denials) == 0 {
		return nil
	}
	h := &Hold{Code: v.Denials[0].Code}
	var lines []string
	known := true
	for _, d := range v.Denials {
		line := fmt.Sprintf("%s (policy %s)", strings.TrimPrefix(d.String(), h.Code+": "), d.Policy)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
		until := d.Until
		if until.IsZero() && d.RetryAfter > 0 {
			until = now.Add(d.RetryAfter)
		}
		known = known && !until.IsZero()
		if until.After(h.Until) {
			h.Until = until
		}
	}
	if !known {
		h.Until = time.Time{}
	}
	h.Message = strings.Join(lines, "; ")
	return h
}
