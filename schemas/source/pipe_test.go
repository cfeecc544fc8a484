//go:build unix

package source

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Opening a pipe waits for somebody to write to it, and no signal ends that.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	dir := tree(t, map[string]string{"web.cue": "package web\n"})
	if err := syscall.Mkfifo(filepath.Join(dir, "x.cue"), 0o600); err != nil {
		t.Skip("wanted a file system with pipes: ", err)
	}
	_, err := Read(dir)
	if err == nil || !strings.Contains(err.Error(), "x.cue: wanted a file, found a p") {
		t.Errorf("wanted the pipe to be refused, found %v", err)
	}
}
