package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"tidegate.io/tidegate/cmd/tidegate/internal/check"
	"tidegate.io/tidegate/policies/eval"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// maxSamples is how many samples one policy may have.
const maxSamples = 500

// beside is the folder lib beside a directory, where the shipped policies have what they
// share; empty where there is none.
func beside(dir string) string {
	lib := filepath.Join(filepath.Dir(filepath.Clean(dir)), "lib")
	if info, err := os.Stat(lib); err != nil || !info.IsDir() || filepath.Clean(dir) == lib {
		return ""
	}
	return lib
}

// samples puts the objects of samples/allowed and samples/denied, beside the file of a
// policy, to it, with the parameters of samples/parameters.yaml where there are some. It
// returns how many there are, and which are not as the folder says.
func (o *policyTestFlags) samples(ctx context.Context, p *v1alpha1.DeployPolicy, file string) (count int, problems []string, err error) {
	dir := filepath.Join(filepath.Dir(file), "samples")
	source := eval.FromDeployPolicy(p)
	raw, err := os.ReadFile(filepath.Join(dir, "parameters.yaml")) //nolint:gosec // The user names the directory.
	if err == nil {
		if source.Parameters, err = yaml.YAMLToJSON(raw); err != nil {
			return 0, nil, fmt.Errorf("reading the parameters of samples: %w", err)
		}
	}
	var compiled *eval.Policy
	for _, want := range []v1alpha1.PolicyOutcome{v1alpha1.OutcomeAllowed, v1alpha1.OutcomeDenied} {
		files, err := filepath.Glob(filepath.Join(dir, string(want), "*.yaml"))
		if err != nil || len(files) > maxSamples {
			return count, nil, fmt.Errorf("wanted at most %d samples in %s, found %d: %w", maxSamples, dir, len(files), err)
		}
		for _, sample := range files {
			if compiled == nil {
				if compiled, err = o.compiler().Compile(ctx, source); err != nil {
					return count, nil, fmt.Errorf("compiling it with the parameters of its samples: %w", err)
				}
			}
			count++
			if problem := sampled(ctx, compiled, momentsOf(p)[0], sample, want); problem != "" {
				problems = append(problems, fmt.Sprintf("samples/%s/%s: %s", want, filepath.Base(sample), problem))
			}
		}
	}
	return count, problems, nil
}

// sampled asks a policy about one sample, and says what is wrong with its answer. What a policy
// warns of is not allowed either.
func sampled(ctx context.Context, p *eval.Policy, moment v1alpha1.PolicyMoment, file string, want v1alpha1.PolicyOutcome) string {
	raw, err := check.Document(file, nil)
	if err != nil {
		return err.Error()
	}
	in, err := eval.SampleInput(moment, raw)
	if err != nil {
		return err.Error()
	}
	found, err := p.Eval(ctx, in)
	if err != nil {
		return fmt.Sprintf("wanted it %s, found: %v", want, err)
	}
	var said []string
	for _, v := range append(found.Denials, found.Warnings...) {
		said = append(said, v.String())
	}
	switch {
	case want == v1alpha1.OutcomeAllowed && len(said) > 0:
		return "wanted it allowed, found: " + strings.Join(said[:min(len(said), 3)], " | ")
	case want == v1alpha1.OutcomeDenied && len(said) == 0:
		return "wanted it denied, found it allowed"
	}
	return ""
}
