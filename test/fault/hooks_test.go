package fault

import (
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tidegate.io/tidegate/rollout/controller"
	"tidegate.io/tidegate/rollout/plan"
	"tidegate.io/tidegate/schemas/v1alpha1"
)

// hooks are called by the Rollouts of a world, and let everything pass.
type hooks struct{ interrupted }

func newHooks() *hooks { return &hooks{} }

// of makes what one manager calls them by.
func (h *hooks) of() controller.Hooks {
	return &caller{hooks: h, known: map[client.ObjectKey][]plan.Answer{}}
}

// caller remembers what was answered, for as long as its manager lives.
type caller struct {
	hooks *hooks
	mu    sync.Mutex
	known map[client.ObjectKey][]plan.Answer
	tell  func(client.ObjectKey)
}

// Call implements controller.Hooks.
func (c *caller) Call(rollout *v1alpha1.Rollout, which plan.Call) {
	key := client.ObjectKeyFromObject(rollout)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.known[key] {
		if a.Call == which {
			return
		}
	}
	at := len(c.known[key])
	c.known[key] = append(c.known[key], plan.Answer{Call: which})
	go func() {
		c.hooks.done()
		c.mu.Lock()
		c.known[key][at] = plan.Answer{Call: which, Done: true, Passed: true, Final: true, Message: "204"}
		tell := c.tell
		c.mu.Unlock()
		if tell != nil {
			tell(key)
		}
	}()
}

// Answers implements controller.Hooks.
func (c *caller) Answers(rollout *v1alpha1.Rollout) []plan.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]plan.Answer(nil), c.known[client.ObjectKeyFromObject(rollout)]...)
}

// Settle implements controller.Hooks: nothing is forgotten.
func (c *caller) Settle(*v1alpha1.Rollout) {}

// Forget implements controller.Hooks: nothing is forgotten.
func (c *caller) Forget(client.ObjectKey) {}

// OnAnswer implements controller.Hooks.
func (c *caller) OnAnswer(tell func(client.ObjectKey)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tell = tell
}
