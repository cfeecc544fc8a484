package worker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// working waits until a process has worked for so long that it is in the middle of it.
func working(t *testing.T, pid int) {
	t.Helper()
	until(t, func() bool {
		worked, _ := processorTime(pid)
		return worked >= 20*tick
	})
}

// ended reports whether a process is no more, or waits for somebody to take note of it.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	return bytes.HasPrefix(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" Z"))
}

func TestAWorkerEndsWithItsInputInTheMiddleOfAnEndlessRequest(t *testing.T) {
	source := endless(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], asWorker)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ask := request{Op: OpRender, Digest: source.Digest, Files: source.Files, Values: []byte(fair), Context: release("bomb")}
	if err := errors.Join(writeFrame(in, hello{}), writeFrame(in, ask)); err != nil {
		t.Fatal(err)
	}
	working(t, cmd.Process.Pid)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("wanted it to end in peace, found %v", err)
	}
}

func TestAWorkerEndsWithAParentThatIsKilled(t *testing.T) {
	folder := t.TempDir()
	for name, text := range endless(t).Files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], asParent, folder)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	until(t, func() bool {
		text, _ := os.ReadFile(filepath.Join(folder, "child"))
		child, _ = strconv.Atoi(string(text))
		return child > 0
	})
	working(t, child)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	until(t, func() bool { return ended(child) })
}
