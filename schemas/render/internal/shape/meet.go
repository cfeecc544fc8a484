package shape

func (a Arm) and(b Arm) Arm {
	a.preferred = a.preferred || b.preferred
	a.Kind = narrower(a.Kind, b.Kind)
	if b.Literal != "" {
		a.Literal = b.Literal
	}
	a.Min = tighter(a.Min, b.Min, 1)
	a.Max = tighter(a.Max, b.Max, -1)
	a.Patterns = union(a.Patterns, b.Patterns)
	a.AntiPatterns = union(a.AntiPatterns, b.AntiPatterns)
	a.Not = union(a.Not, b.Not)
	a.Rules = union(a.Rules, b.Rules)
	if a.MinSize == nil || b.MinSize != nil && *b.MinSize > *a.MinSize {
		a.MinSize = b.MinSize
	}
	if a.MaxSize == nil || b.MaxSize != nil && *b.MaxSize < *a.MaxSize {
		a.MaxSize = b.MaxSize
	}
	return a
}

func narrower(a, b Kind) Kind {
	if a == Any || a == Number && b == Integer {
		return b
	}
	return a
}

func tighter(a, b *Bound, sign int) *Bound {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	if c := b.Value.Cmp(a.Value) * sign; c > 0 || c == 0 && b.Open {
		return b
	}
	return a
}

func union(a, b []string) []string {
	out := append([]string(nil), a...)
	for _, s := range b {
		dup := false
		for _, t := range a {
			dup = dup || s == t
		}
		if !dup {
			out = append(out, s)
		}
	}
	return out
}
