package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"

	"tidegate.io/tidegate/cmd/tidegate/internal/check"
	"tidegate.io/tidegate/cmd/tidegate/internal/findings"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type policyEvalFlags struct {
	*cli
	policy, library, input, at, output string
	explain                            bool
}

func (c *cli) policyEval() *cobra.Command {
	o := &policyEvalFlags{cli: c}
	cmd := &cobra.Command{
		Use:   "eval -f POLICY --input FILE",
		Short: "Ask one policy about one input",
		Long: `Ask one policy about one input. The input is an object, which is asked about as if it were
created; an AdmissionReview, as the API server sends it; or whatever a policy sees as input,
for the other moments. Either file may be - for standard input.

With --explain the parts of the question are shown too: whether the policy matches, when it
is asked, and what a violation leads to.

Exit codes: 0 nothing is refused; 1 the policy refuses; 2 it could not run.`,
		Example: c.example(`
tidegate policy eval -f policy.yaml --input deployment.yaml
tidegate policy eval --library probes --input review.json --explain`),
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.policy, "filename", "f", "", "File of the DeployPolicy")
	flags.StringVar(&o.library, "library", "", "Name of a shipped policy, in place of --filename")
	flags.StringVar(&o.input, "input", "", "File of the input")
	flags.StringVar(&o.at, "at", "", "The moment: admission, release or promotion; the policy's first otherwise")
	flags.BoolVar(&o.explain, "explain", false, "Show how the verdict comes about")
	outputFlag(cmd, &o.output)
	cobra.CheckErr(cmd.MarkFlagRequired("input"))
	return cmd
}

// policyVerdict is what `policy eval -o json` prints.
type policyVerdict struct {
	Policy string `json:"policy"`
	// Verdict is allowed, warned or denied, by the policy's enforcement.
	Verdict v1alpha1.PolicyOutcome `json:"verdict"`
	// Matches is false where the policy is not asked about such an input. Found is what it
	// would say.
	Matches     bool                    `json:"matches"`
	Moment      v1alpha1.PolicyMoment   `json:"moment"`
	At          []v1alpha1.PolicyMoment `json:"at"`
	Enforcement v1alpha1.Enforcement    `json:"enforcement"`
	Denials     []eval.Violation        `json:"denials"`
	Warnings    []eval.Violation        `json:"warnings"`
	Dryrun      []eval.Violation        `json:"dryrun"`
}

func (o *policyEvalFlags) run(ctx context.Context) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.policy == "-" && o.input == "-" {
		return errors.New("standard input can be read once; give only one file as -")
	}
	p, err := o.read()
	if err != nil {
		return err
	}
	compiled, err := o.compiler().Compile(ctx, eval.FromDeployPolicy(p))
	if err != nil {
		return err
	}
	question, err := o.question(p)
	if err != nil {
		return err
	}
	v := policyVerdict{Policy: p.Name, Moment: question.Moment, At: momentsOf(p), Enforcement: p.Spec.Enforcement}
	if v.Enforcement == "" {
		v.Enforcement = v1alpha1.EnforcementDeny
	}
	if v.Matches, err = compiled.Matches(question); err != nil {
		return err
	}
	found := eval.NewSet(compiled).Judge(ctx, question)
	v.Denials, v.Warnings, v.Dryrun = listed(found.Denials), listed(found.Warnings), listed(found.Dryrun)
	v.Verdict = v1alpha1.OutcomeAllowed
	switch {
	case len(v.Denials) > 0:
		v.Verdict = v1alpha1.OutcomeDenied
	case len(v.Warnings) > 0:
		v.Verdict = v1alpha1.OutcomeWarned
	}
	if o.output != "" {
		err = writeDocument(o.cli, v, o.output)
	} else {
		o.print("%s", v.text(question, o.explain))
	}
	if err == nil && v.Verdict == v1alpha1.OutcomeDenied {
		return &exitError{code: ExitRenderFindings}
	}
	return err
}

func listed(list []eval.Violation) []eval.Violation {
	if list == nil {
		return []eval.Violation{}
	}
	return list
}

func momentsOf(p *v1alpha1.DeployPolicy) []v1alpha1.PolicyMoment {
	if len(p.Spec.At) == 0 {
		return []v1alpha1.PolicyMoment{v1alpha1.AtAdmission}
	}
	return p.Spec.At
}

// read reads the policy.
func (o *policyEvalFlags) read() (*v1alpha1.DeployPolicy, error) {
	switch {
	case (o.policy == "") == (o.library == ""):
		return nil, errors.New("wanted one of --filename and --library, to say which policy")
	case o.library != "":
		return library.Get(o.library)
	}
	files, err := check.Read([]string{o.policy}, o.In)
	if err != nil {
		return nil, err
	}
	list, err := check.Policies(files)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("wanted one DeployPolicy in %s, found %d", o.policy, len(list))
	}
	return &list[0], nil
}

