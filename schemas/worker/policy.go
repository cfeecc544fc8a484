package worker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"tidegate.io/tidegate/policies/eval/budget"
	"tidegate.io/tidegate/policies/eval/cuepolicy"
)

// Policies judges by policies in CUE, in the workers of a pool. It is a cuepolicy.Runner. A
// policy that takes more than it may costs a worker and is answered with a *budget.Error;
// the others of the same question are asked of the next worker.
type Policies struct{ Pool *Pool }

var _ cuepolicy.Runner = Policies{}

const (
	// maxSources is how many bytes of source one request may carry.
	maxSources = 4 << 20
	// maxCompiled is how many compiled policies a worker keeps.
	maxCompiled = 256
	// policyChecks is the group of policies that may never come into force.
	policyChecks = "\x00policies"
)

// Compile implements cuepolicy.Runner.
func (p Policies) Compile(ctx context.Context, name, source string) ([]string, error) {
	asked := cuepolicy.Asked{Name: name, Digest: cuepolicy.Digest(source), Source: source}
	who := owner{name: "policy source " + asked.Digest, group: policyChecks}
	r, err := p.Pool.do(ctx, who, request{Op: OpPolicyCompile, Asked: []cuepolicy.Asked{asked}}, asked.Digest)
	if err != nil {
		return nil, overBudget(err, p.Pool.options.CheckTimeout)
	}
	return r.Mistakes, nil
}

// Judge implements cuepolicy.Runner. It is one trip to a worker, and one more for each
// policy that costs one.
func (p Policies) Judge(ctx context.Context, q cuepolicy.Question) []cuepolicy.Outcome {
	if q.Each <= 0 {
		q.Each = budget.DefaultEach
	}
	out := make([]cuepolicy.Outcome, len(q.Policies))
	var todo []int
	for i := range q.Policies {
		// Where nothing is remembered, which is nearly always, no key is computed.
		if p.Pool.grudges.any() {
			if old := p.Pool.grudges.against(costly(&q, i)); old != nil {
				out[i].Err = overBudget(old, q.Each)
				continue
			}
		}
		todo = append(todo, i)
	}
	for len(todo) > 0 {
		now := todo[:fitting(q.Policies, todo)]
		answered, share, err := p.trip(ctx, &q, now)
		for i, o := range answered {
			out[now[i]] = o
		}
		todo = todo[len(answered):]
		bomb, isBomb := errors.AsType[*BombError](err)
		switch {
		case err == nil:
		case isBomb:
			guilty := todo[0]
			p.Pool.options.Log.Info("Policy cost a worker", "policy", q.Policies[guilty].Name, "group", q.Group, "cause", bomb.Cause)
			p.Pool.grudges.hold(costly(&q, guilty), bomb)
			out[guilty].Err = overBudget(err, share)
			todo = todo[1:]
		default:
			for _, i := range todo {
				out[i].Err = overBudget(err, share)
			}
			return out
		}
	}
	return out
}

// fitting is how many of the policies one request takes, at least 1.
func fitting(all []cuepolicy.Asked, todo []int) int {
	size := 0
	for n, i := range todo {
		if size += len(all[i].Source) + len(all[i].Parameters); size > maxSources && n > 0 {
			return n
		}
	}
	return len(todo)
}

