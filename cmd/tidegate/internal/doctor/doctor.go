// Package doctor looks at a cluster for what would let somebody around the gate, or keep
// Tidegate from working. It writes nothing: what it creates, it creates as a dry run.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Level is how bad a finding is.
type Level string

// The levels, the worst last.
const (
	OK Level = "ok"
	// Warning is: it works, and could be better, or leaves something open that is
	// documented.
	Warning Level = "warning"
	// Unknown is: it could not be looked at, mostly for want of rights.
	Unknown Level = "unknown"
	// Failed is: the gate has a hole, or something does not work.
	Failed Level = "failed"
)

// Finding is one thing that was looked at.
type Finding struct {
	// Check is a short, stable name.
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Message says what was wanted and found.
	Message string `json:"message"`
	// Do is what to do about it; empty where nothing is to be done.
	Do string `json:"do,omitempty"`
}

// Cluster is what is looked at.
type Cluster struct {
	// Client reads, and creates as a dry run. Required.
	Client client.Client
	// Served says whether the API server serves a group and version. Required.
	Served func(groupVersion string) (bool, error)
	// Version is the API server's, such as v1.37.2. Required.
	Version func() (string, error)
	// Namespace is the manager's.
	Namespace string
	// Now is the time on this machine.
	Now func() time.Time
	// Reach asks a URL for an answer, and is nil where nothing is to be asked.
	Reach func(ctx context.Context, url string) error
}

// identity is the manager's user name.
func (c Cluster) identity() string {
	return "system:serviceaccount:" + c.Namespace + ":" + managerAccount
}

const managerAccount = "tidegate-manager"

type check struct {
	name string
	look func(context.Context, Cluster) ([]Finding, error)
}

// checks are in the order in which a person would look.
var checks = []check{
	{"version", version},
	{"kinds", kinds},
	{"controllers", controllers},
	{"webhook", webhooks},
	{"webhook answers", answers},
	{"certificate", certificate},
	{"manager", lease},
	{"gates", gateObjects},
	{"rings", rings},
	{"guard", guard},
	{"rights", rights},
	{"policies", policies},
	{"pods", pods},
	{"gateway", gateway},
	{"metrics", metrics},
	{"clock", skew},
}

// Look makes all checks. A check that cannot be made is Unknown and hinders no other.
func Look(ctx context.Context, c Cluster) []Finding {
	var out []Finding
	for _, k := range checks {
		found, err := k.look(ctx, c)
		if err != nil {
			found = append(found, Finding{Level: Unknown, Message: fmt.Sprintf("could not be looked at: %v", err)})
		}
		for i := range found {
			found[i].Check = cmp.Or(found[i].Check, k.name)
		}
		out = append(out, found...)
	}
	return out
}

// Worst is the worst level of findings.
func Worst(findings []Finding) Level {
	order := []Level{OK, Warning, Unknown, Failed}
	worst := OK
	for _, f := range findings {
		if slices.Index(order, f.Level) > slices.Index(order, worst) {
			worst = f.Level
		}
	}
	return worst
}

func ok(format string, args ...any) Finding {
	return Finding{Level: OK, Message: fmt.Sprintf(format, args...)}
}

func failed(do, format string, args ...any) Finding {
	return Finding{Level: Failed, Message: fmt.Sprintf(format, args...), Do: do}
}

func warning(do, format string, args ...any) Finding {
	return Finding{Level: Warning, Message: fmt.Sprintf(format, args...), Do: do}
}
