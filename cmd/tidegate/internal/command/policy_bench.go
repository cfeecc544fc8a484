package command

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/cmd/tidegate/internal/check"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/policies/library"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

type policyBenchFlags struct {
	*cli
	policies, inputs, library []string
	count                     int
	allocs                    int64
	output                    string
}

func (c *cli) policyBench() *cobra.Command {
	o := &policyBenchFlags{cli: c}
	cmd := &cobra.Command{
		Use:   "bench -f POLICIES",
		Short: "Measure what policies cost",
		Long: `Measure what each policy costs about one input: time, allocations and bytes. The inputs are
the objects in --input or, without it, the cases among the policy's own tests. The time
depends on the machine and what else it does; allocations hardly do, so --max-allocs is a
bound that a build can hold.

Exit codes: 0 measured; 1 a policy allocates more than --max-allocs; 2 it could not run.`,
		Example: c.example(`
tidegate policy bench -f policies/ --input deployment.yaml --max-allocs 2000
tidegate policy bench --library all --input deployment.yaml`),
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.policies, "filename", "f", nil, "File or folder of DeployPolicies; may be repeated")
	flags.StringSliceVar(&o.library, "library", nil, "Shipped policies by name, or all")
	flags.StringArrayVar(&o.inputs, "input", nil, "File or folder of objects to ask about; may be repeated")
	flags.IntVar(&o.count, "count", 200, "How often each policy is asked about each input")
	flags.Int64Var(&o.allocs, "max-allocs", 0, "Allocations that one answer may take; 0 is no bound")
	outputFlag(cmd, &o.output)
	return cmd
}

// policyCost is what one answer of a policy takes, over all its inputs.
type policyCost struct {
	Policy string        `json:"policy"`
	Inputs int           `json:"inputs"`
	Time   time.Duration `json:"nanosecondsPerAnswer"`
	Allocs int64         `json:"allocsPerAnswer"`
	Bytes  int64         `json:"bytesPerAnswer"`
}

// maxCount bounds --count.
const maxCount = 1_000_000

func (o *policyBenchFlags) run(ctx context.Context) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.count < 1 || o.count > maxCount {
		return fmt.Errorf("wanted 1 to %d in --count, found %d", maxCount, o.count)
	}
	policies, err := o.read()
	if err != nil {
		return err
	}
	objects, err := o.objects()
	if err != nil {
		return err
	}
	costs := []policyCost{}
	for i := range policies {
		cost, err := o.measure(ctx, &policies[i], objects)
		if err != nil {
			return err
		}
		if cost.Inputs == 0 {
			o.say("Note: policy %s has no cases among its tests and was passed over; give objects in --input.", cost.Policy)
			continue
		}
		costs = append(costs, cost)
	}
	if len(costs) == 0 {
		return fmt.Errorf("wanted something to ask about, found no cases among the tests of policies; give objects in --input")
	}
	if err := o.write(costs); err != nil {
		return err
	}
	var lines []string
	for _, c := range costs {
		if o.allocs > 0 && c.Allocs > o.allocs {
			lines = append(lines, fmt.Sprintf("policy %s: wanted at most %d allocations an answer, found %d", c.Policy, o.allocs, c.Allocs))
		}
	}
	return o.findings(lines)
}

// objects are the inputs of the flags.
func (o *policyBenchFlags) objects() ([]eval.Input, error) {
	if len(o.inputs) == 0 {
		return nil, nil
	}
	files, err := check.Read(o.inputs, o.In)
	if err != nil {
		return nil, err
	}
	var out []eval.Input
	for _, m := range files.Manifests {
		raw, err := m.Object.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", m.File, err)
		}
		q, err := inputQuestion(v1alpha1.AtAdmission, raw)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", m.File, err)
		}
		out = append(out, q.Input)
	}
	return out, nil
}

func (o *policyBenchFlags) read() ([]v1alpha1.DeployPolicy, error) {
	var out []v1alpha1.DeployPolicy
	if len(o.policies) > 0 {
		files, err := check.Read(o.policies, o.In)
		if err != nil {
			return nil, err
		}
		if out, err = check.Policies(files); err != nil {
			return nil, err
		}
	}
	more, err := shipped(o.library)
	if err != nil {
		return nil, err
	}
	out = append(out, more...)
	if len(out) == 0 {
		return nil, fmt.Errorf("wanted DeployPolicies in --filename or --library, found none%s", strings.Join(append([]string{""}, o.policies...), " "))
	}
	return out, nil
}

// measure asks a policy about every input many times. Counting goes by the whole process,
// in which nothing else runs meanwhile.
func (o *policyBenchFlags) measure(ctx context.Context, p *v1alpha1.DeployPolicy, inputs []eval.Input) (policyCost, error) {
	cost := policyCost{Policy: p.Name}
	policy, err := eval.CompileContext(ctx, eval.FromDeployPolicy(p))
	if err != nil {
		return cost, err
	}
	if len(inputs) == 0 && p.Spec.Tests != nil {
		for i := range p.Spec.Tests.Cases {
			in, err := eval.CaseInput(momentsOf(p)[0], &p.Spec.Tests.Cases[i])
			if err != nil {
				return cost, fmt.Errorf("policy %s: case %q: %w", p.Name, p.Spec.Tests.Cases[i].Name, err)
			}
			inputs = append(inputs, in)
		}
	}
	cost.Inputs = len(inputs)
	if cost.Inputs == 0 {
		return cost, nil
	}
	ask := func(times int) error {
		for range times {
			for _, in := range inputs {
				if _, err := policy.Eval(ctx, in); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := ask(1); err != nil { // What is made at the first question is not counted.
		return cost, err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := o.Now()
	if err := ask(o.count); err != nil {
		return cost, err
	}
	took := o.Now().Sub(start)
	runtime.ReadMemStats(&after)
	n := int64(o.count) * int64(len(inputs))
	cost.Time = took / time.Duration(n)
	cost.Allocs = int64(after.Mallocs-before.Mallocs) / n      //nolint:gosec // far from the bounds
	cost.Bytes = int64(after.TotalAlloc-before.TotalAlloc) / n //nolint:gosec // far from the bounds
	return cost, nil
}

func (o *policyBenchFlags) write(costs []policyCost) error {
	if o.output != "" {
		return writeDocument(o.cli, costs, o.output)
	}
	w := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "POLICY\tINPUTS\tTIME\tALLOCS\tBYTES")
	for _, c := range costs {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\n", c.Policy, c.Inputs, c.Time.Round(100*time.Nanosecond), c.Allocs, c.Bytes)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// shipped returns policies of the library by their names, or all of them.
func shipped(names []string) ([]v1alpha1.DeployPolicy, error) {
	if slices.Contains(names, allPolicies) {
		names = library.Names()
	}
	out := make([]v1alpha1.DeployPolicy, 0, len(names))
	for _, name := range names {
		p, err := library.Get(name)
		if err != nil {
			return nil, err
		}
		out = append(out, *p)
	}
	return out, nil
}
