package webhook

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A screen is what of a message a terminal shows at once: 24 lines of some 120 bytes.
const (
	// screenHead and screenTail are how many bytes of a message that is too long stay at its
	// beginning, where it says what is wrong, and at its end, where it says what to do.
	screenHead, screenTail = 1800, 900
	headLines, tailLines   = 14, 6
	// longLine is the longest line, in bytes, and lineTail what of it stays at its end.
	longLine, lineTail = 600, 250
)

// screen cuts a message down to what somebody reads, and says how to see the rest.
func screen(message string) string {
	lines := strings.Split(strings.TrimRight(message, "\n"), "\n")
	for i, line := range lines {
		lines[i] = middleOut(line)
	}
	size := len(lines) - 1
	for _, line := range lines {
		size += len(line)
	}
	if size <= screenHead+screenTail && len(lines) <= headLines+tailLines {
		return strings.Join(lines, "\n")
	}
	tail := fitting(lines, tailLines, screenTail, func(i int) string { return lines[len(lines)-1-i] })
	rest := lines[:len(lines)-tail]
	head := fitting(rest, headLines, screenHead, func(i int) string { return rest[i] })
	left := len(rest) - head
	if left == 0 {
		return strings.Join(lines, "\n")
	}
	out := append(append([]string{}, rest[:head]...), fmt.Sprintf("  ... and %d more lines; to see all: tidegate check -f FILE", left))
	return strings.Join(append(out, lines[len(lines)-tail:]...), "\n")
}

// fitting is how many of the lines are within a number and a size; one at least.
func fitting(lines []string, most, size int, at func(int) string) int {
	n := 0
	for ; n < min(most, len(lines)); n++ {
		if size -= len(at(n)) + 1; size < 0 && n > 0 {
			break
		}
	}
	return n
}

// middleOut cuts the middle out of a long line: it ends with what to do.
func middleOut(line string) string {
	if len(line) <= longLine {
		return line
	}
	head, tail := longLine-lineTail, len(line)-lineTail
	for !utf8.RuneStart(line[head]) {
		head--
	}
	for !utf8.RuneStart(line[tail]) {
		tail++
	}
	return fmt.Sprintf("%s ... (%d bytes) ... %s", line[:head], tail-head, line[tail:])
}
