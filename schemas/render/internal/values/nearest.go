package values

import "strings"

// Nearest returns the candidate that name most likely stands for, or "". Distance is the
// number of insertions, deletions, substitutions and swaps of neighbours (optimal string
// alignment), letter case aside.
func Nearest(name string, candidates []string) string {
	lower := strings.ToLower(name)
	best, bestDistance := "", (len(name)+1)/3
	for _, c := range candidates {
		d := distance(lower, strings.ToLower(c))
		if d < bestDistance || d == bestDistance && best == "" {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range candidates {
		if lc := strings.ToLower(c); len(lower) >= 3 && (strings.Contains(lc, lower) || strings.Contains(lower, lc)) {
			return c
		}
	}
	return ""
}

func distance(a, b string) int {
	// Only three rows of the table are ever looked at.
	var beforeLast []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], beforeLast[j-2]+1)
			}
		}
		beforeLast, last = last, row
	}
	return last[len(b)]
}
