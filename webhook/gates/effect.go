package gates

import (
	"slices"
	"time"

	"tidegate.io/tidegate/webhook/govern"
)

// takeUp is how long every API server is given to take up a changed policy: it reads them
// once a second, and compiles what changed.
const takeUp = 2 * time.Second

// inEffect returns the namespaces in which a write is answered by ring 2, as far as can be
// known, and after how long there are more, or 0. Ring 1 was told some time ago to leave its
// kinds there; a Gate that is Ready must not refuse because it came under it a moment ago.
func (l *Loop) inEffect(settled []string, namespaces []govern.Namespace) ([]string, time.Duration) {
	now, told := l.Clock.Now(), map[string]time.Time{}
	var out []string
	var wait time.Duration
	for _, n := range settled {
		key := pinned([]string{n}, namespaces)
		if len(key) == 0 {
			continue
		}
		at, ok := l.told[key[0]]
		if !ok && l.told != nil {
			at = now
		}
		told[key[0]] = at // The zero time for what was told before this process began.
		if left := takeUp - now.Sub(at); left > 0 {
			wait = sooner(wait, left)
			continue
		}
		out = append(out, n)
	}
	l.told = told
	slices.Sort(out)
	return out, wait
}
