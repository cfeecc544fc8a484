package worker

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"tidegate.io/tidegate/policies/eval/cuepolicy"
)

// reserve is the time that is kept for each policy that waits, as long as there is enough.
const reserve = 10 * time.Millisecond

// part is what one policy of a question came to, as a worker sends it.
type part struct {
	Index    int                 `json:"index"`
	Denials  []cuepolicy.Finding `json:"denials,omitempty"`
	Warnings []cuepolicy.Finding `json:"warnings,omitempty"`
	Error    string              `json:"error,omitempty"`
}

// parts follow a request that is answered in parts, so that it is known which one is under
// way when the worker dies, and so that each has its own time.
type parts struct {
	// each is the most time that a part gets.
	each time.Duration
	// until is when whoever asked gives up; zero for never.
	until time.Time
	clock clock.PassiveClock
	// moved holds a token when a part has ended.
	moved chan struct{}

	mu   sync.Mutex
	out  []cuepolicy.Outcome
	done int
}

func newParts(n int, each time.Duration, until time.Time, watch clock.PassiveClock) *parts {
	return &parts{each: each, until: until, clock: watch, moved: make(chan struct{}, 1), out: make([]cuepolicy.Outcome, n)}
}

// take keeps a part. They come in order, and from the first on again when another worker is
// asked.
func (p *parts) take(one *part) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one.Index < 0 || one.Index >= len(p.out) {
		return fmt.Errorf("waiting for a render worker: wanted one of %d parts, found part %d", len(p.out), one.Index)
	}
	o := cuepolicy.Outcome{Denials: one.Denials, Warnings: one.Warnings}
	if one.Error != "" {
		o.Err = &workError{one.Error}
	}
	p.out[one.Index], p.done = o, one.Index+1
	select {
	case p.moved <- struct{}{}:
	default:
	}
	return nil
}

// answered are the outcomes of the parts that have ended.
func (p *parts) answered() []cuepolicy.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.out[:p.done])
}

// timeout is the time of the part that is under way: a fair share of what is left, of which
// a tenth is kept for ending a worker before whoever asked gives up.
func (p *parts) timeout() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until.IsZero() {
		return p.each
	}
	remaining := p.until.Sub(p.clock.Now()) / 10 * 9
	left := time.Duration(max(len(p.out)-p.done, 1))
	return max(min(p.each, max(remaining/left, remaining-(left-1)*reserve)), time.Millisecond)
}
