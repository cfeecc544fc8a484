package eval

import (
	"crypto/sha256"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"tidegate.io/tidegate/policies/eval/budget"
)

// Policies that come from one library carry the same libs, and each would work out anew
// what these say about the same object, such as a list of its containers. So the policies
// that are asked one question share what rules of equal libs came to. It is the engine's own
// cache that they share, which serves one evaluation otherwise, and whose answers are the
// same for all of them where the libs depend on nothing else: see sharedBy.

// sharedBy names the libs of a policy: policies of the same name may share what they say.
// It is empty where they depend on more than the question: on the policy's parameters, on
// other packages, or on input that a rule replaces.
func sharedBy(s Source, compiled map[string]*ast.Module) string {
	if len(s.Libs) == 0 {
		return ""
	}
	for _, m := range compiled {
		if isLib(m) && !alone(m) {
			return ""
		}
	}
	sum := sha256.Sum256([]byte(string(s.RegoVersion) + "\x00" + strings.Join(s.Libs, "\x00")))
	return string(sum[:])
}

// alone says whether a lib depends on the question and on libs alone.
func alone(m *ast.Module) bool {
	ok := true
	var look func(any)
	look = func(x any) {
		ast.WalkTerms(x, func(t *ast.Term) bool {
			switch v := t.Value.(type) {
			case ast.Ref:
				ok = ok && fromQuestion(v)
				for _, part := range v[1:] {
					look(part)
				}
				return true
			case ast.Var:
				ok = ok && !t.Equal(ast.InputRootDocument) && !t.Equal(ast.DefaultRootDocument)
			}
			return false
		})
		ast.WalkWiths(x, func(*ast.With) bool {
			ok = false
			return true
		})
	}
	for _, rule := range m.Rules {
		look(rule)
	}
	return ok
}

// fromQuestion says whether a reference is to neither parameters nor anything else that a
// policy has of its own.
func fromQuestion(ref ast.Ref) bool {
	key := func(i int) ast.String {
		if i >= len(ref) {
			return ""
		}
		s, _ := ref[i].Value.(ast.String)
		return s
	}
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		return key(1) != "" && key(1) != "parameters"
	case ref[0].Equal(ast.DefaultRootDocument):
		return key(1) == "lib" && key(2) != ""
	}
	return true
}

// shared is what libs came to about one question, by sharedBy.
type shared struct {
	mu   sync.Mutex
	libs map[string]*sharedLib
}

// sharedLib belongs to one evaluation at a time.
type sharedLib struct {
	cache topdown.VirtualCache
	// taken stays true where an evaluation failed or was left behind: what it noted down is not
	// to be relied on, and it may still write.
	taken atomic.Bool
}

// take gives what is known to an evaluation.
func (s *shared) take(key string) *sharedLib {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.libs[key]
	if l == nil || l.taken.Load() {
		l = &sharedLib{cache: topdown.NewVirtualCache()}
		if s.libs == nil {
			s.libs = map[string]*sharedLib{}
		}
		s.libs[key] = l
	}
	l.taken.Store(true)
	return l
}

// evalSharing is eval with what other policies found out about the same question.
func (p *Policy) evalSharing(s *budget.Step, document ast.Object, known *shared) (Findings, error) {
	e, ok := p.engine.(*regoEngine)
	if !ok || p.broken != nil || e.libs == "" {
		return p.eval(s, document)
	}
	lib := known.take(e.libs)
	engine, policy := *e, *p
	engine.cache = &libCache{VirtualCache: topdown.NewVirtualCache(), libs: lib.cache}
	policy.engine = &engine
	found, err := policy.eval(s, document)
	if err == nil {
		lib.taken.Store(false)
	}
	return found, err
}

// libCache keeps what libs come to apart from what the policy's own rules do. Where a rule
// replaces the input or the data, nothing is shared.
type libCache struct {
	topdown.VirtualCache
	libs     topdown.VirtualCache
	replaced int
}

// Push implements topdown.VirtualCache.
func (c *libCache) Push() {
	c.replaced++
	c.VirtualCache.Push()
}

// Pop implements topdown.VirtualCache.
func (c *libCache) Pop() {
	c.replaced--
	c.VirtualCache.Pop()
}

// Get implements topdown.VirtualCache.
func (c *libCache) Get(ref ast.Ref) (*ast.Term, bool) { return c.of(ref).Get(ref) }

// Put implements topdown.VirtualCache.
func (c *libCache) Put(ref ast.Ref, value *ast.Term) { c.of(ref).Put(ref, value) }

func (c *libCache) of(ref ast.Ref) topdown.VirtualCache {
	if c.replaced == 0 && len(ref) > 2 && ref[0].Equal(ast.DefaultRootDocument) && ref[1].Value == libKey {
		return c.libs
	}
	return c.VirtualCache
}

var libKey ast.Value = ast.String("lib")
