package simulate

import (
	"fmt"
	"strings"
)

// Compare holds the output to that which an archive expects. It returns what is wrong, or
// nothing.
func (s *Scenario) Compare(output string) string {
	if !s.HasWant || s.Want == output {
		return ""
	}
	wanted, found := strings.Split(s.Want, "\n"), strings.Split(output, "\n")
	line := func(lines []string, i int) string {
		if i < len(lines) {
			return fmt.Sprintf("%q", lines[i])
		}
		return "the end"
	}
	i := 0
	for i < len(wanted) && i < len(found) && wanted[i] == found[i] {
		i++
	}
	return fmt.Sprintf("want: line %d: wanted %s, found %s; if that is right, write it there with: tidegate simulate rollout --update %s", i+1, line(wanted, i), line(found, i), s.File)
}