// trip asks a worker about the policies of these indices. Answered are the outcomes of the
// first of them, of all where there is no error; share is the time that the next one had.
func (p Policies) trip(ctx context.Context, q *cuepolicy.Question, indices []int) (answered []cuepolicy.Outcome, share time.Duration, err error) {
	asked := make([]cuepolicy.Asked, len(indices))
	for n, i := range indices {
		asked[n] = q.Policies[i]
	}
	until, _ := ctx.Deadline()
	follow := newParts(len(indices), q.Each, until, p.Pool.options.Clock)
	share = follow.timeout()
	who := owner{name: fmt.Sprintf("question %d in %s", p.Pool.questions.Add(1), q.Group), group: q.Group}
	_, err = p.Pool.do(ctx, who, request{Op: OpPolicyJudge, Object: q.Object, Input: q.Input, Asked: asked, parts: follow}, "")
	answered = follow.answered()
	if err == nil && len(answered) < len(indices) {
		err = fmt.Errorf("judging in a worker: wanted %d answers, found %d", len(indices), len(answered))
	}
	if _, isBomb := errors.AsType[*BombError](err); isBomb && len(answered) == len(indices) {
		err = nil // it was ended after it had answered
	}
	return answered, share, err
}

// costly is what is held against one policy of a question: it and the object. The request
// around the object is another one each time that somebody tries again.
func costly(q *cuepolicy.Question, i int) *job {
	sum := sha256.New()
	var size [8]byte
	for _, part := range [][]byte{q.Policies[i].Parameters, q.Object} {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		sum.Write(size[:])
		sum.Write(part)
	}
	return &job{owner: owner{name: "policy " + q.Policies[i].Digest, group: q.Group}, input: hex.EncodeToString(sum.Sum(nil))}
}

// overBudget words what a pool answers as package budget does. Share is the time that there
// was.
func overBudget(err error, share time.Duration) error {
	if bomb, ok := errors.AsType[*BombError](err); ok {
		switch bomb.Cause {
		case CauseDeadline:
			return &budget.Error{Cause: budget.CauseTime, Share: share}
		case CauseMemory:
			return &budget.Error{Cause: budget.CauseMemory}
		case CauseCrash, CauseStarved, CauseKilled:
			return fmt.Errorf("%w, and its process with it", budget.ErrPanic)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &budget.Error{Cause: budget.CauseCaller}
	}
	return err
}

// judge answers, in the child, what each policy says, each as soon as it is known.
func (c *child) judge(q request) (*reply, error) {
	if c.policies == nil {
		kept, err := lru.NewLRU[string, *cuepolicy.Policy](maxCompiled, nil)
		if err != nil {
			return nil, fmt.Errorf("making the memory of policies: %w", err)
		}
		c.policies = kept
	}
	compiled := make([]*cuepolicy.Policy, len(q.Asked))
	for i, a := range q.Asked {
		compiled[i], _ = c.policies.Get(a.Digest)
		if compiled[i] == nil && a.Source == "" {
			return &reply{Unknown: true}, nil
		}
	}
	for i, a := range q.Asked {
		one := &part{Index: i}
		denials, warnings, err := c.ask(compiled[i], a, q)
		one.Denials, one.Warnings = denials, warnings
		if err != nil {
			one.Error = err.Error()
		}
		if err := c.send(&reply{Part: one}); err != nil {
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // all was answered
}

// ask compiles a policy, unless it is, and asks it.
func (c *child) ask(p *cuepolicy.Policy, a cuepolicy.Asked, q request) (denials, warnings []cuepolicy.Finding, err error) {
	if p == nil {
		var mistakes []string
		if p, mistakes = cuepolicy.Compile(a.Name, a.Source); len(mistakes) > 0 {
			return nil, nil, errors.New(strings.Join(mistakes, "; "))
		}
		c.policies.Add(a.Digest, p)
	}
	return p.Judge(nil, q.Object, cuepolicy.WithParameters(q.Input, a.Parameters))
}

// compilePolicy says, in the child, what is wrong with a policy.
func compilePolicy(q request) (*reply, error) {
	if len(q.Asked) != 1 {
		return nil, fmt.Errorf("wanted one policy to compile, found %d", len(q.Asked))
	}
	if q.Asked[0].Source == "" {
		return &reply{Unknown: true}, nil
	}
	_, mistakes := cuepolicy.Compile(q.Asked[0].Name, q.Asked[0].Source)
	return &reply{Mistakes: mistakes}, nil
}
