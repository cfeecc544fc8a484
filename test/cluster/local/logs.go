package local

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// What programs call bad: klog's letter, the level of slog, zap and zerolog, a Go panic.
var (
	severe  = regexp.MustCompile(`^[EF]\d{4} |level"?[=:]"?(error|fatal|panic|ERROR)|^panic:|^fatal error:|^Error:`)
	warning = regexp.MustCompile(`^W\d{4} |level"?[=:]"?(warn|WARN)`)
)

// Complaints about a control plane that is just starting, or that has no cloud, say nothing.
var harmless = regexp.MustCompile(`dial tcp 127\.0\.0\.1:\d+: connect: connection refused|use of insecure cipher|` +
	`(authentication|authorization)-kubeconfig provided|manifest file is empty|namespaces \\?"kube-system\\?" not found|` +
	`Skipping API|Found stale data|http and grpc server on single port|simple token is not|is not as new as written version`)

const (
	logLines   = 6
	logLineMax = 400
)

// digest returns the lines of a log that matter most: the last errors, else the last warnings.
func digest(log string) []string {
	var errs, warns []string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		switch {
		case harmless.MatchString(line):
		case severe.MatchString(line):
			errs = append(errs, clip(line))
		case warning.MatchString(line):
			warns = append(warns, clip(line))
		}
	}
	errs, warns = lastOf(errs, logLines), lastOf(warns, logLines/2)
	return append(errs, warns...)
}

// lastWords returns the last lines that a program wrote, the bad ones if there are any.
func lastWords(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("its log cannot be read: %v", err)
	}
	lines := digest(string(b))
	if len(lines) == 0 {
		for line := range strings.Lines(string(b)) {
			lines = append(lines, clip(strings.TrimSpace(line)))
		}
	}
	return strings.Join(lastOf(lines, logLines), "\n\t") + "\n\t(" + path + ")"
}

func lastOf(lines []string, n int) []string {
	return lines[max(0, len(lines)-n):]
}

func clip(line string) string {
	if len(line) > logLineMax {
		return line[:logLineMax] + "..."
	}
	return line
}
