package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tidegate.io/tidegate/cmd/tidegate/internal/doctor"
	"tidegate.io/tidegate/cmd/tidegate/internal/term"
)

const (
	// doctorFailed is: something has to be put right.
	doctorFailed = 1
	// doctorUnknown is: something could not be looked at.
	doctorUnknown = 2
	// reachLimit is how long a Prometheus may take to answer.
	reachLimit = 3 * time.Second
)

// doctorReport is what `doctor -o json` prints.
type doctorReport struct {
	// Worst is the worst level of the findings.
	Worst    doctor.Level     `json:"worst"`
	Findings []doctor.Finding `json:"findings"`
}

type doctorOptions struct {
	*cli
	namespace string
	output    string
}

func (c *cli) doctor() *cobra.Command {
	o := &doctorOptions{cli: c}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for holes in the gate, and for what keeps Tidegate from working",
		Long: `Looks at the cluster for what would let somebody around the gate, or keep Tidegate from
working: controllers that share one identity, webhooks that do not answer or do not fail
closed, certificates, admission policies that are not what the Gates say, rights that could
take the gate away, policies that do not serve, pods that are not what made them.

Nothing is written; two objects are created as a dry run. Warnings are about what may be
meant, such as who could take the gate away.

Exit codes: 0 well, or warnings only; 1 something has to be put right; 2 something could not be looked at.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return &exitError{code: doctorUnknown, err: err}
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.namespace, "manager-namespace", "tidegate-system", "Namespace that Tidegate is installed in")
	outputFlag(cmd, &o.output)
	return cmd
}

func (o *doctorOptions) run(ctx context.Context) error {
	api, _, err := o.connect()
	if err != nil {
		return &exitError{code: doctorUnknown, err: err}
	}
	discovery, err := o.Discovery(o.flags)
	if err != nil {
		return &exitError{code: doctorUnknown, err: err}
	}
	groups, err := discovery.ServerGroups()
	if err != nil {
		return &exitError{code: doctorUnknown, err: fmt.Errorf("asking the cluster what it serves: %w", err)}
	}
	findings := doctor.Look(ctx, doctor.Cluster{
		Client: api, Namespace: o.namespace, Now: o.Now, Reach: reach,
		Version: func() (string, error) {
			v, err := discovery.ServerVersion()
			if err != nil {
				return "", fmt.Errorf("asking the cluster for its version: %w", err)
			}
			return v.GitVersion, nil
		},
		Served: func(groupVersion string) (bool, error) {
			for _, g := range groups.Groups {
				for _, v := range g.Versions {
					if v.GroupVersion == groupVersion {
						return true, nil
					}
				}
			}
			return false, nil
		},
	})
	report := doctorReport{Worst: doctor.Worst(findings), Findings: findings}
	if o.output != "" {
		err = writeDocument(o.cli, report, o.output)
	} else {
		err = o.table(findings)
	}
	if err != nil {
		return &exitError{code: doctorUnknown, err: err}
	}
	switch report.Worst {
	case doctor.Failed:
		return &exitError{code: doctorFailed}
	case doctor.Unknown:
		return &exitError{code: doctorUnknown}
	case doctor.OK, doctor.Warning:
	}
	return nil
}

func (o *doctorOptions) table(findings []doctor.Finding) error {
	style := o.style()
	wide := 0
	for _, f := range findings {
		wide = max(wide, len(f.Check))
	}
	paint := map[doctor.Level]term.Color{doctor.OK: term.Good, doctor.Warning: term.Busy, doctor.Unknown: term.Busy, doctor.Failed: term.Bad}
	for _, f := range findings {
		indent := strings.Repeat(" ", wide+11)
		line := fmt.Sprintf("%-*s  %s  %s", wide, f.Check, style.Paint(paint[f.Level], fmt.Sprintf("%-7s", f.Level)), strings.ReplaceAll(f.Message, "\n", "\n"+indent))
		if f.Do != "" {
			line += "\n" + indent + "do: " + f.Do
		}
		if _, err := fmt.Fprintln(o.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// reach asks for a URL; any answer will do that is not an error of the server.
func reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	if closing := res.Body.Close(); err == nil {
		err = closing
	}
	if res.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("it answered %s", res.Status)
	}
	return err
}