// question reads the input, in any of its three forms.
func (o *policyEvalFlags) question(p *v1alpha1.DeployPolicy) (eval.Question, error) {
	var none eval.Question
	moment := momentsOf(p)[0]
	if o.at != "" {
		moment = v1alpha1.PolicyMoment(o.at)
		if !slices.Contains([]v1alpha1.PolicyMoment{v1alpha1.AtAdmission, v1alpha1.AtRelease, v1alpha1.AtPromotion}, moment) {
			return none, fmt.Errorf("wanted admission, release or promotion in --at, found %q", o.at)
		}
	}
	raw, err := check.Document(o.input, o.In)
	if err != nil {
		return none, err
	}
	q, err := inputQuestion(moment, raw)
	if err != nil {
		return none, fmt.Errorf("reading the input %s: %w", o.input, err)
	}
	return q, nil
}

// inputQuestion is the question about an object, an AdmissionReview, or a whole input.
func inputQuestion(moment v1alpha1.PolicyMoment, raw []byte) (eval.Question, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Namespace string `json:"namespace"`
		} `json:"metadata"`
		Namespace eval.Namespace `json:"namespace"`
		Release   eval.Release   `json:"release"`
		Request   struct {
			Kind      eval.GroupKind `json:"kind"`
			Namespace string         `json:"namespace"`
			Operation string         `json:"operation"`
		} `json:"request"`
		Rollout json.RawMessage `json:"rollout"`
		Wave    json.RawMessage `json:"wave"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &head); err != nil {
		return eval.Question{}, err
	}
	if strings.HasPrefix(head.APIVersion, admissionv1.GroupName+"/") && head.Kind == "AdmissionReview" {
		var review admissionv1.AdmissionReview
		if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &review); err != nil {
			return eval.Question{}, err
		}
		if review.Request == nil {
			return eval.Question{}, errors.New("wanted a request in the AdmissionReview, found none")
		}
		request := reviewed(review.Request)
		q := eval.AdmissionQuestion(request, nil, nil, nil)
		if q.Moment != moment {
			q.Moment, q.Load = moment, func() (eval.Input, error) { return eval.RequestInput(moment, request) }
		}
		return q, nil
	}
	q := eval.Question{Moment: moment}
	c := v1alpha1.PolicyCase{Input: &runtime.RawExtension{Raw: raw}}
	if head.APIVersion != "" && head.Kind != "" {
		c = v1alpha1.PolicyCase{Object: &runtime.RawExtension{Raw: raw}}
		group, _, isGrouped := strings.Cut(head.APIVersion, "/")
		if !isGrouped {
			group = ""
		}
		q.Group, q.Kind, q.Namespace, q.Operation = group, head.Kind, head.Metadata.Namespace, "CREATE"
	} else {
		q.Group, q.Kind, q.Operation = head.Request.Kind.Group, head.Request.Kind.Kind, head.Request.Operation
		for _, n := range []string{head.Request.Namespace, head.Namespace.Name, head.Release.Namespace} {
			if q.Namespace == "" {
				q.Namespace = n
			}
		}
		switch {
		case len(head.Rollout) > 0:
			q.Group, q.Kind = v1alpha1.GroupVersion.Group, "Rollout"
		case len(head.Wave) > 0:
			q.Group, q.Kind = v1alpha1.GroupVersion.Group, "ReleaseTemplate"
		}
	}
	var err error
	q.Input, err = eval.CaseInput(moment, &c)
	return q, err
}

// reviewed is a request of an AdmissionReview as policies see it.
func reviewed(r *admissionv1.AdmissionRequest) eval.Request {
	present := func(raw []byte) []byte {
		if string(raw) == "null" {
			return nil
		}
		return raw
	}
	return eval.Request{
		UID: string(r.UID), Kind: eval.GroupKind(r.Kind), Resource: eval.GroupResource(r.Resource), SubResource: r.SubResource,
		Name: r.Name, Namespace: r.Namespace, Operation: string(r.Operation),
		UserInfo: eval.UserInfo{Username: r.UserInfo.Username, UID: r.UserInfo.UID, Groups: r.UserInfo.Groups},
		Object:   present(r.Object.Raw), OldObject: present(r.OldObject.Raw), DryRun: r.DryRun != nil && *r.DryRun,
	}
}

func (v policyVerdict) text(q eval.Question, explain bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", v.Verdict)
	if !v.Matches {
		fmt.Fprintf(&b, "  policy %s is not asked: its match or its moments leave this out\n", v.Policy)
	}
	for _, part := range []struct {
		word string
		list []eval.Violation
	}{{"denial", v.Denials}, {"warning", v.Warnings}, {"dryrun", v.Dryrun}} {
		for _, found := range part.list {
			fmt.Fprintf(&b, "  %s: %s\n", part.word, findings.Visible(found.String()))
		}
	}
	if explain {
		asked := []string{}
		for _, m := range v.At {
			asked = append(asked, string(m))
		}
		fmt.Fprintf(&b, "\npolicy       %s, enforcement %s, asked at %s\n", v.Policy, v.Enforcement, strings.Join(asked, ", "))
		fmt.Fprintf(&b, "question     at %s: kind %q of group %q in namespace %q, operation %q\n", v.Moment, q.Kind, q.Group, q.Namespace, q.Operation)
		fmt.Fprintf(&b, "matches      %v\n", v.Matches)
		fmt.Fprintf(&b, "found        %d denials, %d warnings, %d in dryrun\n", len(v.Denials), len(v.Warnings), len(v.Dryrun))
	}
	return b.String()
}
